"""Maximum likelihood of a machine of visible and hidden p-bits, by short runs of its own sampler.

A reverse step has the energy (spins +-1, beta 1, x and h free, c clamped, y a one-hot code)::

    E = -x^T J h - a.x - b.h - y^T P x - y^T Q h - sum_i g_i x_i c_i - c^T K h
    J = U W^T + L,   K = Un Wn^T

and its likelihood the gradient <x tanh(I_h)^T> of data less that of samples, I_h the field of h.
The samples come from the same few sweeps (h, then x) that draw images later, begun at c and at
uniform spins in turn: what is trained is that sampler, not its law after infinitely many sweeps. L
is a band: h as two maps of 8x8 that see the 3x3 pixels around each place, own weights everywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAPS", "Machine", "Recipe", "Thresholds", "band_mask", "flipped", "gradient", "train"]

Array = NDArray[np.float32]
Codes = NDArray[np.int64]

SIDE = 8
MAPS = 2  # maps of h that a band joins to the pixels
BATCH = 256
RATES = 5e-3, 5e-5  # first and last, half a cosine between them
BETAS, EPSILON = (0.9, 0.999), 1e-6
POOL = 1 << 21  # thresholds that are drawn at once
PASSES = 16  # how often one is read, on average, before all are drawn again
UNDECAYED = ("a", "b", "g")


class Recipe(NamedTuple):
    """How long and how a step is trained."""

    iterations: int
    rank: int
    band: bool
    hidden: int = 128
    sweeps: int = 15
    decay: float = 1e-3
    average: float = 0.995


class Thresholds:
    """Random fields T with P(I > T) = sigma(2 I), so that m = +1 where I > T.

    A pool is drawn at once and read from random places, 50 times faster than drawing each.
    """

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._left = 0

    def __call__(self, rows: int, columns: int) -> Array:
        """Return thresholds of shape (rows, columns)."""
        count = rows * columns
        if self._left < count:
            u = self._draw.random(POOL, dtype=np.float32).clip(1e-7, 1 - 1e-7)
            self._pool = (np.log(u) - np.log1p(-u)) / np.float32(2)
            self._left = PASSES * POOL
        self._left -= count
        start = int(self._draw.integers(POOL - count))
        return self._pool[start : start + count].reshape(rows, columns)


def band_mask(hidden: int) -> Array:
    """Return which of (64, hidden) couplings a band has: 3x3 around each place of every map."""
    row, column = np.divmod(np.arange(SIDE * SIDE), SIDE)
    near = (np.abs(row[:, None] - row) <= 1) & (np.abs(column[:, None] - column) <= 1)
    mask = np.zeros((SIDE * SIDE, hidden), np.float32)
    mask[:, : MAPS * SIDE * SIDE] = np.tile(near, MAPS)
    return mask


class Machine:
    """The numbers of one step, by name as in the module's docstring, and its fields.

    Parameters
    ----------
    arrays
        a (v,), b (h,), p (codes, v), q (codes, h), u (v, rank), w (h, rank), optionally l (v, h)
        with `mask`, and where there is a c, g (v,), un (v, rank), wn (h, rank).
    mask
        Which numbers of l are free.
    """

    def __init__(self, arrays: dict[str, Array], mask: Array | None = None) -> None:
        self.arrays = arrays
        self.mask = mask

    @classmethod
    def start(
        cls, mean: Array, codes: int, kept: float | None, recipe: Recipe, draw: np.random.Generator
    ) -> Machine:
        """Return the physical start: a from the mean spins, g from the noise, J small.

        `kept` is the correlation of c with x, None without a c; g is then the field of the exact
        likelihood of the noise.
        """
        visible, rank = len(mean), recipe.rank

        def normal(spread: float, *shape: int) -> Array:
            return (spread * draw.standard_normal(shape)).astype(np.float32)

        arrays = {
            "a": np.arctanh(mean.clip(-0.99, 0.99)) / 2,
            "b": np.zeros(recipe.hidden, np.float32),
            "p": np.zeros((codes, visible), np.float32),
            "q": np.zeros((codes, recipe.hidden), np.float32),
            "u": normal(0.15, visible, rank),
            "w": normal(0.15, recipe.hidden, rank),
        }
        mask = None
        if recipe.band:
            mask = band_mask(recipe.hidden)
            arrays["l"] = normal(0.2, visible, recipe.hidden) * mask
        if kept is not None:
            arrays["g"] = np.full(visible, math.atanh(kept), np.float32)
            arrays["un"] = normal(0.15, visible, rank)
            arrays["wn"] = normal(0.15, recipe.hidden, rank)
        return cls({name: array.astype(np.float32) for name, array in arrays.items()}, mask)

    def coupling(self) -> Array:
        """Return J, (v, h)."""
        j = self.arrays["u"] @ self.arrays["w"].T
        return j + self.arrays["l"] if "l" in self.arrays else j

    def biases(self, code: Codes, c: Array | None) -> tuple[Array, Array]:
        """Return what x and h feel besides each other, (n, v) and (n, h)."""
        p = self.arrays
        of_x, of_h = p["a"] + p["p"][code], p["b"] + p["q"][code]
        if c is not None:
            of_x, of_h = of_x + p["g"] * c, of_h + (c @ p["un"]) @ p["wn"].T
        return of_x, of_h

    def sample(
        self, x: Array, code: Codes, c: Array | None, sweeps: int, thresholds: Thresholds
    ) -> Array:
        """Return x after some sweeps from `x`; each draws h, then x."""
        j = self.coupling()
        of_x, of_h = self.biases(code, c)
        for _ in range(sweeps):
            h = _spins(x @ j + of_h, thresholds)
            x = _spins(h @ j.T + of_x, thresholds)
        return x


def _spins(field: Array, thresholds: Thresholds) -> Array:
    up = field > thresholds(*field.shape)
    return up.astype(np.float32) * np.float32(2) - np.float32(1)


def flipped(x: Array, kept: float, draw: np.random.Generator) -> Array:
    """Return spins of correlation `kept` with `x`: each is kept with probability (1 + kept) / 2."""
    keep = draw.random(x.shape, dtype=np.float32) < (1 + kept) / 2
    return np.where(keep, x, -x)


def gradient(
    machine: Machine, x: Array, sampled: Array, code: Codes, c: Array | None
) -> dict[str, Array]:
    """Return the gradient of the mean log-likelihood, h summed over exactly on both sides.

    Parameters
    ----------
    x, sampled : array, shape (n, v)
        Data, and samples of the machine under the same codes and c.
    """
    p = machine.arrays
    j, (_, of_h) = machine.coupling(), machine.biases(code, c)
    count = np.float32(len(x))
    data, own = np.tanh(x @ j + of_h), np.tanh(sampled @ j + of_h)
    dx, dh = (x - sampled) / count, (data - own) / count
    dj = (x.T @ data - sampled.T @ own) / count
    asked = (code[:, None] == np.arange(len(p["p"]))).astype(np.float32)
    found = {"a": dx.sum(axis=0), "b": dh.sum(axis=0), "p": asked.T @ dx, "q": asked.T @ dh,
             "u": dj @ p["w"], "w": dj.T @ p["u"]}
    if machine.mask is not None:
        found["l"] = machine.mask * dj
    if c is not None:
        dk = c.T @ dh
        found |= {"g": (dx * c).sum(axis=0), "un": dk @ p["wn"], "wn": dk.T @ p["un"]}
    return found


def train(
    data: Array, code: Codes, codes: int, rho: tuple[float, float], recipe: Recipe, seed: list[int]
) -> Machine:
    """Return the moving average of a machine trained to undo one step of noise.

    Parameters
    ----------
    data : array, shape (n, v)
        Clean spins.
    code, codes
        Code of every image, and how many there are.
    rho
        Correlation of x and of c with clean spins; 0 for c means that c says nothing, and the
        machine then has no c.
    seed
        Of ``default_rng``.
    """
    draw = np.random.default_rng(seed)
    thresholds = Thresholds(draw)
    kept = rho[1] / rho[0] if rho[1] > 0 else None
    machine = Machine.start(rho[0] * data.mean(axis=0), codes, kept, recipe, draw)
    average = {name: array.copy() for name, array in machine.arrays.items()}
    first = {name: np.zeros_like(array) for name, array in machine.arrays.items()}
    second = {name: np.zeros_like(array) for name, array in machine.arrays.items()}
    for iteration in range(recipe.iterations):
        rows = draw.integers(len(data), size=BATCH)
        x, y = flipped(data[rows], rho[0], draw), code[rows]
        c = None if kept is None else flipped(x, kept, draw)
        start = c if c is not None and iteration % 2 == 0 else flipped(x, 0.0, draw)
        sampled = machine.sample(start, y, c, recipe.sweeps, thresholds)
        turn = (1 + math.cos(math.pi * iteration / recipe.iterations)) / 2
        rate = RATES[1] + (RATES[0] - RATES[1]) * turn
        after = [1 - beta ** (iteration + 1) for beta in BETAS]
        for name, g in gradient(machine, x, sampled, y, c).items():
            array = machine.arrays[name]
            if name not in UNDECAYED:
                g = g - np.float32(recipe.decay) * array
            first[name] += np.float32(1 - BETAS[0]) * (g - first[name])
            second[name] += np.float32(1 - BETAS[1]) * (g * g - second[name])
            root = np.sqrt(second[name] / np.float32(after[1])) + np.float32(EPSILON)
            array += np.float32(rate / after[0]) * first[name] / root
            average[name] += np.float32(1 - recipe.average) * (array - average[name])
    return Machine(average, machine.mask)

"""Local banks: a 3x3 stencil on a feature map and a one-to-one diagonal, beside a low-rank bank.

A skip between two maps of one size is mostly a local map, and a local map has high rank: no few
factors hold it, a handful of shifted diagonals does. Target unit (c, y, x) is driven by the source
units (c', y + dy, x + dx), dy, dx in {-1, 0, 1}; of which channels c' is in `stencil`. Neighbours
beyond the map's edge have weight zero. ``shared`` stencils have one weight per tap and pair of
channels, plus one for each unit from its own counterpart; ``free`` ones a weight for every wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.factors import Factors, Moments, Whitener, compute_factors
from pbitstream.errors import SpecError

__all__ = ["JointFit", "Local", "Stencil", "Weights", "fit_joint", "local_between"]

Values = NDArray[np.float64]
Weights: TypeAlias = Literal["shared", "free"]

#: Maps of so many channels are mixed by their stencils; wider ones join equal channels only.
MIXED_CHANNELS = 2
#: A map must be so wide and high, or its stencil would be dense.
SMALLEST_SIDE = 4
#: Rounds of the alternation, and the gain in R² below which it ends.
ROUNDS, LEAST_GAIN = 60, 2e-6


@dataclass(frozen=True, eq=False)
class Local:
    """Shifted diagonals: ``y[i] = sum_o weights[o][i] x[i + o]``, offset by offset.

    `numbers` counts what was fitted; `wires` the weights that are not zero.
    """

    weights: Mapping[int, Values]
    numbers: int

    @property
    def wires(self) -> int:
        """Number of weights that are not zero."""
        return int(sum(np.count_nonzero(row) for row in self.weights.values()))

    def predict(self, x: Values) -> Values:
        """Return the prediction for rows x (n, D_s), or ``G W`` for a Gram matrix G; O(n wires)."""
        out = np.zeros((len(x), len(next(iter(self.weights.values())))))
        for offset, row in self.weights.items():
            places = np.flatnonzero(row)
            out[:, places] += x[:, places + offset] * row[places]
        return out


@dataclass(frozen=True, eq=False)
class Stencil:
    """Which wires a local bank has, and which of them share a number.

    Attributes
    ----------
    source
        (D_t, wires of a unit): the source unit of every wire, 0 for one that does not exist.
    number
        The same shape: the fitted number of every wire, -1 for one that does not exist.
    """

    source: NDArray[np.int64]
    number: NDArray[np.int64]
    weights: Weights
    count: int = field(default=0)

    @cached_property
    def exists(self) -> NDArray[np.bool_]:
        """Which wires exist."""
        return np.asarray(self.number >= 0)

    def fit(self, gram: Values, cross: Values, added: float) -> Local:
        """Return the weights that predict best in least squares.

        Parameters
        ----------
        gram, cross
            G (D_s, D_s) and C (D_s, D_t), without what other banks predict.
        added
            Ridge of each wire, in the units of G.
        """
        units = np.arange(len(self.source))
        own = gram[self.source[:, :, None], self.source[:, None, :]]
        return self.solve(own, cross[self.source, units[:, None]], added)

    def moments(self, x: Values, y: Values) -> tuple[Values, Values]:
        """Return what `solve` needs, summed over rows x (n, D_s), y (n, D_t); O(n D_t wires^2)."""
        near = x[:, self.source].transpose(1, 2, 0)
        return near @ near.transpose(0, 2, 1), (near @ y.T[:, :, None])[:, :, 0]

    def solve(self, own: Values, right: Values, added: float) -> Local:
        """Return the weights of moments that know of neighbours only.

        Parameters
        ----------
        own, right
            Of every target unit: the Gram matrix of its neighbours, (D_t, wires, wires), and their
            products with it, (D_t, wires).
        """
        units = np.arange(len(self.source))
        own = own * (self.exists[:, :, None] & self.exists[:, None, :])
        right = right * self.exists
        taps = np.arange(self.source.shape[1])
        if self.weights == "free":
            own[:, taps, taps] += np.where(self.exists, added, 1.0)
            values = np.linalg.solve(own, right[:, :, None])[:, :, 0]
        else:
            normal, total = np.zeros((self.count, self.count)), np.zeros(self.count)
            both = self.exists[:, :, None] & self.exists[:, None, :]
            first = np.broadcast_to(self.number[:, :, None], both.shape)[both]
            second = np.broadcast_to(self.number[:, None, :], both.shape)[both]
            np.add.at(normal, (first, second), own[both])
            np.add.at(total, self.number[self.exists], right[self.exists])
            wires = np.bincount(self.number[self.exists], minlength=self.count)
            normal[np.diag_indices(self.count)] += added * wires
            values = np.linalg.solve(normal, total)[self.number] * self.exists
        rows: dict[int, Values] = {}
        for tap in taps:
            offsets = self.source[:, tap] - units
            for offset in np.unique(offsets[self.exists[:, tap]]):
                row = rows.setdefault(int(offset), np.zeros(len(units)))
                row += np.where(self.exists[:, tap] & (offsets == offset), values[:, tap], 0.0)
        return Local(dict(sorted(rows.items())), self.count)


def local_between(
    source: tuple[int, ...], target: tuple[int, ...], weights: Weights = "shared"
) -> Stencil | None:
    """Return the stencil between two layers, or None where there can be none.

    Both must be maps (channels, rows, columns) of one size, at least 4x4. Stencils mix the channels
    of maps with at most 2, and join equal channels of others.

    Raises
    ------
    SpecError
        If `weights` is neither shared nor free.
    """
    if weights not in ("shared", "free"):
        raise SpecError(f"stencil must be shared or free, not {weights}")
    if len(source) != 3 or len(target) != 3 or source[1:] != target[1:]:
        return None
    (channels_s, high, wide), channels_t = source, target[0]
    mixed = max(channels_s, channels_t) <= MIXED_CHANNELS
    if min(high, wide) < SMALLEST_SIDE or not (mixed or channels_s == channels_t):
        return None
    channel, y, x = (place.ravel() for place in np.indices(target))
    sources, numbers = [], []
    for apart in range(-channels_t + 1, channels_s) if mixed else (0,):
        for tap, (down, right) in enumerate(product((-1, 0, 1), repeat=2)):
            inside = ((y + down >= 0) & (y + down < high) & (x + right >= 0) & (x + right < wide)
                      & (channel + apart >= 0) & (channel + apart < channels_s))
            if inside.any():
                at = ((channel + apart) * high + y + down) * wide + x + right
                sources.append(np.where(inside, at, 0))
                pair = channel * channels_s + channel + apart
                numbers.append(np.where(inside, 9 * pair + tap, -1))
    if weights == "shared" and channels_s == channels_t:  # and every unit from its counterpart
        sources.append(np.arange(len(channel)))
        numbers.append(9 * channels_t * channels_s + np.arange(len(channel)))
    source_of, number = np.stack(sources, axis=1), np.stack(numbers, axis=1)
    if weights == "free":
        number = np.where(number >= 0, np.arange(number.size).reshape(number.shape), -1)
    used, compact = np.unique(number[number >= 0], return_inverse=True)
    number[number >= 0] = compact
    return Stencil(source_of, number, weights, len(used))


@dataclass(frozen=True, eq=False)
class JointFit:
    """What was fitted between two layers: factors, and a local part or None."""

    factors: Factors
    local: Local | None

    def predict(self, x: Values) -> Values:
        """Return the prediction for rows x (n, D_s)."""
        found = self.factors.predict(x)
        return found if self.local is None else found + self.local.predict(x)

    def back(self, y: Values) -> Values:
        """Return what the same bank makes of rows y (n, D_t) of the target, (n, D_s)."""
        f = self.factors
        found = ((y @ f.b) * f.gain) @ f.a.T
        if self.local is not None:
            for offset, row in self.local.weights.items():
                places = np.flatnonzero(row)
                found[:, places + offset] += y[:, places] * row[places]
        return np.asarray(found)


def fit_joint(
    method: str,
    moments: Moments,
    rank: int,
    stencil: Stencil | None,
    *,
    ridge: float,
    seed: int = 0,
    whitener: Whitener | None = None,
) -> JointFit:
    """Fit factors and local weights together.

    For ``hbc`` both minimise one sum of squares and are fitted in turn, each exactly on what the
    other leaves, until R² gains less than 2e-6 a round; it never falls. Other methods fit their
    factors as if alone, and the local weights on what these leave.

    Cost of a round: O(D_s D_t (rank + wires of a unit)) and one truncated SVD.
    """
    whitener = whitener or Whitener(moments.source, ridge)

    def factors(cross: Values) -> Factors:
        left = Moments(moments.source, cross, moments.target, moments.variance)
        return compute_factors(method, left, rank, ridge=ridge, seed=seed, whitener=whitener)

    found = factors(moments.cross)
    if stencil is None:
        return JointFit(found, None)
    gram, cross, best = moments.source, moments.cross, -np.inf
    if method == "hbc":
        # From the local part: it is what factors cannot hold.
        found = factors(cross - stencil.fit(gram, cross, whitener.added).predict(gram))
    for _ in range(ROUNDS):
        explained = cross - gram @ (found.a * found.gain) @ found.b.T
        local = stencil.fit(gram, explained, whitener.added)
        whole = found.matrix() + _dense(local, gram.shape[0])
        r2 = float((whole * (2 * cross - gram @ whole)).sum()) / moments.variance
        if method != "hbc" or r2 - best < LEAST_GAIN:
            break
        best = r2
        found = factors(cross - local.predict(gram))
    return JointFit(found, local)


def _dense(local: Local, units: int) -> Values:
    return local.predict(np.eye(units))

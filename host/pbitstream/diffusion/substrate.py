"""A denoiser without an encoder: a noisy image held at the edge of a substrate that settles.

The image stands in clamped modules, once for each of a few gates, ``g(t) c_in x_t``; nothing else
of it is digital. Free are maps of 2 x 8 x 8 Langevin units, all joined with each other and with the
image by 3x3 stencils (band banks), and a module ``z`` that low-rank banks join with all of them, so
that what is far apart meets. A clock c(t) of a few numbers sets the biases. They settle where::

    k2 x + k4 x^3 = b + C c(t) + J x + W [g_1(t) c_in x_t, g_2(t) c_in x_t, ...]

and the head, one linear 3x3 convolution of the maps, gives F.

The equilibrium is unique, for every image: K - J with K = diag(k2) is positive definite, so with
k4 >= 0 the energy ``sum(k2 x^2 / 2 + k4 x^4 / 4) - x^T J x / 2 - h x`` is strictly convex, whatever
the image adds to h. It is a monotone network [1]_ whose coupling is symmetric. For the quantised
program ``Program.margins().gap``, the smallest eigenvalue of K - J, is the proof. Only excitation
is bounded so: J may inhibit, and the image may drive, as strongly as it likes.

Units are counted as in `pbitstream.diffusion.codesign`: pixel by pixel, channel fastest; gates are
the channels of the image's modules.

References
----------
.. [1] E. Winston, J. Z. Kolter, "Monotone operator equilibrium networks", 2020.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import Conditioning, Stage
from pbitstream.diffusion import schedule
from pbitstream.diffusion.codesign import LARGEST, OFFSETS, UNITS
from pbitstream.diffusion.denoiser import Denoiser, Noisy
from pbitstream.diffusion.digits import PIXELS, SIDE
from pbitstream.errors import SpecError
from pbitstream.layers import Linear
from pbitstream.model import Model
from pbitstream.program import Program
from pbitstream.spec.words import BIAS
from pbitstream.tables import band_rows

__all__ = ["OWN_OFFSETS", "SubstrateDenoiser", "compile_substrate", "dense_band", "map_names",
           "settle"]

Values = NDArray[np.float64]

#: Offsets of a stencil inside one map: of each pair of units one, as its bank adds both.
OWN_OFFSETS = tuple(offset for offset in OFFSETS if offset >= 0)
#: Noise and unseen images may reach this times the largest |x| of the calibration.
ROOM = 1.1
_CHANNELS = UNITS // PIXELS
#: Newton steps and iterations of conjugate gradients in each, of `settle`.
_NEWTON, _GRADIENTS = 30, 200


def map_names(model: Model) -> list[str]:
    """Return the names of the maps, a, b, ..., in the order of units."""
    count = (len(model["bias"]) - len(model["low_rank.image0.z.b"])) // UNITS
    return [chr(ord("a") + number) for number in range(count)]


@dataclass(frozen=True, eq=False)
class SubstrateDenoiser(Denoiser):
    """The denoiser of such a model and the program compiled from it.

    `units` are those of all maps. There is no U-Net to compare with: the digital reference is the
    equilibrium of the unquantised model.
    """

    @classmethod
    def of(cls, model: Model) -> "SubstrateDenoiser":
        """Return the denoiser of a model, its program compiled here, in milliseconds."""
        return cls(model, compile_substrate(model))

    @property
    def units(self) -> slice:
        """The units that the head reads: those of all maps."""
        topology, names = self.program.topology, map_names(self.model)
        first, last = (topology.units_of(topology.index(name)) for name in (names[0], names[-1]))
        return slice(first.start, last.stop)

    @property
    def mean(self) -> Values:
        """Training mean of the maps: the control that never sees an input."""
        return self.model["readout.mean"]

    def clamps(self, states: Noisy) -> Values:
        """Return the image under every gate, at most `LARGEST`, (states, 64 gates)."""
        gated = self.scaled(states)[:, :, None] * self.model["gates"][states.rows][:, None, :]
        parts = [gated[:, :, first : first + _CHANNELS].reshape(len(states), -1)
                 for first in range(0, gated.shape[2], _CHANNELS)]
        return np.concatenate(parts, axis=1).clip(-LARGEST, LARGEST)

    def decode(self, d1: Values, states: Noisy) -> tuple[Values, Values]:
        """Return F and the denoised images of units of the maps read from anywhere."""
        f = _head(self.model["head.weight"][0], self.model["head.bias"], d1)
        return f, schedule.denoised(states.x, f, self.times[states.rows])

    def reference(self, states: Noisy) -> Values:
        """Return `equilibrium`, the only digital reference there is."""
        return self.equilibrium(states)

    def equilibrium(self, states: Noisy) -> Values:
        """Return the exact equilibrium of the unquantised model in float64, (states, units).

        Raises
        ------
        SpecError
            If it is not found, which only a model that is not strictly convex can cause.
        """
        x = self.settled(states)[:, : len(map_names(self.model)) * UNITS]
        return self.model["readout.scale"] * x

    def settled(self, states: Noisy, start: Values | None = None) -> Values:
        """Return the equilibrium of all free units, found from `start`; see `settle`."""
        model = self.model
        h = model["bias"] + model["clock"][states.rows] @ model["bias.clock"]
        h += self.clamps(states) @ self._drive.T
        return settle(h, self._coupling, model["k2"], model["k4"], start)

    @cached_property
    def _coupling(self) -> Values:
        """J of the free units, (units, units)."""
        names = [*map_names(self.model), "z"]
        return _blocks(self.model, names, names)

    @cached_property
    def _drive(self) -> Values:
        """W, (units, 64 gates)."""
        return _blocks(self.model, [*map_names(self.model), "z"], _images(self.model))


def compile_substrate(
    model: Model,
    *,
    temperature: float = 0.0025,
    dt_shift: int = 3,
    steps: int = 128,
    burn_in: int = 128,
) -> Program:
    """Quantise a model into a program.

    Parameters
    ----------
    model
        Tensors ``band.<s>.<t>`` (offsets, 128) of `OFFSETS`, or of `OWN_OFFSETS` where s = t;
        ``low_rank.<s>.z.{a,b}``; ``k2``, ``k4``, ``bias``, ``bias.clock`` (clocks, units) of the
        free units; ``x_max`` of the free modules; ``gates`` and ``clock`` by schedule row;
        ``head.{weight,bias}``; ``readout.{mean,scale}`` of the maps; ``times``.
    temperature, dt_shift, steps, burn_in
        Of the program.
    """
    # Band weights have F - 12 fraction bits, and at F = 20 their rounding is the largest error.
    builder = ProgramBuilder(dt_shift=dt_shift, field_fraction=22)
    free = [*map_names(model), "z"]
    index = {name: builder.clamped(name, UNITS) for name in _images(model)}
    parts, first = {}, 0
    for name, x_max in zip(free, model["x_max"]):
        dim = UNITS if name != "z" else len(model["bias"]) - first
        parts[name] = part = slice(first, first + dim)
        scale = model["readout.scale"][part] if name != "z" else 1.0
        index[name] = builder.langevin(name, dim, k2=model["k2"][part], k4=model["k4"][part],
                                       temperature=temperature,
                                       x_max=min(ROOM * float(x_max), 8.0), scale=scale)
        first += dim
    for name in sorted(model.tensors):
        kind, *ends = name.split(".")
        if kind == "band":
            source, target = ends
            offsets = OWN_OFFSETS if source == target else OFFSETS
            builder.band(index[source], index[target], dict(zip(offsets, model[name])))
        elif kind == "low_rank" and ends[-1] == "a":
            a, b = model[name], model[name.removesuffix("a") + "b"]
            # At F = 22 a component of a bank can add 4 to a field, and an image needs more: twice.
            shares = 2 if ends[0].startswith("image") else 1
            builder.low_rank(index[ends[0]], index[ends[1]], np.tile(a, shares),
                             np.tile(b, shares), np.full(shares * a.shape[1], 1.0 / shares))
    features = codes(model["clock"], BIAS, np.int16)
    # The net's input is the image, which it passes over: the clock alone makes biases.
    clocks = features.shape[1]
    alone = Linear.quantise(np.concatenate([np.zeros((clocks, PIXELS)), np.eye(clocks)], axis=1))
    stages = [Stage((alone, Linear.quantise(model["bias.clock"][:, part].T, model["bias"][part])),
                    name, "input") for name, part in parts.items()]
    return builder.build(conditioning=Conditioning(PIXELS, tuple(stages), features), steps=steps,
                         burn_in=burn_in, provenance=model.provenance)


def dense_band(weights: Values, *, own: bool = False) -> Values:
    """Return the (target, source) matrix of a band bank, both its directions where s = t."""
    matrix = np.zeros((UNITS, UNITS))
    for offset, row in zip(OWN_OFFSETS if own else OFFSETS, weights):
        target = np.arange(*band_rows(offset, UNITS, UNITS))
        matrix[target, target + offset] = row[target]
    return matrix + matrix.T if own else matrix


def settle(
    h: Values, coupling: Values, k2: Values, k4: Values, start: Values | None = None
) -> Values:
    """Return the equilibrium ``k2 x + k4 x^3 - J x = h`` of a strictly convex energy.

    Newton steps, each by conjugate gradients, halved where the residual would not fall.

    Parameters
    ----------
    h : array, shape (states, units)
    coupling : array, shape (units, units)
    k2, k4 : array, shape (units,)
        Positive.
    start : array, shape (states, units)
        That without couplings if None; a unique equilibrium does not depend on it.

    Raises
    ------
    SpecError
        If the largest residual stays above 1e-9 of the largest |h|.
    """
    if start is None:
        bend = np.sqrt(3.0 * k4 / k2)
        start = 2.0 / bend * np.sinh(np.arcsinh(1.5 * bend * h / k2) / 3.0)
    x = np.array(start, np.float64)

    def force(x: Values) -> Values:
        return h + x @ coupling - (k2 + k4 * x * x) * x

    residual = force(x)
    for _ in range(_NEWTON):
        size = np.linalg.norm(residual, axis=1, keepdims=True)
        if np.abs(residual).max() <= 1e-9 * np.abs(h).max():
            return x
        step = _newton_step(residual, coupling, k2 + 3 * k4 * x * x)
        scale = np.ones_like(size)
        for _ in range(20):
            after = force(x + scale * step)
            worse = np.linalg.norm(after, axis=1, keepdims=True) >= size
            if not worse.any():
                break
            scale[worse & (size > 0)] /= 2
        x = x + scale * step
        residual = force(x)
    raise SpecError(f"equilibrium not found: the force is still {np.abs(residual).max():.2g}; is "
                    "the largest eigenvalue of J below k2?")


def _newton_step(residual: Values, coupling: Values, stiffness: Values) -> Values:
    """Solve ``(diag(stiffness) - J) d = residual`` state by state, by conjugate gradients."""
    step, r = np.zeros_like(residual), residual
    z = r / stiffness
    p, size = z, (r * z).sum(axis=1, keepdims=True)
    goal = 1e-4 * size  # Newton's steps are not exact, and need not be
    for _ in range(_GRADIENTS):
        pushed = stiffness * p - p @ coupling
        bend = (p * pushed).sum(axis=1, keepdims=True)
        along = np.divide(size, bend, out=np.zeros_like(size), where=bend > 0)
        step, r = step + along * p, r - along * pushed
        z = r / stiffness
        now = (r * z).sum(axis=1, keepdims=True)
        if (now <= goal).all():
            break
        p = z + np.divide(now, size, out=np.zeros_like(size), where=size > 0) * p
        size = now
    return step


def _images(model: Model) -> list[str]:
    """Return the names of the clamped modules, each the image under two gates."""
    return [f"image{number}" for number in range(model["gates"].shape[1] // _CHANNELS)]


def _blocks(model: Model, targets: list[str], sources: list[str]) -> Values:
    """Return the matrix of all banks from some modules to others."""

    def block(source: str, target: str) -> Values:
        if f"band.{source}.{target}" in model.tensors:
            return dense_band(model[f"band.{source}.{target}"], own=source == target)
        if f"band.{target}.{source}" in model.tensors:
            return dense_band(model[f"band.{target}.{source}"]).T
        if f"low_rank.{source}.{target}.a" in model.tensors:
            a, b = (model[f"low_rank.{source}.{target}.{end}"] for end in "ab")
            return np.asarray(b @ a.T)
        if f"low_rank.{target}.{source}.a" in model.tensors:
            return block(target, source).T
        z = len(model["low_rank.image0.z.b"])
        return np.zeros((z if target == "z" else UNITS, z if source == "z" else UNITS))

    return np.concatenate(
        [np.concatenate([block(source, target) for source in sources], axis=1)
         for target in targets]
    )


def _head(kernel: Values, bias: Values, units: Values) -> Values:
    """Return the 3x3 convolution, (channels, 3, 3), of all maps, zero outside; (states, 64)."""
    maps = units.reshape(len(units), -1, SIDE, SIDE, _CHANNELS)
    planes = maps.transpose(0, 1, 4, 2, 3).reshape(len(units), -1, SIDE, SIDE)
    padded = np.pad(planes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    f = np.full((len(units), SIDE, SIDE), bias[0])
    for row in range(3):
        for column in range(3):
            shifted = padded[:, :, row : row + SIDE, column : column + SIDE]
            f += np.einsum("nchw,c->nhw", shifted, kernel[:, row, column])
    return f.reshape(len(units), PIXELS)

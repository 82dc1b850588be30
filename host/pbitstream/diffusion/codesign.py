"""A denoiser whose encoder, banks and head were trained together, through the equilibrium.

The digital half is the encoder of `pbitstream.diffusion.unet`; its modules e1, e2 and bn are
clamped, and in place of the U-Net's decoder (39,130 numbers) the 128 Langevin units d1 settle at::

    k2 x = C^T phi(E z) + sum_m (B_m diag(S_m(t)) A_m^T + L_m) e_m        m = e1, e2, bn

with rank-k banks, local bands L_m, and the interface on z = [x_in, features of t]. What is read,
d1 = scale x + offset, goes through the head, one linear convolution of 19 numbers. With k4 = 0 this
is plain differentiable algebra, so the denoising loss trains all of it at once.

Every module is a map of 2 x 8 x 8 units: e2 (8 x 4 x 4) and bn (32 x 2 x 2) have as many units as
d1, and their channels serve as the polyphase components of such a map. Units are counted pixel by
pixel, channel fastest; then a 3x3 stencil between any two modules, an upsampling convolution where
the module is coarser, is the 21 shifted diagonals of `OFFSETS`. Its weights are not shared: a band
bank stores one per unit and offset in any case, and centred digits make use of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import quad_interface
from pbitstream.diffusion import schedule, unet
from pbitstream.diffusion.denoiser import Denoiser, Noisy
from pbitstream.layers import Quad
from pbitstream.model import Model
from pbitstream.program import Program
from pbitstream.spec.words import BIAS, EXPOSED

__all__ = ["LARGEST", "OFFSETS", "CodesignedDenoiser", "calibrated", "compile_codesign",
           "neighbours", "unit_order"]

Values = NDArray[np.float64]

UNITS = 128
_SIDE = 8
#: Offsets of a 3x3 stencil between 2 x 8 x 8 maps: 2 (8 rows + columns) + channels, each -1 to 1.
OFFSETS = tuple(sorted({2 * (_SIDE * row + column) + channel
                        for row in (-1, 0, 1) for column in (-1, 0, 1) for channel in (-1, 0, 1)}))
#: The encoder's outputs end here, as a clamped unit does.
LARGEST = EXPOSED.value(EXPOSED.highest)


def unit_order(name: str) -> NDArray[np.int64]:
    """Return which entry of a flattened U-Net module each unit holds, (128,).

    Unit 2 (8 y + x) + c holds pixel (y, x) of channel c; where the module is r times coarser, that
    is entry (Y, X) of channel (c r + y mod r) r + x mod r with Y = y // r, X = x // r.
    """
    channels, rows, _ = unet.MODULES[name]
    r = _SIDE // rows
    entries = np.arange(UNITS).reshape(channels // r**2, r, r, rows, rows)  # c, y mod r, x mod r
    return entries.transpose(3, 1, 4, 2, 0).reshape(-1)


def neighbours() -> NDArray[np.bool_]:
    """Return which weights of `OFFSETS` join pixels at most one apart, (offsets, 128 units)."""
    unit = np.arange(UNITS)
    source = unit + np.array(OFFSETS)[:, None]
    here, there = (np.stack(np.divmod(i // 2, _SIDE)) for i in (unit, source))
    near = (np.abs(here[:, None] - there) <= 1).all(axis=0)
    return np.asarray(near & (source >= 0) & (source < UNITS))


@dataclass(frozen=True, eq=False)
class CodesignedDenoiser(Denoiser):
    """The denoiser of a co-designed model and the program compiled from it.

    Its layer d1 has no counterpart in a U-Net: the digital reference is the equilibrium of the
    unquantised model, and `pbitstream.diffusion.metrics` tell how well a device follows that.
    """

    @classmethod
    def of(cls, model: Model) -> "CodesignedDenoiser":
        """Return the denoiser of a model, its program compiled here, in milliseconds."""
        return cls(model, compile_codesign(model))

    def encoded(self, states: Noisy) -> dict[str, Values]:
        """Return the clamped modules by name, (states, 128) each, at most `LARGEST`."""
        return _encoded(self.model, self.scaled(states), self.times[states.rows])

    def clamps(self, states: Noisy) -> Values:
        """Return the values of the clamped modules, (states, 384)."""
        return np.concatenate(list(self.encoded(states).values()), axis=1)

    def decode(self, d1: Values, states: Noisy) -> tuple[Values, Values]:
        """Return F and the denoised images of activations read from anywhere."""
        return super().decode(d1[:, np.argsort(unit_order("d1"))], states)

    def reference(self, states: Noisy) -> Values:
        """Return `equilibrium`, the only digital reference there is, (states, 128)."""
        return self.equilibrium(states)

    def equilibrium(self, states: Noisy) -> Values:
        """Return the exact equilibrium of the unquantised model in float64, (states, 128)."""
        model = self.model
        features = schedule.time_features(self.times[states.rows], model["time_frequencies"])
        y = np.concatenate([self.scaled(states), features], axis=1) @ model["interface.encoder"].T
        x = Quad().apply_float(y) @ model["interface.transfer"]
        for name, e in self.encoded(states).items():
            gain = model[f"bank.{name}.gain"][states.rows]
            x += (gain * (e @ model[f"bank.{name}.a"])) @ model[f"bank.{name}.b"].T
            for offset, weight in _bands(model, name).items():
                x += weight * _shifted(e, offset)
        return model["readout.scale"] * x + model["readout.offset"]


def calibrated(model: Model, states: Noisy) -> Model:
    """Return a model with the largest projections over some training states.

    They are ``bank.<module>.projection``, (1,): the largest ``|A^T e|`` with the columns of A
    scaled to a largest factor of 1, as when they are quantised. One millisecond per state.
    """
    times = model["times"][states.rows]
    c_in = schedule.preconditioning(times).c_in
    tensors = dict(model.tensors)
    for name, e in _encoded(model, c_in[:, None] * states.x, times).items():
        a = model[f"bank.{name}.a"]
        largest = np.abs(e @ (a / np.abs(a).max(axis=0))).max()
        tensors[f"bank.{name}.projection"] = np.array([largest], np.float32)
    return Model(tensors, model.provenance)


def compile_codesign(
    model: Model,
    *,
    temperature: float = 0.01,
    dt_shift: int = 2,
    steps: int = 256,
    burn_in: int = 32,
) -> Program:
    """Quantise a co-designed model into a program.

    Parameters
    ----------
    model
        Tensors ``unet.*`` of encoder and head, ``bank.<module>.{a,b,gain,projection}``,
        ``interface.*``, ``readout.*``, ``times``, ``time_frequencies`` and, with local bands,
        ``local.<module>``. The projections set the fraction bits of z, with a quarter to spare.
    temperature, dt_shift, steps, burn_in
        Of the program, as in `pbitstream.diffusion.denoiser.compile_denoiser`.
    """
    # Band weights have F - 12 fraction bits, and at F = 20 their rounding is the largest error.
    builder = ProgramBuilder(dt_shift=dt_shift, field_fraction=22)
    sources = {name: builder.clamped(name, UNITS) for name in unet.ENCODER}
    layer = builder.langevin("d1", UNITS, temperature=temperature,
                             scale=float(model["readout.scale"][0]),
                             offset=model["readout.offset"])
    for name, source in sources.items():
        a, b, gain = (model[f"bank.{name}.{part}"] for part in ("a", "b", "gain"))
        largest = 1.25 * float(model[f"bank.{name}.projection"][0])
        builder.low_rank(source, layer, a, b, gain.mean(axis=0), schedule=gain,
                         projections=(largest, largest))
        if bands := _bands(model, name):
            builder.band(source, layer, bands)
    features = schedule.time_features(model["times"], model["time_frequencies"])
    interface = quad_interface(model["interface.encoder"], model["interface.transfer"], "d1",
                               codes(features, BIAS, np.int16))
    return builder.build(conditioning=interface, steps=steps, burn_in=burn_in,
                         provenance=model.provenance)


def _encoded(model: Model, x_in: Values, times: Values) -> dict[str, Values]:
    """Return the encoder's modules in the order of units."""
    found = unet.encode(model.tensors, x_in, times)
    return {name: np.minimum(e[:, unit_order(name)], LARGEST) for name, e in found.items()}


def _bands(model: Model, name: str) -> Mapping[int, Values]:
    """Return the local bands of a module by offset; none where the model has none."""
    if f"local.{name}" not in model.tensors:
        return {}
    return dict(zip(OFFSETS, model[f"local.{name}"]))


def _shifted(e: Values, offset: int) -> Values:
    """Return e[:, i + offset] at every unit i, 0 outside."""
    out = np.zeros_like(e)
    low, high = max(0, -offset), min(UNITS, UNITS - offset)
    out[:, low:high] = e[:, low + offset : high + offset]
    return out

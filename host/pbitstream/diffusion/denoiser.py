"""Denoising by the substrate: a noisy image in, the activations of one U-Net layer out of a device.

The layer's 128 units settle at ``k2 x = C^T phi(E z) + B diag(S(t)) A^T x_in`` with x_in = c_in x_t
clamped and z = [x_in, features of t]; value = scale x + offset is read, the linear head turns it
into F, and the digital skip into the image, x0_hat = c_skip x_t + c_out F.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import quad_interface
from pbitstream.diffusion import schedule, unet
from pbitstream.errors import SpecError
from pbitstream.layers import Quad
from pbitstream.model import Model
from pbitstream.program import Program
from pbitstream.spec.words import BIAS
from pbitstream.stream import Input

__all__ = ["Denoiser", "Noisy", "compile_denoiser", "noisy_states"]

Values = NDArray[np.float64]

#: Seed of the image noise of every evaluation; the substrate's noise has a seed of its own.
NOISE_SEED = 1
#: States that are encoded at a time while a stream takes its inputs.
INPUT_BATCH = 512


@dataclass(frozen=True, eq=False)
class Noisy:
    """Noisy images with the schedule row of each; `clean` is None where it is not known."""

    x: Values
    rows: NDArray[np.int64]
    clean: Values | None

    def __len__(self) -> int:
        return len(self.x)


def noisy_states(
    images: Values, times: Values, rows: NDArray[np.int64], seed: int = NOISE_SEED
) -> Noisy:
    """Return every image at every one of some schedule rows, image after image.

    Noise is ``RandomState(seed).standard_normal((images, len(times), pixels))``, so a state has the
    same noise whatever rows are asked for.
    """
    shape = len(images), len(times), images.shape[1]
    # The legacy generator: its stream is frozen, which makes these states the same everywhere.
    noise = np.random.RandomState(seed).standard_normal(shape)[:, rows]
    clean = np.repeat(images, len(rows), axis=0)
    row = np.tile(rows, len(images))
    x = schedule.noisy(clean, noise.reshape(len(clean), -1), times[row])
    return Noisy(x, row, clean)


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A model, the program compiled from it, and what is digital around the substrate."""

    model: Model
    program: Program

    @property
    def times(self) -> Values:
        """Diffusion time of every schedule row."""
        return self.model["times"]

    @property
    def units(self) -> slice:
        """The units of the layer that the substrate replaces."""
        topology = self.program.topology
        return topology.units_of(topology.index("d1"))

    @property
    def mean(self) -> Values:
        """Training mean of the layer: the control that never sees an input."""
        return np.asarray(self.program.tables["offset"][self.units])

    def nearest_row(self, time: float) -> int:
        """Return the schedule row nearest to a diffusion time in (0, 1]."""
        if not 0 < time <= 1:
            raise SpecError(f"noise must be a diffusion time in (0, 1], not {time:g}")
        return int(np.abs(self.times - time).argmin())

    def scaled(self, states: Noisy) -> Values:
        """Return x_in = c_in x_t, what model and substrate see."""
        c_in = schedule.preconditioning(self.times[states.rows]).c_in
        return c_in[:, None] * states.x

    def clamps(self, states: Noisy) -> Values:
        """Return the values of the clamped modules, (states, clamped units)."""
        return self.scaled(states)

    def inputs(self, states: Noisy) -> Iterator[Input]:
        """Yield the stream's inputs."""
        for first in range(0, len(states), INPUT_BATCH):
            batch = slice(first, first + INPUT_BATCH)
            part = Noisy(states.x[batch], states.rows[batch], None)
            for x_in, clamp, row in zip(self.scaled(part), self.clamps(part), part.rows):
                yield Input(x_in, clamp=clamp, row=int(row))

    def decode(self, d1: Values, states: Noisy) -> tuple[Values, Values]:
        """Return F and the denoised images of activations read from anywhere."""
        f = unet.head(self.model.tensors, d1)
        return f, schedule.denoised(states.x, f, self.times[states.rows])

    def reference(self, states: Noisy) -> Values:
        """Return the digital U-Net's activations of the layer, (states, 128)."""
        times = self.times[states.rows]
        return unet.forward(self.model.tensors, self.scaled(states), times)["d1"]

    def equilibrium(self, states: Noisy) -> Values:
        """Return the exact equilibrium of the unquantised model in float64, (states, 128)."""
        x_in = self.scaled(states)
        features = schedule.time_features(self.times[states.rows], self.model["time_frequencies"])
        conditioned, banked = _parts(self.model, x_in, features, states.rows)
        x = conditioned + banked
        return self.model["readout.scale"] * x + self.model["readout.offset"]

    def truth(self, states: Noisy) -> Values | None:
        """Return F*, the target of the denoiser, where the clean images are known."""
        if states.clean is None:
            return None
        return schedule.target(states.clean, states.x, self.times[states.rows])


def compile_denoiser(
    model: Model,
    calibration: Noisy,
    *,
    temperature: float = 0.01,
    dt_shift: int = 2,
    steps: int = 256,
    burn_in: int = 32,
) -> Program:
    """Quantise a denoiser's model into a program.

    Parameters
    ----------
    model
        Tensors ``bank.*``, ``interface.*``, ``readout.*``, ``times``, ``time_frequencies``.
    calibration
        Training states; their largest projections set the fraction bits of z.
    temperature, dt_shift, steps, burn_in
        Of the program; the defaults settle to e^-8 and read with an rms error of .018 per unit.
    """
    times = model["times"]
    table = schedule.time_features(times, model["time_frequencies"])
    features = codes(table, BIAS, np.int16)
    a, b, gain = model["bank.a"], model["bank.b"], model["bank.gain"]
    builder = ProgramBuilder(dt_shift=dt_shift)
    image = builder.clamped("image", len(a))
    layer = builder.langevin("d1", len(b), temperature=temperature,
                             scale=float(model["readout.scale"][0]),
                             offset=model["readout.offset"])
    c_in = schedule.preconditioning(times[calibration.rows]).c_in
    x_in = c_in[:, None] * calibration.x
    # Columns are scaled to a largest factor of 1 when they are quantised.
    largest = float(np.abs(x_in @ (a / np.abs(a).max(axis=0))).max())
    builder.low_rank(image, layer, a, b, gain.mean(axis=0), schedule=gain,
                     projections=(1.25 * largest, 1.25 * largest))
    interface = quad_interface(model["interface.encoder"], model["interface.transfer"], "d1",
                               features)
    return builder.build(conditioning=interface, steps=steps, burn_in=burn_in,
                         provenance=model.provenance)


def _parts(
    model: Model, x_in: Values, features: Values, rows: NDArray[np.int64]
) -> tuple[Values, Values]:
    """Return C^T phi(E z) and B diag(S(t)) A^T x_in of the float model, k2 being 1."""
    y = np.concatenate([x_in, features], axis=1) @ model["interface.encoder"].T
    conditioned = Quad().apply_float(y) @ model["interface.transfer"]
    banked = (model["bank.gain"][rows] * (x_in @ model["bank.a"])) @ model["bank.b"].T
    return conditioned, banked

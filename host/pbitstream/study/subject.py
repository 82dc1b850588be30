"""What most studies run: the digits U-Net's layer d1, driven by e1 through a compiled program.

The program is compiled from training images and run under fixed-point Langevin dynamics on the
test digits, each at five noise levels. A seed s draws the image noise by
``RandomState(1000 + s)`` and is the seed of the substrate.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Batch, Skip
from pbitstream.compiler.evaluation import biases
from pbitstream.compiler.lower import Lowered
from pbitstream.compiler.pipeline import compile_unet
from pbitstream.compiler.sources import ArraySource, DigitsSource
from pbitstream.devices.protocol import Device, Settings
from pbitstream.diffusion import schedule, unet
from pbitstream.diffusion.digits import held_out_digits, training_digits
from pbitstream.diffusion.metrics import centred_cosine, mean_cosine, r_squared
from pbitstream.model import Model, shipped
from pbitstream.spec.words import BIAS
from pbitstream.study.base import Figure
from pbitstream.study.imperfect import Imperfect, coarse, coarse_state

__all__ = ["QUALITY", "Converters", "Reading", "Subject"]

Values = NDArray[np.float64]

MODEL, SKIP = "digits-k16", Skip("e1", "d1")
#: Every fourth of the 20 times.
EVERY = 4
SEED = 1000
#: Programs, and seeds, that are kept.
KEPT = 8
#: Rows of one call of the device.
BATCH = 600
LIMITS = BIAS.value(BIAS.lowest), BIAS.value(BIAS.highest)

#: Figures of a readout, each beside its control.
QUALITY = (
    Figure("centred", "centred\ncosine", "cosine after the training mean is taken from both"),
    Figure("r2", "R²", "over the training mean"),
    Figure("shuffled", "shuffled\nR²", "the same with another image's readout", 2),
    Figure("f_mse", "F\nMSE", "error of the denoiser's output, one convolution after the layer"),
    Figure("clips", "clips\nper M", "clipped operations per million unit updates", 1),
)


@dataclass(frozen=True)
class Converters:
    """Bits of what goes in, comes out, and is kept from step to step; None for as they are."""

    bias: int | None = None
    readout: int | None = None
    state: int | None = None


class Reading(NamedTuple):
    """Activations of d1, (states, 128), and clipped operations per million unit updates."""

    values: Values
    clips: float


class States:
    """Noisy digits of one seed with the U-Net's activations."""

    def __init__(self, model: Model, images: Values, seed: int) -> None:
        times = model["times"]
        rows = np.arange(EVERY - 1, len(times), EVERY)
        noise = np.random.RandomState(SEED + seed).standard_normal((len(images), len(rows), 64))
        self.rows = np.tile(rows, len(images))
        t = times[self.rows]
        clean = np.repeat(images, len(rows), axis=0)
        x = schedule.noisy(clean, noise.reshape(len(clean), -1), t)
        x_in = schedule.preconditioning(t).c_in[:, None] * x
        found = unet.forward(model.tensors, x_in, t)
        self.truth = found["d1"]
        self.target = schedule.target(clean, x, t)
        self.batch = Batch({name: found[name] for name in unet.MODULES}, x_in, self.rows)
        self.repeat = len(rows)


@dataclass(eq=False)
class Subject:
    """The compiled layer, with what has been compiled and drawn last.

    Attributes
    ----------
    images
        Test digits that are used, the first so many.
    """

    images: int = 360
    _programs: dict[tuple[Any, ...], Lowered] = field(default_factory=dict)
    _states: dict[int, States] = field(default_factory=dict)

    @cached_property
    def digits(self) -> DigitsSource:
        """The U-Net and all digits."""
        return DigitsSource(Model.open(shipped(MODEL)), training_digits()[0], held_out_digits()[0],
                            draws=1)

    @cached_property
    def source(self) -> ArraySource:
        """The same for the compiler, activations kept: 30 programs are compiled from them."""
        kept = cache(lambda part: list(self.digits.batches(list(SKIP), part)))
        return ArraySource(self.digits.shapes, kept, self.digits.features, self.digits.repeat)

    @property
    def identity(self) -> str:
        """The U-Net, the images and the noise levels."""
        digest = hashlib.sha256(shipped(MODEL).read_bytes()).hexdigest()[:16]
        return f"{MODEL} {digest}, {self.images} images, every {EVERY}th time, noise from {SEED}"

    def compiled(
        self, rank: int = 16, *, method: str = "hbc", band: bool = False, interface: str = "none",
        seed: int = 0,
    ) -> Lowered:
        """Return the compiled skip; see `pbitstream.compiler.pipeline.compile_unet`.

        The last 8 are kept.
        """
        key = rank, method, band, interface, seed
        if key not in self._programs:
            _make_room(self._programs)
            self._programs[key] = compile_unet(
                self.source, [SKIP], rank=rank, method=method, band=band, interface=interface,
                seed=seed,
            ).lowered
        return self._programs[key]

    def states(self, seed: int) -> States:
        """Return the noisy digits of a seed; the last 8 are kept."""
        if seed not in self._states:
            _make_room(self._states)
            images = self.digits.test[: self.images]
            self._states[seed] = States(self.digits.model, images, seed)
        return self._states[seed]

    def read(
        self,
        device: Device,
        lowered: Lowered,
        seed: int,
        *,
        faults: Imperfect | None = None,
        converters: Converters | None = None,
        bias: Values | None = None,
        temperature: float | None = None,
        uncoupled: bool = False,
        noise: int | None = None,
        means: bool = True,
    ) -> Reading:
        """Relax all states of a seed and read d1.

        Parameters
        ----------
        faults, converters
            Of the hardware; none by default.
        bias
            Replaces that of the conditioning net, (states, units).
        temperature
            Of the free units; the program's own by default.
        uncoupled
            Clamp everything at 0, so that the bias acts alone.
        noise
            Seed of the substrate; `seed` by default.
        means
            Take means from what is clamped and add that of the layer to what is read.
        """
        batch, program = self.states(seed).batch, lowered.program
        faults = faults or Imperfect.none(program)
        bits = converters or Converters()
        layers = {name: values if means else values + lowered.fitted.layers[name].mean
                  for name, values in batch.layers.items() if name in lowered.fitted.layers}
        clamp, clips = lowered.clamp(layers)
        clamp = clamp * (not uncoupled)
        given, cut = biases(lowered, batch) if bias is None else (bias, 0)
        asked = np.where(faults.dead, 0.0, given + faults.offset)
        # An offset can push a bias off its scale, where it ends.
        h = np.clip(asked, *LIMITS)
        clips += cut + int((h != asked).sum())
        if bits.bias is not None:
            h, clamp = coarse(h, bits.bias), coarse(clamp, bits.bias)
        settings = None
        if temperature is not None:
            free = [m.kind == "langevin" and not m.clamped for m in program.topology.modules]
            settings = Settings(temperature=np.where(free, temperature, np.nan))
        device.load(faults.program)
        parts, noise = [], seed if noise is None else noise
        for first in range(0, len(h), BATCH):
            part = slice(first, first + BATCH)
            held = clamp[part] if clamp.size else None
            mean, count = _mean(device, lowered, h[part], held, settings, noise, first, bits.state)
            parts.append(mean)
            clips += count
        x = np.concatenate(parts)
        if bits.readout is not None:
            x = coarse(x, bits.readout)
        x[:, faults.dead] = 0.0
        layer = lowered.fitted.layers["d1"]
        values = np.asarray(layer.scale * x[:, lowered.places["d1"]] + layer.mean * means)
        units = sum(m.dim for m in program.topology.modules if not m.clamped)
        updates = units * (program.burn_in + program.steps) * len(x)
        return Reading(values, 1e6 * clips / updates)

    def quality(self, reading: Reading, lowered: Lowered, seed: int) -> dict[str, float]:
        """Return the figures of `QUALITY`, and ``plain``, the plain cosine."""
        values = reading.values
        states, mean = self.states(seed), lowered.fitted.layers["d1"].mean
        f = unet.head(self.digits.model.tensors, values)
        other = np.roll(values, states.repeat, axis=0)
        return {
            "plain": mean_cosine(values, states.truth),
            "centred": centred_cosine(values, states.truth, mean),
            "r2": r_squared(values, states.truth, mean),
            "shuffled": r_squared(other, states.truth, mean),
            "f_mse": float(((f - states.target) ** 2).mean()),
            "clips": reading.clips,
        }


def _make_room(kept: dict[Any, Any]) -> None:
    """Drop what was put in first until one more fits."""
    while len(kept) >= KEPT:
        kept.pop(next(iter(kept)))


def _mean(
    device: Device, lowered: Lowered, h: Values, clamp: Values | None, settings: Settings | None,
    seed: int, first: int, state_bits: int | None,
) -> tuple[Values, int]:
    """Return window means and clips; with a coarse state step by step, cut after each."""
    program = lowered.program
    if state_bits is None:
        readout = device.relax(h, clamp=clamp, steps=program.steps, burn_in=program.burn_in,
                               settings=settings, seed=seed, first_chain=first)
        return readout.mean, sum(readout.saturated.values())
    state, total, clips = None, np.zeros_like(h), 0
    for step in range(program.burn_in + program.steps):
        readout = device.relax(h, clamp=clamp, steps=1, settings=settings, seed=seed,
                               first_chain=first, state=state)
        clips += sum(readout.saturated.values())
        state = readout.state
        state.units[:] = coarse_state(state.units, state_bits)
        if step >= program.burn_in:
            total += readout.mean
    return total / program.steps, clips

"""Digits drawn by diffusion sampling whose denoiser is relaxed on a device.

At every sampling step of `pbitstream.diffusion.sampler` each image's biases, clamps and gains go to
the device; what it reads out of the layer is decoded, and the sampler moves on. One relaxation per
image and step, all images of a step together.

The relaxation of sampling step n, counted from 0, has the seed of the call plus ``n 2^32``, and the
chain of image i is i. So steps differ, an image's noise does not depend on how many others are
drawn or relaxed at once, and no two calls share a stream. (Counting chains on over the steps, by
``n count + i``, would make an image depend on `count`.) A warm start carries the noise words in the
state instead, one stream per image throughout. It begins a sixth as far from equilibrium as a cold
start does (digits-codesign, 20 steps: rms .11 against .66), so it saves log 6 / -log(1 - dt), that
is 6 steps at dt = 1/4, of whatever burn-in a wanted error takes.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import CLIP_NAMES, Device, Settings, State
from pbitstream.diffusion import sampler, schedule, unet
from pbitstream.diffusion.denoiser import Denoiser, Noisy
from pbitstream.diffusion.generators.base import Drawn, Frame, Report
from pbitstream.errors import SpecError
from pbitstream.model import Model
from pbitstream.program import Program, check_window
from pbitstream.spec.words import BIAS

__all__ = ["DiffusionGenerator", "Relaxed", "digital_images", "equilibrium_images"]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

#: The relaxation of sampling step n, counted from 0, has the seed of the call plus n times this.
SEEDS = 1 << 32


class DiffusionGenerator:
    """A denoiser and a way of sampling; a `pbitstream.diffusion.generators.base.Generator`.

    Parameters
    ----------
    denoiser
        With its program: the shipped ``digits-codesign`` or ``digits-k16``, or one of your own.
    sampling_steps, eta
        Of the sampler: a divisor of 20, and 0 (DDIM) to 1 (DDPM).
    burn_in, steps
        Of every relaxation; the program's own by default.
    warm
        Burn-in of every relaxation but the first, which then starts from the state that the one of
        the sampling step before left; None starts each anew, with `burn_in`.
    temperature
        Of the Langevin units; the program's own by default.
    batch
        Images relaxed in one call of the device; changes no bit of the result.

    Raises
    ------
    SpecError
        If the window, `temperature` or `batch` is out of range; what the sampler is given is
        checked when it starts.
    """

    judge = "grey"
    labelled = False

    def __init__(
        self,
        denoiser: Denoiser,
        *,
        sampling_steps: int = schedule.SAMPLING_STEPS,
        eta: float = 0.0,
        burn_in: int | None = None,
        steps: int | None = None,
        warm: int | None = None,
        temperature: float | None = None,
        batch: int = 512,
    ) -> None:
        program = denoiser.program
        self.denoiser = denoiser
        self.sampling_steps, self.eta, self.warm = sampling_steps, eta, warm
        self.burn_in = program.burn_in if burn_in is None else burn_in
        self.steps = program.steps if steps is None else steps
        self.temperature, self.batch = temperature, batch
        check_window(self.steps, self.burn_in)
        check_window(self.steps, 0 if warm is None else warm)
        if temperature is not None and not temperature >= 0:
            raise SpecError(f"temperature must be 0 or more, not {temperature:g}")
        if batch < 1:
            raise SpecError(f"batch must be at least 1, not {batch}")

    @property
    def programs(self) -> tuple[Program, ...]:
        """The one program, which a device loads once."""
        return (self.denoiser.program,)

    def to_dict(self) -> dict[str, Any]:
        """Return what it is and how it draws, as plain data."""
        names = ("sampling_steps", "eta", "burn_in", "steps", "warm", "temperature")
        return {"generator": "diffusion", "program": self.denoiser.program.digest,
                **{name: getattr(self, name) for name in names}}

    def draw(
        self,
        device: Device,
        count: int,
        *,
        seed: int,
        labels: Labels | None = None,
        report: Report | None = None,
    ) -> Drawn:
        """Draw images; see `Generator.draw`. `frames` are the start and every estimate."""
        if labels is not None:
            raise SpecError("labels must be left out: a diffusion model here takes none")
        relaxed = Relaxed(self, device, seed)
        frames: list[Frame] = []
        for step in sampler.sampling_steps(relaxed, count, seed, steps=self.sampling_steps,
                                           eta=self.eta):
            if not frames:
                frames.append(Frame("noise", step.x))
            frames.append(Frame(f"estimate at t = {step.time:.2f}", step.estimate))
            if report is not None:
                report("sampling steps", step.number, step.steps)
        return Drawn(frames[-1].images, None, tuple(frames), relaxed.updates, relaxed.clips)


class Relaxed:
    """The device as the sampler's denoiser; counts updates and clips, keeps the states.

    A call ``F = relaxed(x, row)`` is the next sampling step of one run with this seed.
    """

    def __init__(self, generator: DiffusionGenerator, device: Device, seed: int) -> None:
        self.generator, self.device, self.seed = generator, device, seed
        self.step = 0
        self.states: list[State] = []
        self.updates = 0
        self.clips = dict.fromkeys((*CLIP_NAMES, "conditioning"), 0)
        modules = generator.denoiser.program.topology.modules
        self.free = sum(m.dim for m in modules if not m.clamped)
        self.settings = None
        if generator.temperature is not None:
            self.settings = Settings(temperature=[
                generator.temperature if m.kind == "langevin" and not m.clamped else float("nan")
                for m in modules
            ])

    def __call__(self, x: Values, row: int) -> Values:
        """Return F of noisy images at one schedule row; a call is the next sampling step."""
        denoiser, batch = self.generator.denoiser, self.generator.batch
        if self.step == 0:  # not before the sampler has found its arguments in range
            self.device.load(denoiser.program)
        before, self.states = self.states, []
        parts = []
        for number, first in enumerate(range(0, len(x), batch)):
            some = x[first : first + batch]
            states = Noisy(some, np.full(len(some), row), None)
            start = before[number] if before else None
            parts.append(denoiser.decode(self._layer(states, first, start), states)[0])
        self.step += 1
        return np.concatenate(parts)

    def _layer(self, states: Noisy, first: int, start: State | None) -> Values:
        """Relax the layer for some images, the first of which has number `first`."""
        generator, program = self.generator, self.generator.denoiser.program
        conditioning = program.conditioning
        assert conditioning is not None  # a denoiser's program has one
        raw = conditioning.codes(generator.denoiser.scaled(states), states.rows)
        h, clipped = conditioning.biases(raw, program.topology)
        burn_in = generator.burn_in
        if start is not None:
            assert generator.warm is not None
            burn_in = generator.warm
        readout = self.device.relax(
            h * BIAS.value(1),
            steps=generator.steps,
            burn_in=burn_in,
            seed=self.seed + self.step * SEEDS,
            clamp=generator.denoiser.clamps(states),
            gains=program.gains(states.rows) if program.gain_rows else None,
            settings=self.settings,
            first_chain=first,
            state=start,
        )
        if generator.warm is not None:
            self.states.append(readout.state)
        self.updates += self.free * (burn_in + generator.steps) * len(states)
        for name, count in readout.saturated.items():
            self.clips[name] += count
        self.clips["conditioning"] += clipped
        units = generator.denoiser.units
        tables = program.tables
        return np.asarray(readout.mean[:, units] * tables["scale"][units] + tables["offset"][units])


def digital_images(
    model: Model, count: int, seed: int, steps: int = schedule.SAMPLING_STEPS, eta: float = 0.0
) -> Values:
    """Draw images by a model's U-Net, wholly digital, (count, 64): the reference of a generator.

    The start and all noise are those of a generator with the same `seed`, and so each image is to
    be compared with the one of its number. Parameters as `pbitstream.diffusion.sampler.sample`.
    """
    times = schedule.sampling_times()
    c_in = schedule.preconditioning(times).c_in

    def denoise(x: Values, row: int) -> Values:
        return unet.forward(model.tensors, c_in[row] * x, np.full(len(x), times[row]))["f"]

    return sampler.sample(denoise, count, seed, steps=steps, eta=eta)


def equilibrium_images(
    denoiser: Denoiser, count: int, seed: int, steps: int = schedule.SAMPLING_STEPS,
    eta: float = 0.0,
) -> Values:
    """Draw images by the exact equilibrium of the unquantised model: what a device aims at.

    Parameters as `digital_images`.
    """

    def denoise(x: Values, row: int) -> Values:
        states = Noisy(x, np.full(len(x), row), None)
        return denoiser.decode(denoiser.equilibrium(states), states)[0]

    return sampler.sample(denoise, count, seed, steps=steps, eta=eta)

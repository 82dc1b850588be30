"""Sampling under the names of diffusers, for programs that were written for it.

`Scheduler` steps a sample, `Pipeline` draws images; both answer to the names and the order of
arguments of their counterparts there, on NumPy arrays of shape (n, 1, 8, 8) in [-1, 1]::

    pipeline = Pipeline.from_pretrained("digits-codesign").to("emulator:")
    images = pipeline(batch_size=4, generator=7, output_type="np").images

A time step is a row of the schedule, 19 to 0, whose diffusion time is ``(row + 1) / 20``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.closing import Closing
from pbitstream.devices.protocol import Device
from pbitstream.devices.registry import open_device
from pbitstream.diffusion import schedule
from pbitstream.diffusion.digits import SIDE
from pbitstream.diffusion.generators.diffusion import DiffusionGenerator, Relaxed
from pbitstream.diffusion.generators.registry import open_generator
from pbitstream.diffusion.sampler import CLIP, next_sample, start_noise
from pbitstream.errors import MissingExtraError, SpecError

__all__ = ["ImagePipelineOutput", "Pipeline", "Scheduler", "SchedulerOutput"]

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SchedulerOutput:
    """A sample one step on, and the clean one that was estimated, clipped; both as given."""

    prev_sample: Values
    pred_original_sample: Values


@dataclass(frozen=True, eq=False)
class ImagePipelineOutput:
    """Images: a list of PIL images, or an array (n, 8, 8, 1) in [0, 1]."""

    images: Any


class Scheduler:
    """DDIM and DDPM steps of `pbitstream.diffusion.sampler`.

    Attributes
    ----------
    timesteps
        Rows of the schedule, from noise on; set by `set_timesteps`.
    init_noise_sigma
        Deviation of the noise a sample starts from.
    order
        Calls of the model per step.
    """

    init_noise_sigma = 1.0
    order = 1

    def __init__(self) -> None:
        self.times = schedule.sampling_times()
        self.set_timesteps(len(self.times))

    @property
    def config(self) -> dict[str, Any]:
        """What the schedule is."""
        return {"num_train_timesteps": len(self.times), "prediction_type": "f",
                "clip_sample": True, "clip_sample_range": CLIP}

    def __len__(self) -> int:
        return len(self.times)

    def set_timesteps(self, num_inference_steps: int) -> None:
        """Take so many equal steps; SpecError unless they divide the 20 rows."""
        rows = len(self.times)
        if not 1 <= num_inference_steps <= rows or rows % num_inference_steps:
            raise SpecError(f"num_inference_steps must divide the {rows} rows of the schedule, "
                            f"not be {num_inference_steps}")
        self.timesteps = np.arange(rows - 1, -1, -(rows // num_inference_steps))

    def scale_model_input(self, sample: ArrayLike, timestep: int) -> Values:
        """Return c_in x, what a denoiser sees."""
        return np.asarray(self._coefficients(timestep).c_in * np.asarray(sample, np.float64))

    def add_noise(self, original_samples: ArrayLike, noise: ArrayLike, timesteps: Any) -> Values:
        """Return alpha x_0 + sigma e at one time step, or at one for every sample."""
        clean, drawn = np.asarray(original_samples, np.float64), np.asarray(noise, np.float64)
        times = np.broadcast_to(self.times[np.asarray(timesteps)], len(clean))
        flat = schedule.noisy(clean.reshape(len(clean), -1), drawn.reshape(len(clean), -1), times)
        return flat.reshape(clean.shape)

    def step(
        self,
        model_output: ArrayLike,
        timestep: int,
        sample: ArrayLike,
        eta: float = 0.0,
        generator: np.random.RandomState | None = None,
    ) -> SchedulerOutput:
        """Return the sample at the next time step from a denoiser's F; at the last, the estimate.

        `eta` is 0 (DDIM) to 1 (DDPM); with eta > 0 noise is drawn from `generator`.
        """
        x, f = np.asarray(sample, np.float64), np.asarray(model_output, np.float64)
        if f.shape != x.shape:
            raise SpecError(f"model_output must have shape {x.shape}, not {f.shape}")
        if eta > 0.0 and generator is None:
            raise SpecError("generator must be given where eta is above 0: noise is drawn from it")
        place = np.flatnonzero(self.timesteps == timestep)
        if not len(place):
            raise SpecError(f"timestep must be one of {self.timesteps.tolist()}, not {timestep}")
        now = float(self.times[timestep])
        estimate = np.clip(schedule.denoised(x, f, now), -CLIP, CLIP)
        if place[0] == len(self.timesteps) - 1:
            return SchedulerOutput(estimate, estimate)
        noise = None if generator is None or eta == 0.0 else generator.standard_normal(x.shape)
        then = float(self.times[self.timesteps[place[0] + 1]])
        return SchedulerOutput(next_sample(x, estimate, now, then, eta, noise), estimate)

    def _coefficients(self, timestep: int) -> schedule.Preconditioning:
        return schedule.preconditioning(self.times[timestep])


class Pipeline(Closing):
    """A diffusion generator on a device; a context manager that closes it.

    Parameters
    ----------
    name
        A diffusion model that ships, or a model file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.scheduler = Scheduler()
        self.device: Device | None = None
        generator = open_generator(name)
        if not isinstance(generator, DiffusionGenerator):
            raise SpecError(f"model must be a diffusion model, not {name}; draw from others with "
                            "open_generator")
        self.unet = generator.denoiser

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str) -> "Pipeline":
        """Return the pipeline of a model."""
        return cls(pretrained_model_name_or_path)

    def to(self, device: str) -> "Pipeline":
        """Move to a device, named by its URL."""
        opened = open_device(device)
        self.close()
        self.device = opened
        return self

    def close(self) -> None:
        """Let go of the device."""
        if self.device is not None:
            self.device.close()
            self.device = None

    def __call__(
        self,
        batch_size: int = 1,
        generator: int = 0,
        eta: float = 0.0,
        num_inference_steps: int = schedule.SAMPLING_STEPS,
        output_type: str = "pil",
        callback: Callable[[str, int, int], object] | None = None,
    ) -> ImagePipelineOutput:
        """Draw images.

        Parameters
        ----------
        batch_size
            How many.
        generator
            The seed of all noise, 0 to 2^32 - 1.
        eta, num_inference_steps
            0 (DDIM) to 1 (DDPM); a divisor of 20.
        output_type
            ``pil``, or ``np`` for an array (n, 8, 8, 1) in [0, 1].
        callback
            Called with (what is being done, how many are done, of how many).

        Raises
        ------
        SpecError
            If an argument is out of range.
        MissingExtraError
            If PIL images are asked for and Pillow, which ``pbitstream[plot]`` brings, is missing.
        """
        if output_type not in ("pil", "np"):
            raise SpecError(f"output_type must be pil or np, not {output_type}")
        if self.device is None:
            self.to("emulator:")
        assert self.device is not None
        scheduler = self.scheduler
        scheduler.set_timesteps(num_inference_steps)
        denoise = Relaxed(DiffusionGenerator(self.unet), self.device, generator)
        x, draw = start_noise(batch_size, generator)
        for number, row in enumerate(scheduler.timesteps.tolist()):
            x = scheduler.step(denoise(x, row), row, x, eta=eta, generator=draw).prev_sample
            if callback is not None:
                callback("sampling steps", number + 1, num_inference_steps)
        images = ((x.clip(-1, 1) + 1) / 2).reshape(batch_size, SIDE, SIDE, 1)
        return ImagePipelineOutput(images if output_type == "np" else _pictures(images))


def _pictures(images: Values) -> list[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("PIL images need Pillow, which is missing; pip install "
                                "'pbitstream[plot]', or ask for output_type np") from error
    return [Image.fromarray(np.round(255 * image[..., 0]).astype(np.uint8)) for image in images]

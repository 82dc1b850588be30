"""Sampling of images: DDIM and DDPM steps around any denoiser.

From x at t = 1, standard normal noise, down to t = 0 in equal steps; at every step the denoiser's F
gives the clean image, and with it the noise, and both are weighed anew for the next time s [1]_::

    x0 = clip(c_skip x + c_out F)            e = (x - alpha_t x0) / sigma_t
    x <- alpha_s x0 + sqrt(sigma_s^2 - v^2) e + v n
    v = eta sigma_s / sigma_t sqrt(1 - alpha_t^2 / alpha_s^2)

with fresh normal n. ``eta = 0`` is DDIM, which draws nothing after the start; ``eta = 1`` is DDPM.
At s = 0 alpha is 1 and sigma 0, so the sample is the last x0.

Noise is ``RandomState(seed).standard_normal((count, 64))``, once for the start and, if eta > 0,
once more for every step but the last: a frozen stream, so a seed means the same noise everywhere.

References
----------
.. [1] J. Song, C. Meng, S. Ermon, "Denoising diffusion implicit models", 2021, equations 12 and 16.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pbitstream.diffusion import schedule
from pbitstream.diffusion.digits import PIXELS
from pbitstream.errors import SpecError

__all__ = ["CLIP", "Step", "next_sample", "sample", "sampling_steps", "start_noise",
           "trajectory"]

Values = NDArray[np.float64]
#: ``denoise(x_t, row) -> F``, shapes (count, 64); time is ``sampling_times()[row]``.
Denoise = Callable[[Values, int], Values]

#: Largest magnitude of a pixel of x0; data lie in [-1, 1].
CLIP = 1.2


class Step(NamedTuple):
    """One sampling step: from `x` at `time` the denoiser estimated `estimate`.

    Attributes
    ----------
    number, steps
        The step, from 1, and how many there are.
    row, time
        Schedule row, and its diffusion time.
    x, estimate : array, shape (count, 64)
        Noisy images, and the clean ones estimated from them, clipped.
    clipped
        How many pixels of `estimate` were clipped.
    """

    number: int
    steps: int
    row: int
    time: float
    x: Values
    estimate: Values
    clipped: int


def sample(
    denoise: Denoise,
    count: int,
    seed: int,
    steps: int = schedule.SAMPLING_STEPS,
    eta: float = 0.0,
    clip: float = CLIP,
    report: Callable[[Step], object] | None = None,
) -> Values:
    """Draw images.

    Parameters
    ----------
    denoise
        Called once per step, ``denoise(x_t, row) -> F`` with shapes (count, 64); `row` counts down
        from 19, the schedule row of t = 1.
    count
        Number of images.
    seed
        Of the noise, 0 to 2**32 - 1.
    steps
        A divisor of 20, the rows of the schedule.
    eta
        0 (DDIM) to 1 (DDPM).
    clip
        Largest magnitude of a pixel of the estimated clean image.
    report
        Called with every `Step` once its estimate is known.

    Returns
    -------
    array, shape (count, 64)
        Within +-`clip`, which is beyond the data's [-1, 1] on purpose: a judge sees it as it is.

    Raises
    ------
    SpecError
        If an argument is out of range, or F has another shape, NaN or infinities.
    """
    last = None
    for last in sampling_steps(denoise, count, seed, steps=steps, eta=eta, clip=clip):
        if report is not None:
            report(last)
    assert last is not None  # there is at least one step
    return last.estimate


def trajectory(
    denoise: Denoise,
    count: int,
    seed: int,
    *,
    steps: int = schedule.SAMPLING_STEPS,
    eta: float = 0.0,
    clip: float = CLIP,
) -> tuple[Values, Values]:
    """Return the whole way: x before every step and the image, and every estimate.

    Parameters
    ----------
    denoise, count, seed, steps, eta, clip
        As `sample`.

    Returns
    -------
    array, shape (steps + 1, count, 64)
        x at t = 1 first, the images (t = 0) last.
    array, shape (steps, count, 64)
        Clean images estimated at every step; the last are the images.
    """
    done = list(sampling_steps(denoise, count, seed, steps=steps, eta=eta, clip=clip))
    estimates = np.stack([step.estimate for step in done])
    return np.concatenate([np.stack([step.x for step in done]), estimates[-1:]]), estimates


def sampling_steps(
    denoise: Denoise,
    count: int,
    seed: int,
    *,
    steps: int = schedule.SAMPLING_STEPS,
    eta: float = 0.0,
    clip: float = CLIP,
) -> Iterator[Step]:
    """Yield the steps of `sample` one by one; the images are the estimate of the last."""
    rows = schedule.SAMPLING_STEPS
    if not 1 <= steps <= rows or rows % steps:
        raise SpecError(f"steps must divide the {rows} rows of the schedule, not be {steps}")
    if not 0.0 <= eta <= 1.0:
        raise SpecError(f"eta must be between 0 (DDIM) and 1 (DDPM), not {eta}")
    if not clip >= 1.0:
        raise SpecError(f"clip must be at least 1, the range of images, not {clip}")
    x, draw = start_noise(count, seed)
    times = schedule.sampling_times(rows)
    for number in range(1, steps + 1):
        row = rows - 1 - (number - 1) * (rows // steps)
        f = np.asarray(denoise(x, row), dtype=np.float64)
        if f.shape != x.shape:
            raise SpecError(f"denoise must return shape {x.shape}, not {f.shape}")
        if not np.isfinite(f).all():
            raise SpecError(f"denoise returned NaN or infinity at schedule row {row}")
        free = schedule.denoised(x, f, times[row])
        estimate = np.clip(free, -clip, clip)
        clipped = int(np.count_nonzero(np.abs(free) > clip))
        yield Step(number, steps, row, float(times[row]), x, estimate, clipped)
        if number < steps:
            noise = draw.standard_normal(x.shape) if eta > 0.0 else None
            x = next_sample(x, estimate, times[row], times[row - rows // steps], eta, noise)


def start_noise(count: int, seed: int) -> tuple[Values, np.random.RandomState]:
    """Return x at t = 1, standard normal (count, 64), and the stream that continues it."""
    if count < 1:
        raise SpecError(f"count must be at least 1, not {count}")
    if not 0 <= seed < 2**32:
        raise SpecError(f"seed must be between 0 and 2**32 - 1, not {seed}")
    draw = np.random.RandomState(seed)
    return draw.standard_normal((count, PIXELS)), draw


def next_sample(
    x: Values, estimate: Values, now: float, then: float, eta: float, noise: Values | None
) -> Values:
    """Return x at the time `then`, from x and the clean images estimated at `now`.

    Parameters
    ----------
    x, estimate : array, shape (count, 64)
        Noisy images at `now`, and the clean ones.
    now, then
        Diffusion times, ``then < now``, both in (0, 1].
    eta
        0 (DDIM) to 1 (DDPM).
    noise : array, shape (count, 64)
        Standard normal; None, and not needed, where eta = 0.
    """
    if not 0.0 <= eta <= 1.0:
        raise SpecError(f"eta must be between 0 (DDIM) and 1 (DDPM), not {eta}")
    (alpha, then_alpha), (sigma, then_sigma) = schedule.alpha_sigma([now, then])
    spread = eta * then_sigma / sigma * np.sqrt(1.0 - (alpha / then_alpha) ** 2)
    kept = np.sqrt(then_sigma**2 - spread**2)
    moved = then_alpha * estimate + kept * (x - alpha * estimate) / sigma
    if noise is not None:
        moved += spread * noise
    return np.asarray(moved, dtype=np.float64)

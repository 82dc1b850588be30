"""The sampler around a denoiser that is known in closed form: that of Gaussian data."""

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from pbitstream.diffusion import schedule
from pbitstream.diffusion.sampler import Step, sample, sampling_steps, start_noise, trajectory
from pbitstream.errors import SpecError

Values = NDArray[np.float64]

MEAN = np.linspace(-0.5, 0.5, 64)
VARIANCE = 0.09
WIDE = 10.0  # a clip that nothing reaches, so that every step is linear


def gaussian(x: Values, row: int) -> Values:
    """Return F of the exact denoiser E[x_0 | x_t] of pixels with `MEAN` and `VARIANCE`."""
    t = schedule.sampling_times()[row]
    alpha, sigma = schedule.alpha_sigma(t)
    gain = alpha * VARIANCE / (alpha**2 * VARIANCE + sigma**2)
    return schedule.target(MEAN + gain * (x - alpha * MEAN), x, t)


def law(steps: int, eta: float) -> tuple[float, float]:
    """Return by how much x at t = 1 is multiplied on its way, and the variance of the samples."""
    angles = 0.99 * math.pi / 2 * np.arange(steps, -1, -1) / steps
    factor, variance = 1.0, 1.0
    for now, then in pairwise(angles):
        a, s, b, r = math.cos(now), math.sin(now), math.cos(then), math.sin(then)
        spread = eta * r / s * math.sqrt(1 - (a / b) ** 2)
        each = (b * a * VARIANCE + math.sqrt(r**2 - spread**2) * s) / (a**2 * VARIANCE + s**2)
        factor, variance = factor * each, each**2 * variance + spread**2
    return factor, variance


@pytest.mark.parametrize("steps", [1, 2, 10, 20])
def test_ddim_of_gaussian_data_is_the_known_linear_map(steps: int) -> None:
    start, _ = start_noise(50, 3)
    factor, _ = law(steps, 0.0)
    wanted = MEAN + factor * (start - math.cos(0.99 * math.pi / 2) * MEAN)
    np.testing.assert_allclose(sample(gaussian, 50, 3, steps=steps, clip=WIDE), wanted, atol=1e-12)


@pytest.mark.parametrize(("eta", "share"), [(0.0, 0.80), (0.5, 0.77), (1.0, 0.67)])
def test_samples_have_the_mean_and_the_variance_of_the_data(eta: float, share: float) -> None:
    count = 2000
    images = sample(gaussian, count, 4, eta=eta, clip=WIDE)
    values = count * 64
    # The start forgets its own mean, alpha_1 MEAN, up to the factor.
    factor, variance = law(20, eta)
    left = factor * math.cos(0.99 * math.pi / 2) * MEAN
    deviation = images - (MEAN - left)
    assert abs(deviation.mean()) < 5 * math.sqrt(variance / values)
    assert abs(deviation.var() - variance) < 5 * variance * math.sqrt(2 / values)
    # 20 steps lose part of the variance, more of it with fresh noise: a property of the method.
    assert variance == pytest.approx(share * VARIANCE, rel=0.02)
    assert np.abs(left).max() < 0.05 * math.sqrt(VARIANCE)


def test_a_trajectory_is_what_the_steps_went_through() -> None:
    told: list[Step] = []
    images = sample(gaussian, 3, 5, steps=5, eta=1.0, report=told.append)
    states, estimates = trajectory(gaussian, 3, 5, steps=5, eta=1.0)
    assert states.shape == (6, 3, 64)
    assert estimates.shape == (5, 3, 64)
    assert (states[-1] == images).all()
    assert (estimates[-1] == images).all()
    assert (states[0] == start_noise(3, 5)[0]).all()
    assert [step.row for step in told] == [19, 15, 11, 7, 3]
    assert [step.time for step in told] == [1.0, 0.8, 0.6, 0.4, 0.2]
    assert [step.number for step in told] == [1, 2, 3, 4, 5]
    assert (sample(gaussian, 2, 5) == sample(gaussian, 3, 5)[:2]).all()


def test_estimates_are_clipped_and_the_clips_counted() -> None:
    first = next(sampling_steps(lambda x, row: np.full_like(x, 100.0), 2, 0))
    assert (first.estimate == 1.2).all()
    assert first.clipped == 2 * 64


def test_the_noise_is_a_frozen_stream() -> None:
    assert start_noise(1, 3)[0][0, :2].tolist() == [1.7886284734303186, 0.43650985051198943]


@pytest.mark.parametrize(("change", "message"), [
    ({"count": 0}, "count must be at least 1, not 0"),
    ({"seed": -1}, "seed must be between 0"),
    ({"steps": 7}, "steps must divide the 20 rows of the schedule, not be 7"),
    ({"steps": 0}, "steps must divide"),
    ({"eta": 1.5}, "eta must be between 0"),
    ({"clip": 0.5}, "clip must be at least 1"),
    ({"denoise": lambda x, row: x[:1]}, r"denoise must return shape \(2, 64\), not \(1, 64\)"),
    ({"denoise": lambda x, row: x * np.nan}, "denoise returned NaN or infinity at schedule row 19"),
])
def test_bad_arguments_are_refused(change: dict[str, object], message: str) -> None:
    arguments = {"denoise": gaussian, "count": 2, "seed": 0, **change}
    with pytest.raises(SpecError, match=message):
        sample(**arguments)  # type: ignore[arg-type]

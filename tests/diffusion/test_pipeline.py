"""Sampling under the names of diffusers: the same images as the sampler's own, by other words."""

import numpy as np
import pytest

from pbitstream import Emulator
from pbitstream.diffusion import schedule
from pbitstream.diffusion.generators.registry import open_generator
from pbitstream.diffusion.pipeline import Pipeline, Scheduler
from pbitstream.diffusion.sampler import sample
from pbitstream.errors import SpecError

COUNT = 3


def smooth(x, row):
    """A denoiser of no worth, with a time."""
    return np.tanh(x) * (row + 1) / 20


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("steps", [20, 5])
def test_a_loop_over_the_scheduler_is_the_sampler(eta: float, steps: int) -> None:
    scheduler = Scheduler()
    scheduler.set_timesteps(steps)
    draw = np.random.RandomState(5)
    x = draw.standard_normal((COUNT, 64)).reshape(COUNT, 1, 8, 8) * scheduler.init_noise_sigma
    for row in scheduler.timesteps:
        f = smooth(x, row)
        x = scheduler.step(f, row, x, eta=eta, generator=draw).prev_sample
    assert np.allclose(x.reshape(COUNT, 64), sample(smooth, COUNT, 5, steps=steps, eta=eta),
                       atol=1e-12)


def test_inputs_and_noise_are_those_of_the_schedule() -> None:
    scheduler = Scheduler()
    assert len(scheduler) == len(scheduler.timesteps) == 20
    assert scheduler.timesteps[0] == 19
    x = np.random.RandomState(0).standard_normal((COUNT, 1, 8, 8))
    c_in = schedule.preconditioning(schedule.sampling_times()[7]).c_in
    assert np.array_equal(scheduler.scale_model_input(x, 7), c_in * x)
    noise = np.ones_like(x)
    alpha, sigma = schedule.alpha_sigma(schedule.sampling_times()[7])
    assert np.allclose(scheduler.add_noise(x, noise, 7), alpha * x + sigma)
    rows = np.array([0, 7, 19])
    alpha, sigma = schedule.alpha_sigma(schedule.sampling_times()[rows])
    expected = alpha[:, None, None, None] * x + sigma[:, None, None, None]
    assert np.allclose(scheduler.add_noise(x, noise, rows), expected)


def test_the_pipeline_draws_what_the_generator_draws() -> None:
    with Pipeline.from_pretrained("digits-codesign").to("emulator:") as pipeline:
        found = pipeline(batch_size=2, generator=9, num_inference_steps=2, output_type="np").images
        pictures = pipeline(2, 9, num_inference_steps=2).images
    with Emulator() as device:
        drawn = open_generator("digits-codesign", sampling_steps=2).draw(device, 2, seed=9)
    assert found.shape == (2, 8, 8, 1)
    assert np.array_equal(found.reshape(2, 64), (drawn.images.clip(-1, 1) + 1) / 2)
    assert [picture.size for picture in pictures] == [(8, 8)] * 2


def test_what_is_refused() -> None:
    scheduler, x = Scheduler(), np.zeros((1, 1, 8, 8))
    with pytest.raises(SpecError, match="num_inference_steps must divide"):
        scheduler.set_timesteps(7)
    scheduler.set_timesteps(5)
    with pytest.raises(SpecError, match="timestep must be one of"):
        scheduler.step(x, 18, x)
    with pytest.raises(SpecError, match="generator must be given"):
        scheduler.step(x, 19, x, eta=1.0)
    with pytest.raises(SpecError, match="model_output must have shape"):
        scheduler.step(x[0], 19, x)
    with pytest.raises(SpecError, match="model must be a diffusion model, not digits-pbit"):
        Pipeline("digits-pbit")
    with pytest.raises(SpecError, match="output_type must be pil or np"):
        Pipeline("digits-codesign")(output_type="latent")

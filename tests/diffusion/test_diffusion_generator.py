"""Sampling with a device in the loop: what an image depends on, warm starts, references."""

from functools import lru_cache

import numpy as np
import pytest

from pbitstream import Emulator, Program
from pbitstream.diffusion.codesign import CodesignedDenoiser
from pbitstream.diffusion.denoiser import Denoiser
from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.distances import frechet_distance, moments
from pbitstream.diffusion.generators.base import Generator
from pbitstream.diffusion.generators.diffusion import (
    DiffusionGenerator,
    digital_images,
    equilibrium_images,
)
from pbitstream.diffusion.judge import Judge
from pbitstream.errors import SpecError
from pbitstream.model import Model, shipped


@lru_cache(maxsize=2)
def denoiser(name: str = "digits-codesign") -> Denoiser:
    model = Model.open(shipped(name))
    if name == "digits-codesign":
        return CodesignedDenoiser.of(model)
    return Denoiser(model, Program.open(shipped(f"{name}.program")))


def images(count: int = 6, seed: int = 3, **options: object) -> np.ndarray:
    generator: Generator = DiffusionGenerator(denoiser(), **options)  # type: ignore[arg-type]
    with Emulator() as device:
        return generator.draw(device, count, seed=seed).images


def test_an_image_depends_on_seed_and_number_only() -> None:
    together = images()
    assert (images(batch=4) == together).all()
    assert (images(count=2) == together[:2]).all()
    assert (images(seed=4) != together).any()


def test_warm_starts_do_not_depend_on_the_batch_either() -> None:
    assert (images(warm=8, batch=4) == images(warm=8)).all()


def test_every_step_has_noise_of_its_own() -> None:
    seeds = []

    class Spy(Emulator):
        def relax(self, h, **arguments):  # type: ignore[no-untyped-def]
            seeds.append((arguments["seed"], arguments["first_chain"]))
            return super().relax(h, **arguments)

    with Spy() as device:
        DiffusionGenerator(denoiser(), sampling_steps=4, batch=2).draw(device, 3, seed=7)
    assert seeds == [(7 + n * 2**32, first) for n in range(4) for first in (0, 2)]


def test_it_draws_what_the_exact_equilibrium_draws() -> None:
    exact = equilibrium_images(denoiser(), 6, 3)
    cold, warm = images(), images(warm=16)
    # Twenty steps carry the noise of every readout, .018 x units, to the image.
    assert np.sqrt(((cold - exact) ** 2).mean()) < 0.02
    assert np.sqrt(((warm - exact) ** 2).mean()) < 0.02
    assert np.sqrt(((cold - equilibrium_images(denoiser(), 6, 4)) ** 2).mean()) > 0.3
    frozen = images(temperature=0.0, burn_in=64, steps=1)
    assert np.sqrt(((frozen - exact) ** 2).mean()) < 0.02


def test_what_is_told_about_a_drawing() -> None:
    told = []
    generator = DiffusionGenerator(denoiser(), sampling_steps=5, eta=1.0, steps=16, burn_in=24,
                                   warm=4)
    with Emulator() as device:
        drawn = generator.draw(device, 3, seed=0, report=lambda *what: told.append(what))
    assert told == [("sampling steps", n, 5) for n in range(1, 6)]
    assert [frame.caption for frame in drawn.frames][:2] == ["noise", "estimate at t = 1.00"]
    assert len(drawn.frames) == 6
    assert (drawn.frames[-1].images == drawn.images).all()
    assert drawn.images.shape == (3, 64)
    assert drawn.labels is None
    assert drawn.updates == 128 * 3 * (5 * 16 + 24 + 4 * 4)
    assert set(drawn.clips.values()) == {0}
    assert generator.to_dict()["warm"] == 4
    assert generator.programs == (denoiser().program,)
    assert (generator.judge, generator.labelled) == ("grey", False)


def test_digits_k16_draws_too_and_its_unet_is_the_digital_reference() -> None:
    model = denoiser("digits-k16").model
    with Emulator() as device:
        drawn = DiffusionGenerator(denoiser("digits-k16"), sampling_steps=4).draw(device, 2, seed=3)
    digital = digital_images(model, 2, 3, steps=4)
    assert drawn.images.shape == digital.shape == (2, 64)
    assert (digital == digital_images(model, 3, 3, steps=4)[:2]).all()


@pytest.mark.parametrize(("options", "message"), [
    ({"batch": 0}, "batch must be at least 1, not 0"),
    ({"steps": 0}, "steps must be between 1"),
    ({"burn_in": -1}, "burn_in must be between 0"),
    ({"warm": -1}, "burn_in must be between 0"),
    ({"temperature": -1.0}, "temperature must be 0 or more, not -1"),
    ({"sampling_steps": 7}, "steps must divide the 20 rows of the schedule, not be 7"),
    ({"eta": 2.0}, "eta must be between 0"),
])
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        images(**options)  # type: ignore[arg-type]


def test_labels_are_refused() -> None:
    with Emulator() as device, pytest.raises(SpecError, match="labels must be left out"):
        DiffusionGenerator(denoiser()).draw(device, 2, seed=0, labels=np.array([1, 2]))


@pytest.mark.long
def test_its_images_are_as_good_as_those_of_the_exact_equilibrium() -> None:
    judge = Judge.open("grey")
    real = moments(judge(held_out_digits()[0]).features)
    found = []
    with Emulator() as device:
        for seed in range(3, 9):
            drawn = DiffusionGenerator(denoiser()).draw(device, 600, seed=seed).images
            both = drawn, equilibrium_images(denoiser(), 600, seed)
            found.append([frechet_distance(real, moments(judge(x).features)) for x in both])
    got, exact = np.mean(found, axis=0)
    assert got <= 32.0
    assert got == pytest.approx(exact, rel=0.02)

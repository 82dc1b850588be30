"""The shipped p-bit generators on the emulator: what one set of images must reach, widely."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from pbitstream.diffusion.generators.judging import judge_generator
from pbitstream.diffusion.generators.pbit import PbitGenerator
from pbitstream.emulator.device import Emulator
from pbitstream.model import Model, shipped

NAMES = ("digits-pbit", "digits-pbit-chain", "digits-grey", "digits-grey-unlabelled")


@cache
def document(name: str) -> dict[str, Any]:
    generator = PbitGenerator(Model.open(shipped(name)))
    with Emulator() as device:
        return judge_generator(generator, device, [0], 600, controls=False)


def mean(name: str, figure: str) -> float:
    return float(document(name)["figures"][figure]["mean"])


@pytest.mark.parametrize(("name", "most"), [
    # Real images have 7 +- 2 by the binary judge and 12 +- 4 by the grey one; these are means over
    # seeds and three deviations.
    ("digits-pbit", 16.0), ("digits-pbit-chain", 18.0),
    ("digits-grey", 28.0), ("digits-grey-unlabelled", 34.0),
])
def test_the_distance_to_real_images(name: str, most: float) -> None:
    assert mean(name, "frechet") < most


def test_images_show_their_labels_and_differ_inside_a_class() -> None:
    assert mean("digits-pbit", "accuracy") > 0.91
    assert mean("digits-grey", "accuracy") > 0.95
    # Tables of independent pixels of each class have 32 and 61.
    assert mean("digits-pbit", "frechet_within") < 26.0
    assert mean("digits-grey", "frechet_within") < 40.0


@pytest.mark.parametrize("name", NAMES)
def test_all_digits_come_and_training_images_do_not(name: str) -> None:
    assert mean(name, "entropy") > 0.98
    binary = document(name)["judge"] == "binary"
    # The test images have 3.04 and .044, or 2.08 and 0.
    assert mean(name, "nearest") > (2.7 if binary else 1.7)
    assert mean(name, "copies") < (0.06 if binary else 0.005)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_small_and_nothing_clips(name: str) -> None:
    assert shipped(name).stat().st_size < 100_000
    draw = document(name)["draws"][0]
    updates = {"digits-pbit": 15 * 192, "digits-pbit-chain": 2 * 15 * 192}
    assert draw["updates"] == 600 * updates.get(name, 19 * 320)
    assert sum(draw["clips"].values()) <= draw["updates"] * 1e-5
    generator = PbitGenerator(Model.open(shipped(name)))
    assert generator.labelled == (name in ("digits-pbit", "digits-grey"))
    for program in generator.programs:
        assert np.isfinite(program.tables["scale"]).all()
        assert len(program.topology.phases) == 2


@pytest.mark.long
@pytest.mark.parametrize(("name", "frechet", "within", "accuracy"), [
    ("digits-pbit", 9.5, 30.0, 0.93), ("digits-pbit-chain", 12.0, None, None),
    ("digits-grey", 17.0, None, 0.96), ("digits-grey-unlabelled", 22.0, None, None),
])
def test_what_they_must_reach(
    name: str, frechet: float, within: float | None, accuracy: float | None
) -> None:
    generator = PbitGenerator(Model.open(shipped(name)))
    with Emulator() as device:
        figures = judge_generator(generator, device, range(30, 35), controls=False)["figures"]
    assert figures["frechet"]["mean"] <= frechet
    if generator.judge == "binary":
        # No more copies of training images than there are among the test images.
        assert figures["nearest"]["mean"] >= 2.9
        assert figures["copies"]["mean"] <= 0.044
    if within is not None:
        assert figures["frechet_within"]["mean"] <= within
    if accuracy is not None:
        assert figures["accuracy"]["mean"] >= accuracy

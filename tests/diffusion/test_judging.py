"""Figures of a generator over seeds, on generators whose figures are known."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pbitstream.devices.protocol import CLIP_NAMES, Device
from pbitstream.diffusion.digits import held_out_digits, training_digits
from pbitstream.diffusion.generation import generation_metrics
from pbitstream.diffusion.generators.base import Drawn, Frame, Report
from pbitstream.diffusion.generators.judging import judge_draws, judge_generator
from pbitstream.diffusion.judge import Judge
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.program import Program


class Replay:
    """A generator that shows real images: the test images, or training images with labels."""

    programs: tuple[Program, ...] = ()

    def __init__(self, judge: str, *, labelled: bool) -> None:
        self.judge, self.labelled = judge, labelled
        self._images, self._labels = training_digits() if labelled else held_out_digits()

    def to_dict(self) -> dict[str, Any]:
        return {"generator": "replay"}

    def draw(
        self, device: Device, count: int, *, seed: int, labels: NDArray[np.int64] | None = None,
        report: Report | None = None,
    ) -> Drawn:
        rows = np.random.default_rng(seed).permutation(len(self._images))[:count]
        images = self._images[rows]
        asked = self._labels[rows] if self.labelled else None
        if report is not None:
            report("drawing", count, count)
        return Drawn(images, asked, (Frame("image", images),), count, dict.fromkeys(CLIP_NAMES, 0))


def judged(*arguments: Any, **options: Any) -> dict[str, Any]:
    with Emulator(engine="numpy") as device:
        return judge_generator(arguments[0], device, *arguments[1:], **options)


@pytest.mark.parametrize("kind", ["binary", "grey"])
def test_real_images_stand_as_real_images_and_tables_behind(kind: str) -> None:
    told: list[tuple[str, int, int]] = []

    def report(doing: str, done: int, total: int) -> None:
        told.append((doing, done, total))

    document = judged(Replay(kind, labelled=True), [0, 1], 600, report=report)
    figures, controls = document["figures"], document["controls"]
    assert list(controls) == ["real", "k-means-20", "k-means-100", "classes"]
    # The features of real images are stored in 255 steps, and drawn by the same permutation.
    frechet = figures["frechet"]["mean"]
    assert frechet == pytest.approx(controls["real"]["frechet"]["mean"], rel=0.1)
    assert figures["copies"]["mean"] == 1.0
    assert figures["nearest"]["mean"] == 0.0
    assert figures["accuracy"]["mean"] > 0.98
    assert controls["real"]["nearest"] is None
    for name in ("k-means-20", "k-means-100", "classes"):
        assert controls[name]["f90"]["mean"] < figures["f90"]["mean"] - 0.02
        assert controls[name]["copies"]["mean"] < 0.1
    assert controls["classes"]["frechet"]["mean"] > 1.2 * frechet
    real, table = controls["real"]["frechet_within"], controls["classes"]["frechet_within"]
    assert figures["frechet_within"]["mean"] < real["mean"] < table["mean"] / 2
    assert controls["k-means-20"]["frechet_within"] is None
    assert told == [("drawing", 600, 600)] * 2
    assert document["missing"] is None
    assert (document["judge"], document["count"], document["seeds"]) == (kind, 600, [0, 1])


def test_a_seed_has_the_figures_of_its_images() -> None:
    generator = Replay("grey", labelled=False)
    document = judged(generator, [5, 6], 100, controls=False)
    with Emulator(engine="numpy") as device:
        images = generator.draw(device, 100, seed=6).images
    wanted = generation_metrics(Judge.open("grey"), images, training=training_digits()[0])
    draw = document["draws"][1]
    assert draw["seed"] == 6
    assert draw["figures"] == wanted.to_dict()
    assert (draw["updates"], set(draw["clips"])) == (100, set(CLIP_NAMES))
    both = [d["figures"]["frechet"]["value"] for d in document["draws"]]
    assert document["figures"]["frechet"]["mean"] == pytest.approx(np.mean(both))
    assert document["figures"]["frechet"]["deviation"] == pytest.approx(np.std(both, ddof=1))
    assert document["figures"]["accuracy"] is None
    assert document["controls"] == {}


def test_without_the_training_images_what_needs_them_is_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = Replay("binary", labelled=False)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    document = judged(generator, [3], 60)
    assert list(document["controls"]) == ["real"]
    assert document["figures"]["nearest"] is None
    assert document["figures"]["frechet"]["deviation"] is None
    assert "pip install 'pbitstream[digits]'" in document["missing"]


def test_a_class_of_one_image_has_no_distance_inside() -> None:
    document = judged(Replay("grey", labelled=True), [0], 8, controls=False)
    assert document["figures"]["frechet_within"] is None
    assert document["figures"]["accuracy"] is None
    assert document["figures"]["copies"]["mean"] == 1.0


def test_refusals() -> None:
    generator = Replay("grey", labelled=False)
    for seeds in ([], [1, 1]):
        with pytest.raises(SpecError, match=r"^seeds must be one or more different ones, not \["):
            judged(generator, seeds)
    with pytest.raises(SpecError, match=r"^count must be between 2 and 1437, the real images"):
        judged(generator, [0], 1500)
    with Emulator(engine="numpy") as device:
        draws = [generator.draw(device, count, seed=0) for count in (5, 6)]
    with pytest.raises(SpecError, match=r"^draws must be one for each of 2 seeds, of one count, "
                                        r"not 2 of \[5, 6\]$"):
        judge_draws(generator, draws, [0, 1])

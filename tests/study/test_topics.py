"""Every topic on a small subject: its points measure, its sentences stand, its figures are true."""

import math

import numpy as np
import pytest

from pbitstream import Emulator
from pbitstream.compiler.sources import DigitsSource
from pbitstream.diffusion.digits import held_out_digits, training_digits
from pbitstream.model import Model, shipped
from pbitstream.study.base import Row, spread
from pbitstream.study.paper import RAW, Paper, global_cosine, shift
from pbitstream.study.subject import Converters, Subject
from pbitstream.study.topics import QUESTIONS, open_topic

TOPICS = [name for name in QUESTIONS if name != "mixing"]
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def subject() -> Subject:
    """60 images to fit on, 8 to judge on."""
    made = Subject(8)
    made.digits = DigitsSource(Model.open(shipped("digits-k16")), training_digits()[0][:347],
                               held_out_digits()[0], draws=1)
    return made


@pytest.fixture(scope="module")
def device() -> Emulator:
    return Emulator()


@pytest.mark.parametrize("name", TOPICS)
def test_points_measure(name: str, subject: Subject, device: Emulator) -> None:
    topic = open_topic(name)
    topic.subject = subject
    points = topic.points()
    assert topic.name == name
    assert len({str(point) for point in points}) == len(points)
    names = [figure.name for figure in topic.figures]
    rows = []
    some = [p for p in points if p.get("form") in (None, "none", "8x32")]
    for point in [some[0], some[len(some) // 2], some[-1]]:
        assert set(point) == set(topic.parameters)
        found = [topic.measure(device, point, seed) for seed in SEEDS]
        assert all(math.isfinite(cell[figure]) for cell in found for figure in names), point
        rows.append(Row(point, {f: spread([cell[f] for cell in found]) for f in names}))
    assert all(isinstance(sentence, str) for sentence in topic.conclusions(rows))
    for panel in topic.panels:
        assert panel.x in topic.parameters
        assert set(panel.figures) <= set(names)


def test_conclusions_of_all_points(subject: Subject) -> None:
    """Sentences pick rows by their points: every one of them is there when all points are."""
    for name in QUESTIONS:
        topic = open_topic(name)
        figures = {figure.name: spread([0.5, 0.6]) for figure in topic.figures}
        rows = [Row(point, figures) for point in topic.points()]
        sentences = topic.conclusions(rows)
        assert sentences, name
        assert not any("nan" in sentence for sentence in sentences)


def test_the_papers_metric_rewards_a_constant(subject: Subject, device: Emulator) -> None:
    topic = Paper(subject)
    constant = topic.measure(device, {"system": "constant"}, 0)
    trained = topic.measure(device, {"system": "HBC, k=16"}, 0)
    oracle = topic.measure(device, {"system": "oracle"}, 0)
    raw = topic.measure(device, {"system": RAW}, 0)
    assert constant["paper"] > 0.85
    assert abs(constant["r2"]) < 1e-9
    assert constant["shift"] == 0
    assert trained["r2"] > 0.5 > 0 > trained["shuffled"]
    assert oracle["r2"] > 0.995
    assert abs(raw["plain"]) < 0.4, "a random map knows nothing of the layer"


def test_metrics_are_what_they_say() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.normal(3, 2, (5, 8)), draw.normal(-1, 4, (5, 8))
    flat = [((x - x.mean()) / x.std()) for x in (a, b)]
    rows = [u @ v / np.linalg.norm(u) / np.linalg.norm(v) for u, v in zip(*flat)]
    assert global_cosine(a, b) == pytest.approx(np.mean(rows))
    assert shift(np.full((3, 4), 2.0), np.full(4, 1.0)) == 1.0


def test_whole_converters_change_nothing(subject: Subject, device: Emulator) -> None:
    """A state cut to its own width, step by step, is the relaxation in one call."""
    lowered = subject.compiled(4)
    once = subject.read(device, lowered, 0).values
    stepwise = subject.read(device, lowered, 0, converters=Converters(state=24)).values
    assert np.allclose(once, stepwise, atol=1e-12)
    coarse = subject.read(device, lowered, 0, converters=Converters(readout=4)).values
    assert np.abs(coarse - once).max() > 0.01


def test_few_programs_are_kept(monkeypatch: pytest.MonkeyPatch, subject: Subject) -> None:
    monkeypatch.setattr("pbitstream.study.subject.KEPT", 2)
    first = subject.compiled(1)
    assert subject.compiled(1) is first
    subject.compiled(2)
    subject.compiled(3)
    assert len(subject._programs) == 2
    again = subject.compiled(1)
    assert again is not first
    assert again.program.digest == first.program.digest

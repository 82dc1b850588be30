"""Studies: intervals, what is kept when one is interrupted, and what is refused."""

import json
import math
from typing import ClassVar

import pytest
from scipy.stats import t as student

from pbitstream import Emulator
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.study.base import COVERAGE, Figure, Panel, spread
from pbitstream.study.mixing import Mixing
from pbitstream.study.run import run_topic


class Squares:
    """A topic whose figure is known: point squared, and the seed."""

    name, question, method = "squares", "What is a square?", "by multiplication"
    parameters: ClassVar = {"x": "x"}
    figures = (Figure("square", "x²", "the square"), Figure("seed", "seed", "the seed"),
               Figure("none", "none", "nothing"))
    panels = (Panel("squares", "x", ("square",)),)
    identity = "squares 1"

    def __init__(self, fail_at: int | None = None) -> None:
        self.measured = 0
        self.fail_at = fail_at

    def points(self):
        return [{"x": 1}, {"x": 2.5}]

    def measure(self, device, point, seed):
        if self.measured == self.fail_at:
            raise KeyboardInterrupt
        self.measured += 1
        return {"square": float(point["x"]) ** 2, "seed": float(seed), "none": math.nan}

    def conclusions(self, rows):
        return [f"{len(rows)} rows"]


def test_rows_have_mean_and_interval_over_the_seeds() -> None:
    study = run_topic(Squares(), Emulator(), seeds=6, first_seed=10)
    assert study.seeds == (10, 11, 12, 13, 14, 15)
    square, seed, none = (study.rows[1].figures[name] for name in ("square", "seed", "none"))
    assert (square.mean, square.low, square.high) == (6.25, 6.25, 6.25)
    half = student.ppf(0.5 + COVERAGE / 2, 5) * math.sqrt(3.5) / math.sqrt(6)
    assert seed.mean == 12.5
    assert seed.high - seed.mean == pytest.approx(half, rel=0.01)
    assert math.isnan(none.mean)
    assert json.dumps(study.to_dict()["rows"][0]["square"])


@pytest.mark.parametrize("count", [5, 6, 10, 30])
def test_the_interval_is_students(count: int) -> None:
    found = spread([0.0] * (count - 1) + [1.0])
    deviation = math.sqrt((1 / count) * (1 - 1 / count) * count / (count - 1))
    half = student.ppf(0.5 + COVERAGE / 2, count - 1) * deviation / math.sqrt(count)
    assert found.high - found.mean == pytest.approx(half, rel=0.01)


def test_an_interrupted_study_goes_on(tmp_path) -> None:
    path = tmp_path / "kept" / "squares.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run_topic(Squares(fail_at=7), Emulator(), path=path)
    topic = Squares()
    study = run_topic(topic, Emulator(), path=path)
    assert topic.measured == 3
    assert repr(study.to_dict()) == repr(run_topic(Squares(), Emulator()).to_dict())
    # More seeds add to what is kept; a line that was cut off is measured again.
    text = path.read_text()
    path.write_text(text[:-9])
    topic = Squares()
    run_topic(topic, Emulator(), seeds=6, path=path)
    assert topic.measured == 3
    assert path.read_text().count("\n") == 13


def test_other_results_are_refused(tmp_path) -> None:
    path = tmp_path / "squares.jsonl"
    run_topic(Squares(), Emulator(), path=path)
    topic = Squares()
    topic.identity = "squares 2"
    with pytest.raises(FileFormatError, match="not of squares 2"):
        run_topic(topic, Emulator(), path=path)
    path.write_text("what is this\n")
    with pytest.raises(FileFormatError, match="not the results of a study"):
        run_topic(Squares(), Emulator(), path=path)
    with pytest.raises(SpecError, match="seeds must be at least 5"):
        run_topic(Squares(), Emulator(), seeds=4)


def test_relaxation_is_predicted_by_the_gap() -> None:
    device, topic = Emulator(), Mixing()
    for point in ({"sweep": "gap", "units": 16, "radius": 0.5, "k4": 0.0},
                  {"sweep": "gap", "units": 16, "radius": 0.75, "k4": 0.0}):
        found = topic.measure(device, point, 3)
        assert found["relaxation"] == pytest.approx(found["relaxation_predicted"], rel=0.01)
        # 256 chains know a variance to 9 %.
        assert found["tau"] == pytest.approx(found["tau_predicted"], rel=4 * 0.09)

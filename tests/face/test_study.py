"""`pbitstream study` measures, prints and draws."""

import json

import pytest

from pbitstream.devices.registry import device_schemes
from pbitstream.study import topics
from pbitstream.study.mixing import Mixing
from pbitstream.training import eqprop_study
from pbitstream.training.eqprop_study import Check, Sizes, Study

TINY = Sizes(alignment=3, slopes=2, paper=1, noise=1, chains=2, imperfect=1,
             paper_nudges=(0.03,), temperatures=(0.01,), windows=((32, 2), (64, 4)))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    monkeypatch.setattr(eqprop_study, "QUICK", TINY)


def test_document_and_figure(run, tmp_path):
    done = run("study", "eqprop", "--quick", "--json", "--seed", "5", "--plot", "s.svg")
    data = json.loads(done.out)
    missed = not all(check["holds"] for check in data["checks"])
    assert (done.code, done.err) == (int(missed), "")
    assert set(data) == {"device", "seed", "systems", "sizes", "compared", "checks", "slopes",
                         "slopes_of_systems", "slopes_over_all_nudges", "bias", "bounds",
                         "alignment", "paper", "noise", "fixed_point", "mismatch"}
    assert (data["device"], data["seed"], data["systems"]) == ("emulator:", 5, 3)
    assert set(data["slopes"]) == {"one-sided", "symmetric"}
    assert 1.8 < data["slopes"]["symmetric"] < 2.2
    assert len(data["alignment"]) == 2 * 3 * 2 * 3 * 2
    for row in data["alignment"]:
        assert {"nudge", "free", "nudged", "rule", "start", "mean", "min", "negative"} <= set(row)
        assert row["min"] <= row["mean"] <= 1
    assert {row["reading"] for row in data["paper"]} == {"k2 1, k4 .05", "k2 .2, k4 .2"}
    assert {row["substrate"] for row in data["fixed_point"]} == {"float", "fixed"}
    assert (tmp_path / "work" / "s.svg").stat().st_size > 10000


def test_screen(run):
    done = run("study", "eqprop", "--quick", "--systems", "1", "--plot", "s.png")
    assert done.err == ""
    for words in ("Must reach", "slope of the bias, symmetric", "Relative bias against nudge",
                  "Cosine with the true gradient", "10 + 40", "k2 1, k4 .05", "Noise at T > 0",
                  "Fixed point", "1/1024", "Mismatch", "1 system,", "wrote s.png"):
        assert words in done.out, words
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(("holds", "code"), [((True, True), 0), ((True, False), 1)])
def test_a_figure_that_is_missed_is_a_failed_check(run, monkeypatch, form, holds, code):
    checks = [Check(f"figure {place}", ">= .5", 0.25, each) for place, each in enumerate(holds)]
    monkeypatch.setattr(Study, "checks", lambda study: checks)
    done = run("study", "eqprop", "--quick", "--systems", "1", *form)
    assert (done.code, done.err) == (code, "")
    assert "figure 1" in done.out, "printed in any case"


def test_topics_and_errors(run, refused):
    done = run("study", "--help")
    assert done.code == 0
    assert "eqprop" in done.out
    assert run("study", "eqprop", "--help").code == 0
    refused(2, "the following arguments are required: TOPIC; see pbitstream study --help", "study")
    refused(2, "--systems: must be at least 1, not 0; see pbitstream study eqprop --help",
            "study", "eqprop", "--systems", "0")
    refused(2, "unknown option --sistems; see pbitstream study --help", "study", "eqprop",
            "--sistems", "3")
    refused(2, "--plot must end in .png or .pdf or .svg, not 's.txt'", "study", "eqprop",
            "--plot", "s.txt")
    schemes = ", ".join(f"{name}:" for name in sorted(device_schemes()))
    refused(2, f"device must be a URL that starts with one of {schemes}, not 'x'",
            "study", "eqprop", "-d", "x")


class Quick(Mixing):
    """Two small points of the mixing study."""

    def points(self):
        return [{"sweep": "k4", "units": 16, "radius": 0.5, "k4": k4} for k4 in (0.0, 0.25)]


def test_a_topic_is_measured_kept_and_drawn(run, refused, monkeypatch):
    monkeypatch.setattr(topics, "open_topic", lambda name: Quick())
    done = run("study", "mixing", "--json", "--plot", "m.svg")
    assert (done.code, done.err) == (0, "")
    data = json.loads(done.out)
    assert set(data) == {"device", "topic", "question", "method", "seeds", "figures", "rows",
                         "conclusions"}
    assert data["seeds"] == [0, 1, 2, 3, 4]
    assert set(data["rows"][0]["tau"]) == {"mean", "low", "high", "count"}
    again = run("study", "mixing")
    assert (again.code, again.err) == (0, "")
    for words in ("How does mixing time", "from g", "In brackets half the 95 %", "kept in"):
        assert words in again.out, words
    refused(2, "seeds must be at least 5, for an interval, not 4", "study", "mixing", "--seeds",
            "4")
    refused(2, "--plot must end in .png or .pdf or .svg, not 's.txt'", "study", "mixing",
            "--plot", "s.txt")


def test_energy_is_stated_with_its_grades(run):
    done = run("study", "energy")
    assert (done.code, done.err) == (0, "")
    for words in ("missing", "claimed", "cannot be stated", "counted"):
        assert words in done.out, words
    data = json.loads(run("study", "energy", "--json").out)
    assert {"topic", "model", "terms", "factors"} == set(data)

"""`pbitstream bench peers` measures, prints and draws; no speed is asserted."""

import json
from dataclasses import replace

import pytest

from pbitstream.cli import bench_peers, main
from pbitstream.peers import contestant, first, oracles, problems, rows, search
from pbitstream.peers.contestant import OURS, Candidates
from pbitstream.peers.equality import Plan
from pbitstream.peers.ours import OurIsing, OurLangevin


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command line in an empty folder, with small rows of which all peers are missing."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    monkeypatch.chdir(tmp_path)
    for name in list(contestant.PACKAGES):
        monkeypatch.setitem(contestant.PACKAGES, name, ("no-such-package",))
    small = {"grid": (lambda: problems.signs_task(8, 4), OurIsing),
             "one-langevin": (problems.linear_task, OurLangevin)}
    monkeypatch.setattr(rows, "ROWS", tuple(
        replace(row, task=small[row.name][0], plan=Plan(20, 2, 512),
                systems=(Candidates(OURS, (64, 128), small[row.name][1]), *row.systems[1:]))
        for row in rows.ROWS if row.name in small))
    monkeypatch.setattr(oracles, "CRITICAL", Plan(200, 5, 2048))

    def call(*words):
        capsys.readouterr()
        code = main(["bench", *words])
        return code, *capsys.readouterr()

    return call


def test_document_and_figure(run, tmp_path):
    code, out, err = run("--rounds", "1", "peers", "--seconds", "0.005", "--rows",
                         "grid,one-langevin", "--json", "--plot", "p.png")
    assert (code, err) == (0, "")
    data = json.loads(out)
    assert data["rounds"] == 1, "what stands before peers counts"
    assert [row["name"] for row in data["rows"]] == ["grid", "one-langevin"]
    assert data["equal"] is True
    assert [check["system"] for check in data["checks"]] == [OURS, OURS]
    ours, *peers = data["rows"][0]["systems"]
    assert ours["option"] in ("64 chains", "128 chains")
    assert 0 < ours["rates"]["lowest"] <= ours["rates"]["median"] <= ours["rates"]["highest"]
    assert ours["check"]["holds"]
    for peer in peers:
        assert peer["rates"] is None
        assert "pip install 'pbitstream[peers]'" in peer["absent"]
    for target in data["rows"][0]["targets"]:
        assert target["must_reach"] > 1
        assert target["reached"] is None
    assert (tmp_path / "p.png").stat().st_size > 1000


def test_screen(run, monkeypatch):
    monkeypatch.setattr(first, "first_samples", lambda rounds, report: {
        f"{OURS}, cold": [3.5], f"{OURS}, warm": [1.5]})
    monkeypatch.setattr(bench_peers, "INSTANCES", {4: 2})
    monkeypatch.setattr(search, "planted_instances", lambda count, faces, real=(
        search.planted_instances): real(count, faces, side=4))
    code, out, err = run("peers", "--rounds", "1", "--seconds", "0.005", "--rows",
                         "grid,first,planted")
    assert (code, err) == (0, "")
    for words in ("Equal statistics first", "12 spins", "near Tc", "64 x 64 grid",
                  "not installed", "Ours over theirs", "must reach", "load average", "3.50",
                  "1.50 missed", "Planted", "2 of 2"):
        assert words in out, words
    assert max(map(len, out.splitlines())) <= 80


def test_a_cut(run, tmp_path):
    (tmp_path / "ring.txt").write_text("4 4\n1 2 1\n2 3 1\n3 4 1\n1 4 1\n")
    code, out, err = run("peers", "--rows", "cut", "--graph", "ring.txt", "--json")
    assert (code, err) == (0, "")
    [ours] = json.loads(out)["cut"]["systems"]
    assert (ours["system"], ours["cut"]) == (OURS, 4)


@pytest.mark.parametrize(("words", "message"), [
    (("peers", "--rows", "grit"), "--rows must be of grid, "),
    (("peers", "--rows", "cut"), "--graph FILE and the row cut belong together"),
    (("peers", "--seconds", "0"), "--seconds must be above 0 and at most 60, not 0"),
    (("-d", "emulator:", "peers"), "bench peers runs the emulator; leave out --device"),
    (("peers", "--chains", "4"), "unknown option --chains"),
])
def test_what_cannot_be_is_refused(words, message, run):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_wrong_statistics_are_a_failed_check(run, monkeypatch):
    monkeypatch.setattr(problems, "small_task", lambda real=problems.small_task: replace(
        real(), exact=0.0))
    code, out, _ = run("peers", "--rounds", "1", "--seconds", "0.005", "--rows", "grid")
    assert code == 1
    assert "missed" in out


def test_the_help_names_every_row():
    listed = bench_peers.EPILOG.partition("rows: ")[2].partition("\n\n")[0]
    assert listed.replace("\n", " ").split(", ") == bench_peers.names()


def test_a_first_sample_is_timed_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(first, "first_sample", None)
    monkeypatch.setattr(first, "missing", lambda system: "gone")
    monkeypatch.setattr(first, "CODE", "{imports}\nimport os\nassert {system!r} == 'pbitstream'\n"
                                       "print(len(os.environ['NUMBA_CACHE_DIR']) > 0)")
    monkeypatch.setattr(first, "float", lambda text: {"True": 1.0}[text.strip()], raising=False)
    assert first.first_samples(2, lambda what, done, total: None) == {
        f"{OURS}, cold": [1.0, 1.0], f"{OURS}, warm": [1.0, 1.0]}


@pytest.mark.parametrize("system", first.IMPORTS)
def test_everyone_makes_a_first_sample(system, monkeypatch):
    if contestant.missing(system) or system == "THRML":
        pytest.skip(contestant.missing(system) or "compiles for seconds")
    first.first_sample(system)


@pytest.mark.long
def test_a_first_sample():
    seconds = first.first_samples(1, lambda what, done, total: None)
    assert seconds[f"{OURS}, warm"][0] < seconds[f"{OURS}, cold"][0]

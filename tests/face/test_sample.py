"""`pbitstream sample`: methods, files, refusals."""

import json
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

EDGES = "0 1 1\n1 2 -1\n2 0 1\n2 3 2\n"
GSET = "5 5\n1 2 1\n2 3 1\n3 4 1\n4 5 1\n5 1 1\n"


@pytest.fixture
def edges() -> str:
    Path("edges.txt").write_text(EDGES)
    return "edges.txt"


def energies() -> dict[tuple[int, ...], int]:
    return {s: -(s[0] * s[1] - s[1] * s[2] + s[2] * s[0] + 2 * s[2] * s[3])
            for s in product((-1, 1), repeat=4)}


def test_annealing_finds_the_lowest_energy(run, edges):
    done = run("sample", edges, "--chains", "20", "--sweeps", "100", "--seed", "3", "--out",
               "found.npz", "--plot", "found.png", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["best"] == {"energy": min(energies().values())}
    assert document["sweeps"] == 20 * 100
    assert document["lowered"]["loss"] == 0
    with np.load("found.npz") as found:
        table = energies()
        assert [table[tuple(s)] for s in found["spins"].tolist()] == found["energies"].tolist()
        assert table[tuple(found["best"].tolist())] == -3
    assert Path("found.png").stat().st_size > 5000
    assert json.loads(run("sample", edges, "--chains", "20", "--sweeps", "100", "--seed", "3",
                          "--json").out)["energy"] == document["energy"]


def test_a_max_cut_prints_its_cut(run):
    Path("ring.mc").write_text(GSET)
    done = run("sample", "ring.mc", "--sweeps", "50")
    assert done.code == 0
    assert "largest cut" in done.out
    document = json.loads(run("sample", "ring.mc", "--sweeps", "50", "--json").out)
    assert document["best"] == {"energy": -3, "cut": 4}


def test_gibbs_draws_the_law(run, edges):
    done = run("sample", edges, "--method", "gibbs", "--beta", "0.4", "--draws", "400", "--chains",
               "40", "--json", "--plot", "found.svg")
    document = json.loads(done.out)
    table = np.array(list(energies().values()))
    weight = np.exp(-0.4 * table)
    exact = float(weight @ table / weight.sum())
    spread = float(np.sqrt(weight @ (table - exact) ** 2 / weight.sum()))
    error = spread / np.sqrt(document["effective_size"])
    assert abs(document["energy"]["mean"] - exact) < 5 * error
    assert document["rhat"] < 1.01
    assert (document["every"], document["burn_in"]) == (1, 40)


def test_tempering_prints_its_swaps(run, edges):
    done = run("sample", edges, "--method", "temper", "--levels", "4", "--sweeps", "60",
               "--chains", "8", "--beta-range", "0.1", "2", "--schedule", "linear")
    assert done.code == 0
    assert "swaps accepted" in done.out
    assert "0.1 to 2" in done.out


def test_held_p_bits_and_first_spins(run, edges):
    np.save("start.npy", np.ones(4, np.int8))
    done = run("sample", edges, "--method", "gibbs", "--beta", "0.5", "--draws", "30", "--hold",
               "0=-1", "--hold", "3=1", "--start", "start.npy", "--chains", "5", "--out",
               "found.npz", "--json")
    assert json.loads(done.out)["problem"]["held"] == 2
    with np.load("found.npz") as found:
        assert (found["spins"][:, 0] == -1).all()
        assert (found["spins"][:, 3] == 1).all()


def test_a_table_of_betas(run, edges):
    Path("betas.txt").write_text("0.1\n0.5\n2\n")
    document = json.loads(run("sample", edges, "--schedule", "betas.txt", "--sweeps", "30",
                              "--json").out)
    assert document["beta"] == {"hot": 0.1, "cold": 2.0}


def test_refusals(refused, run, edges):
    Path("betas.txt").write_text("0.1\n0.5\n")
    for words, message in (
        (("--method", "gibbs", "--beta-range", "1", "2"),
         "--beta-range belongs to --method anneal or temper, not gibbs"),
        (("--beta", "1"), "--beta belongs to --method gibbs, not anneal"),
        (("--draws", "5"), "--draws belongs to --method gibbs, not anneal"),
        (("--levels", "5"), "--levels belongs to --method temper, not anneal"),
        (("--method", "gibbs", "--levels", "5"), "--levels belongs to --method temper, not gibbs"),
        (("--method", "gibbs", "--schedule", "linear"),
         "--schedule belongs to --method anneal or temper, not gibbs"),
        (("--schedule", "betas.txt", "--beta-range", "1", "2"),
         "--beta-range must be absent beside --schedule betas.txt, a table of betas"),
        (("--hold", "1=1", "--hold", "2=1", "--hold", "1=-1"),
         "--hold 1=-1: p-bit 1 is held already"),
        (("--chains", "10000000000"), "chains must be between 1 and 4294967296, not 10000000000"),
        (("--method", "gibbs", "--sweeps", "16777216"),
         "the sweeps of a draw must be at most 16777215, not 16777216; take some of more draws"),
        (("--schedule", "cubic"), "--schedule must be geometric, linear or a file, not 'cubic'"),
        (("--method", "temper", "--schedule", "betas.txt"),
         "--schedule must be one of geometric, linear for --method temper, not 'betas.txt'"),
        (("--hold", "7=1"), "--hold 7=1: the problem has no p-bit '7'"),
        (("--hold", "1=0"), "--hold 1=0: a p-bit is held at -1 or 1, not '0'"),
        (("--out", "spins.txt"), "--out must end in .npz, not 'spins.txt'"),
        (("--beta-range", "2", "1"),
         "beta must rise from hot to cold, both at least 0, not 2 to 1"),
        (("--format", "csv"),
         "format must be one of gset, edges, dimacs, qubo, npz, bqm, not csv"),
    ):
        refused(2, message, "sample", edges, *words)
    assert run("sample", "nowhere.txt").code == 5
    Path("broken.txt").write_text("0 1 nan\n")
    done = run("sample", "broken.txt")
    assert done.code == 5
    assert "broken.txt" in done.err
    assert "line 1" in done.err


@pytest.mark.parametrize("text", ["", "# none\n", "0.1 0.2\n", "warm\n"])
def test_a_table_of_betas_that_is_none(run, edges, text):
    Path("betas.txt").write_text(text)
    done = run("sample", edges, "--schedule", "betas.txt")
    assert (done.code, done.out, done.err.count("\n")) == (5, "", 1), done
    assert done.err.startswith("pbitstream: error: betas.txt: not a beta per line")


def test_first_spins_that_are_none(run, edges):
    np.savez("archive.npz", spins=np.ones(4))
    Path("archive.npz").rename("archive.npy")
    np.save("text.npy", np.array(["1"] * 4))
    np.save("imaginary.npy", np.full(4, 1j))
    Path("empty.npy").write_bytes(b"")
    for name in ("archive", "text", "imaginary", "empty"):
        done = run("sample", edges, "--start", f"{name}.npy")
        assert (done.code, done.out, done.err.count("\n")) == (5, "", 1), done
        assert f"{name}.npy: not a NumPy file of real numbers: " in done.err
    np.save("zero.npy", np.zeros(4))
    assert run("sample", edges, "--start", "zero.npy").code == 2


def test_what_a_file_was_taken_for_is_said(run):
    Path("two.txt").write_text("3 3\n1 2\n2 3\n3 1\n")
    done = run("sample", "two.txt", "--sweeps", "10")
    assert "format           gset" in done.out
    assert done.err == ("pbitstream: note: a file of two columns is read as gset; if it is of "
                        "edges, say --format edges\n")
    document = json.loads(run("sample", "two.txt", "--sweeps", "10", "--json", "--quiet").out)
    assert (document["format"], document["cluster"]) == ("gset", None)
    assert run("sample", "two.txt", "--sweeps", "10", "--format", "gset").err == ""


def test_names_are_no_markup_and_no_formula(run):
    Path("g[b]$a$x.txt").write_text(EDGES)
    done = run("sample", "g[b]$a$x.txt", "--sweeps", "10", "--out", "f[b].npz", "--plot",
               "f[b]$.png")
    assert done.code == 0, done.err
    assert done.out.startswith("g[b]$a$x: 4 p-bits, 4 couplings")
    assert done.out.endswith("wrote f[b]$.png\nwrote f[b].npz\n")


def test_a_loss_to_rounding_may_be_allowed(run):
    rng = np.random.default_rng(1)
    Path("wide.txt").write_text("".join(f"0 {i} {rng.choice([300.0, 0.37])}\n"
                                        for i in range(1, 200)))
    words = ("sample", "wide.txt", "--sweeps", "2", "--chains", "1")
    done = run(*words, "--tolerance", "1e-6")
    assert done.code == 2
    assert "tolerance must be at least" in done.err
    least = done.err.split("must be at least ")[1].split()[0]
    assert run(*words, "--tolerance", least).code == 0


def test_swaps_that_were_never_tried_are_null(run, edges):
    words = ("sample", edges, "--method", "temper", "--levels", "4", "--sweeps", "10")
    rates = json.loads(run(*words, "--json", "--plot", "found.png").out)["swap_rates"]
    assert [rate is None for rate in rates] == [False, True, False]
    tried = [rates[0], rates[2]]
    assert f"{min(tried):.2f} to {max(tried):.2f}" in run(*words).out


def test_gibbs_runs_without_arviz_stats(run, edges, monkeypatch):
    monkeypatch.setitem(sys.modules, "arviz_stats.base", None)
    words = ("sample", edges, "--method", "gibbs", "--draws", "10", "--out", "found.npz")
    done = run(*words, "--json")
    assert done.code == 0
    assert "pbitstream: note: effective sample size and R-hat need arviz-stats" in done.err
    assert "pip install 'pbitstream[ising]'" in done.err
    document = json.loads(done.out)
    assert (document["effective_size"], document["rhat"]) == (None, None)
    assert Path("found.npz").exists()
    assert any(line.split()[-1:] == ["–"] for line in run(*words).out.splitlines())


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_histogram_fits_the_terminal(run, monkeypatch, columns):
    rng = np.random.default_rng(7)
    Path("glass.txt").write_text("".join(f"{i} {(i + 1) % 60} {x:.3f}\n{i} {(i + 7) % 60} {y:.3f}\n"
                                         for i, (x, y) in enumerate(rng.standard_normal((60, 2)))))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    done = run("sample", "glass.txt", "--sweeps", "5", "--chains", "1000")
    assert "\x1b" not in done.out
    lines = done.out.split("\n")
    assert max(map(len, lines)) <= columns
    bars = [line for line in lines
            if " to " in line and line.split()[-1].isdecimal() and not line.startswith("beta")]
    assert len(bars) == 12
    assert sum(int(line.split()[-1]) for line in bars) == 1000
    assert len({line.index(" to ") + len(line.split(" to ")[1].split()[0]) for line in bars}) == 1

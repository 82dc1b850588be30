"""`pbitstream sample`: methods, files, refusals."""

import json
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
    done = run("sample", edges, "--chains", "20", "--sweeps", "100", "--seed", "3", "--output",
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
               "0=-1", "--hold", "3=1", "--start", "start.npy", "--chains", "5", "--output",
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
    for words, message in (
        (("--method", "gibbs", "--beta-range", "1", "2"),
         "--beta-range belongs to --method anneal or temper, not gibbs"),
        (("--beta", "1"), "--beta belongs to --method gibbs, not anneal"),
        (("--schedule", "cubic"), "--schedule must be geometric, linear or a file, not 'cubic'"),
        (("--method", "temper", "--schedule", "betas.txt"),
         "--schedule must be one of geometric, linear for --method temper, not 'betas.txt'"),
        (("--hold", "7=1"), "--hold 7=1: the problem has no p-bit '7'"),
        (("--hold", "1=0"), "--hold 1=0: a p-bit is held at -1 or 1, not '0'"),
        (("--output", "spins.txt"), "--output must end in .npz, not 'spins.txt'"),
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

"""`pbitstream bench` runs and reports; no speed is asserted."""

import json
import math
import sys

import numpy as np
import pytest

from pbitstream.cli import measure, measure_compile, measure_training
from pbitstream.training.denoising import Digits, denoiser
from pbitstream.training.substrate import FloatSubstrate
from pbitstream.training.trainer import Recipe

SMALL_DIMS = {"sketch": (48, 64), "hbc": (32, 48)}


def test_document_and_figure(run, monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "MEMORY_CHAINS", (2, 4))
    monkeypatch.setattr(measure_compile, "DIMS", SMALL_DIMS)
    done = run("bench", "--json", "--rounds", "1", "--seconds", "0.002", "--plot", "b.png")
    assert (done.code, done.err) == (0, "")
    data = json.loads(done.out)
    assert set(data) == {"machine", "rounds", "gemm", "flop_per_update", "cases", "first_result",
                         "memory", "training", "compile"}
    assert data["flop_per_update"] == 2 * 256 / 3
    for case in data["cases"]:
        assert 0 < case["lowest"] <= case["updates_per_second"] <= case["highest"]
        assert (case["gemm_share"] is None) == case["name"].startswith("p-bit")
    assert {case["chains"] for case in data["cases"]} == {1, 64}
    assert set(data["first_result"]) == {"cold_seconds", "warm_seconds"}
    assert set(data["memory"]["peak_bytes"]) == {"2", "4"}
    step, *loops = data["training"]["rows"]
    assert (step["name"], step["step_over_it"]) == ("training step", 1)
    assert step["seconds"] > 0
    assert [row["name"] for row in loops] == list(measure_training.TORCH)
    for row in loops:
        assert (row["seconds"] is None) == (row["step_over_it"] is None)
    assert [row["method"] for row in data["compile"]["rows"]] == ["sketch", "hbc"]
    for row in data["compile"]["rows"]:
        assert min(row["seconds"].values()) > 0
        assert math.isfinite(row["exponent"])
    assert (tmp_path / "work" / "b.png").stat().st_size > 1000


def test_screen(run, monkeypatch):
    monkeypatch.setattr(measure, "MEMORY_CHAINS", (2, 4))
    monkeypatch.setattr(measure_compile, "DIMS", SMALL_DIMS)
    monkeypatch.setattr(measure, "start_times", lambda n, report: {"cold": [1.0], "warm": [0.5]})
    monkeypatch.setattr(measure_training, "find_spec", lambda name: None)
    done = run("bench", "--rounds", "1", "--seconds", "0.002")
    assert (done.code, done.err) == (0, "")
    for word in ("GEMM peak", "Langevin 6 x 128", "p-bit torus 64 x 64", "numpy", "1.00 s",
                 "bytes/unit/chain", "A training step: 128 hidden units, batch 128", "absent",
                 "torch is not installed: pip install 'pbitstream[train]'",
                 "A bank of rank 16 from 1,024 rows"):
        assert word in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize("words", [["--plot", "b.png"], ["--seconds", "0.1"]])
def test_options_of_the_emulator_are_refused_with_a_board(words, run):
    done = run("bench", "-d", "verilator:", *words)
    assert (done.code, done.out) == (2, "")
    assert f"{words[0]} belongs to the emulator's figures; leave out --device" in done.err


def test_a_device_that_is_no_board_is_refused(run):
    done = run("bench", "-d", "emulator:?engine=numpy")
    assert (done.code, done.out) == (2, "")
    assert "must be a board or a simulation of one, not 'emulator:?engine=numpy'" in done.err


def test_ratios_are_formed_within_a_round():
    case = measure.Case("", "", 1, 1, 1.0, lambda steps: None)
    slow, fast = measure.Rate(case, (1.0, 10.0, 3.0)), measure.Rate(case, (2.0, 20.0, 3.0))
    assert fast.over(slow) == 2
    assert fast.median == 3


def test_programs_are_what_they_are_called():
    langevin, torus = measure.langevin_program(), measure.torus_program()
    assert langevin.topology.units == 768
    assert len(langevin.topology.banks) == 8
    # Stiffness and noise of a unit, and S z of a bank, are no part of a product of matrices.
    beside = 4 * 768 + 2 * 8 * 16
    per_update = (langevin.cost().multiplications_per_step - beside) / 768
    assert math.isclose(2 * per_update, measure.FLOP_PER_UPDATE)
    assert torus.topology.units == 64 * 64
    weights = torus.tables["bank0.w"]
    assert np.count_nonzero(weights) == 4 * 64 * 64 // 2, "two edges per site"


@pytest.mark.parametrize("once", measure_training.TORCH.values())
def test_the_loop_of_torch_is_the_same_relaxation(once):
    pytest.importorskip("torch")
    parameters, recipe = denoiser(0, 16), Recipe(updates=1, nudge=0.1, free_steps=12,
                                                 nudged_steps=8)
    batch = Digits(np.sign(np.random.default_rng(0).standard_normal((9, 64))), 5)(0)
    found = measure_training.torch_relaxations(parameters, batch, recipe, 1 / 16, once)()
    on = FloatSubstrate(1 / 16)
    on.load(parameters)
    rest = on.settle(batch, nudge=0.0, steps=12, start=None, seed=0)
    wanted = [rest] + [on.settle(batch, nudge=nudge, steps=8, start=rest, seed=0)
                       for nudge in (0.1, -0.1)]
    for states, settled in zip(found, wanted):
        for module, x in states.items():
            np.testing.assert_allclose(x.numpy(), settled.x[-1][:, parameters.part(module)],
                                       atol=1e-5)


def test_blas_is_held_before_numpy_is_imported(monkeypatch):
    for name in measure.THREAD_VARIABLES:
        monkeypatch.setenv(name, "2")
    monkeypatch.delitem(sys.modules, "numpy")
    assert measure.hold_to_one_thread() == "one thread, by the environment"
    monkeypatch.undo()
    monkeypatch.setattr(measure, "find_spec", lambda name: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert measure.hold_to_one_thread() == "one thread, by the environment"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    assert measure.hold_to_one_thread().startswith("unknown: set OPENBLAS_NUM_THREADS=1")

"""Chains of p-bits in groups of 64: bits and lanes agree in every bit with the other engines."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import HAS_NUMBA, seeded
from pbit_programs import WEIGHTS, drawn_call, drawn_program, lattice, same_sums, slow
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.call import Call, prepare
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.protocol import Settings
from pbitstream.emulator import oracle
from pbitstream.emulator.cache import kernels_cached
from pbitstream.emulator.device import Emulator
from pbitstream.emulator.pbit_plan import PbitPlan, qualifies
from pbitstream.program import Program

if not HAS_NUMBA:
    pytest.skip("numba is not installed", allow_module_level=True)

with kernels_cached():
    from pbitstream.emulator import dense_groups, grouped
    from pbitstream.emulator.grouped import Grouped
    from pbitstream.emulator.levels import Slicer


def sliced(program: Program, call: Call) -> bool:
    """Return whether fields take few enough values."""
    plan = PbitPlan(program)
    rows = np.stack([row.beta for row in call.rows]).astype(np.int64)
    return Slicer(plan).tables(plan.constants(call), rows) is not None


def no_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave look-ups, which replace lanes where weights are dense, to `test_dense_groups`."""
    monkeypatch.setattr(dense_groups, "picks_fast", lambda: False)


@pytest.fixture(autouse=True)
def _any_number_of_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "SLICED_COST", dict.fromkeys(grouped.SLICED_COST, 0))
    monkeypatch.setattr(grouped, "LANES_COST", 0)
    no_look_ups(monkeypatch)


@seeded(60)
@given(st.integers(0, 10_000))
def test_groups_equal_the_oracle(seed: int) -> None:
    rng = np.random.default_rng([1, seed])
    program = drawn_program(rng, (1, 3, 9, 20))
    call = prepare(program, **drawn_call(program, rng, 3))
    same_sums(Grouped(program, 1).relax(call), oracle.relax(program, call))


@seeded(60)
@given(st.integers(0, 10_000))
def test_groups_equal_numpy(seed: int) -> None:
    rng = np.random.default_rng([2, seed])
    program = drawn_program(rng)
    call = prepare(program, **drawn_call(program, rng))
    same_sums(Grouped(program, int(rng.integers(1, 4))).relax(call), slow(program, call))


def test_draws_reach_both_kernels_and_every_number_of_digits() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        rng = np.random.default_rng([2, seed])
        program = drawn_program(rng)
        call = prepare(program, **drawn_call(program, rng))
        plan = PbitPlan(program)
        rows = np.stack([row.beta for row in call.rows]).astype(np.int64)
        tables = Slicer(plan).tables(plan.constants(call), rows)
        seen["lanes" if tables is None else f"{tables.digits} digits"] += 1
        if tables is not None:
            seen["gathered"] += bool(tables.inputs.gathered[-1])
            seen["magnitudes"] += bool((tables.modules[:, -1] == -1).any())
            seen["three levels"] += bool((tables.modules[:, -2] == 1).any())
        seen["clamped"] += not plan.free.all()
        seen["schedule"] += len(rows) > 1
    for name in ("lanes", *(f"{d} digits" for d in range(4, 9)), "gathered", "magnitudes",
                 "three levels", "clamped", "schedule"):
        assert seen[name] >= 2, (name, seen)


@pytest.mark.parametrize("seed", range(6))
def test_continued_relaxations_join_without_a_seam(seed: int) -> None:
    rng = np.random.default_rng([3, seed])
    program = drawn_program(rng)
    call = {**drawn_call(program, rng), "burn_in": 0, "steps": 9, "chains": 66,
            "first_chain": 11}
    call.pop("settings", None)
    engine = Grouped(program, 1)
    whole = engine.relax(prepare(program, **call))
    first = engine.relax(prepare(program, **{**call, "steps": 4}))
    assert whole is not None
    assert first is not None
    second = engine.relax(prepare(program, **{**call, "steps": 5, "state": first.state}))
    assert second is not None
    np.testing.assert_array_equal(first.sums + second.sums, whole.sums)
    np.testing.assert_array_equal(second.state.units, whole.state.units)
    np.testing.assert_array_equal(second.state.noise, whole.state.noise)


@pytest.mark.parametrize("weights", ["plus or minus", "any"])
def test_threads_and_interruptions_do_not_change_bits(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = lattice(12, WEIGHTS[weights])
    call = prepare(program, np.zeros((2, 144)), steps=40, burn_in=9, seed=3, chains=150,
                   settings=Settings(beta=np.linspace(0.1, 2, 14).reshape(7, 2)))
    whole = slow(program, call)
    for threads in (1, 2, 5):
        same_sums(Grouped(program, threads).relax(call), whole)
    for words in (1, 700, 3000):
        monkeypatch.setattr(grouped, "SLICE", words)
        same_sums(Grouped(program, 2).relax(call), whole)


@pytest.mark.parametrize("weights", ["plus or minus", "large", "any"])
def test_long_windows_are_counted(weights: str) -> None:
    program = lattice(4, WEIGHTS[weights])
    for steps in (127, 128, 1025):
        call = prepare(program, np.zeros((1, 16)), steps=steps, burn_in=3, seed=9, chains=3)
        same_sums(Grouped(program, 1).relax(call), slow(program, call))


@pytest.mark.parametrize("weights", [*WEIGHTS])
def test_whole_words_of_a_large_lattice(weights: str) -> None:
    program = lattice(36, WEIGHTS[weights])
    call = prepare(program, np.zeros((1, 36 * 36)), steps=3, burn_in=1, seed=4, chains=65)
    same_sums(Grouped(program, 1).relax(call), slow(program, call))


def test_a_schedule_of_thousands_of_rows() -> None:
    program = lattice(6, WEIGHTS["plus or minus"])
    beta = np.linspace(0, 3, 3000)[:, None] + np.zeros(2)
    call = prepare(program, np.zeros((1, 36)), steps=1, burn_in=2999, seed=4, chains=4,
                   settings=Settings(beta=beta))
    assert sliced(program, call)
    same_sums(Grouped(program, 1).relax(call), slow(program, call))


def test_thresholds_that_are_not_odd_symmetric() -> None:
    # A bias of two codes is half a step of a p-bit's input, which is rounded up.
    program = lattice(6, [-1, 1])
    call = prepare(program, np.full((1, 36), 2.0**-11), steps=3, burn_in=1, seed=4, chains=70,
                   settings=Settings(beta=[15.0, 15.0]))
    plan = PbitPlan(program)
    tables = Slicer(plan).tables(plan.constants(call), call.beta.astype(np.int64))
    # 34 levels from -33 to 33, which would be 17 magnitudes.
    assert tables is not None
    assert tables.digits == 7
    same_sums(Grouped(program, 1).relax(call), slow(program, call))


def test_what_runs_in_groups_is_chosen_by_program_and_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    no_look_ups(monkeypatch)
    few, many = lattice(6, WEIGHTS["plus or minus"]), lattice(6, WEIGHTS["any"])
    for program, inputs, chains, threads, runs in (
        (few, 1, 2, 1, False), (few, 1, 3, 1, True), (few, 9, 2, 1, False), (few, 9, 3, 1, True),
        (few, 1, 4, 2, False), (few, 1, 5, 2, True), (few, 1, 64, 64, False),
        (many, 1, 19, 1, False), (many, 1, 20, 1, True), (many, 1, 64, 8, False),
    ):
        call = prepare(program, np.zeros((inputs, 36)), steps=1, seed=1, chains=chains)
        assert (Grouped(program, threads).relax(call) is not None) == runs
    # With F = 16 weights reach 2048 and fields the limit of 128.
    strong = lattice(6, [16 * 120], fraction=16)
    call = prepare(strong, np.zeros((1, 36)), steps=2, seed=1, chains=64)
    assert Grouped(strong, 1).relax(call) is None
    assert slow(strong, call).clips.any()
    builder = ProgramBuilder()
    ends = builder.pbit("p", 3), builder.pbit("q", 3)
    builder.low_rank(*ends, np.ones((3, 1)), np.ones((3, 1)), [0.1])
    assert not qualifies(builder.build().topology)
    builder = ProgramBuilder()
    builder.band(builder.pbit("p", 3), builder.langevin("x", 3), {0: 0.1})
    assert not qualifies(builder.build().topology)


@pytest.mark.parametrize("weights", ["plus or minus", "any"])
def test_the_emulator_answers_alike_with_every_engine(weights: str) -> None:
    program = lattice(6, WEIGHTS[weights])
    readouts = []
    for engine in ("numba", "numpy", "oracle"):
        with Emulator(engine=engine, threads=2) as device:
            device.load(program)
            for chains in (1, 8, 41):
                readouts.append(device.relax(np.zeros((2, 36)), steps=4, burn_in=2, seed=6,
                                             chains=chains, first_chain=5, moments=True))
    for k in range(3, 9):
        same_readout(readouts[k], readouts[k % 3])


@pytest.mark.long
def test_vectors_of_other_machines() -> None:
    # Without AVX-512 a majority is three operations; with 128-bit vectors all is in pieces.
    code = ("import sys; sys.path[:0] = ['tests', 'tests/emulator']\n"
            "from test_pbit_groups import *\n"
            "for weights in ('plus or minus', 'large', 'any'):\n"
            "    program = lattice(24, WEIGHTS[weights])\n"
            "    call = prepare(program, np.zeros((1, 576)), steps=3, seed=4, chains=65)\n"
            "    same_sums(Grouped(program, 1).relax(call), slow(program, call))\n")
    for features in ("+avx2", ""):
        subprocess.run([sys.executable, "-c", code], check=True, env={
            **os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features,
        })

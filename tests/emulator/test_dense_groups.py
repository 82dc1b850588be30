"""Sums looked up by 64 chains at once: the bits of the oracle, and where that engine is chosen."""

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dense_programs import dense_program, full_program
from engines import HAS_NUMBA, run, seeded
from pbitstream.devices.call import prepare, to_readout
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.protocol import Readout, Settings
from pbitstream.devices.random_programs import random_call
from pbitstream.emulator.cache import kernels_cached
from pbitstream.emulator.pbit_plan import PbitPlan
from pbitstream.program import Program
from pbitstream.spec.topology import SparseBank, Topology
from pbitstream.spec.words import MAX_CHAINS

if not HAS_NUMBA:
    pytest.skip("numba is not installed", allow_module_level=True)

with kernels_cached():
    from pbitstream.emulator import dense_groups, grouped
    from pbitstream.emulator.dense_groups import lookup_tables
    from pbitstream.emulator.grouped import Grouped

#: Of less than a tile, of tiles and a rest, of two rows.
SIZES = (1, 3, 4, 66, 128, 130)
SMALL = (1, 2, 4, 7, 33)


@pytest.fixture(autouse=True)
def _look_up_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look up on every machine, with any number of chains and of values of a field."""
    monkeypatch.setattr(dense_groups, "picks_fast", lambda: True)
    monkeypatch.setattr(grouped, "LANES_COST", 0)
    monkeypatch.setattr(grouped, "CROWDED_COST", 0)
    monkeypatch.setattr(grouped, "WALK_COST", 0)
    monkeypatch.setattr(grouped, "SLICED_COST", dict.fromkeys(grouped.SLICED_COST, 0))
    monkeypatch.setattr(grouped.Slicer, "tables", lambda *arguments: None)
    monkeypatch.setattr(grouped, "_Lanes", None)


def looked_up(program: Program, arguments: dict[str, Any], threads: int = 1) -> Readout:
    call = prepare(program, **arguments)
    sums = Grouped(program, threads).relax(call)
    assert sums is not None
    return to_readout(program, call, sums)


def drawn(seed: int, sizes: tuple[int, ...], chains: int) -> tuple[Program, dict[str, Any]]:
    """Return a program dense enough to look up, and a call."""
    rng = np.random.default_rng([4, seed])
    while True:
        program = dense_program(rng, low_rank=False, dims=sizes)
        if lookup_tables(PbitPlan(program)) is not None:
            call = random_call(program, rng, max_rows=4)
            call.pop("state", None)
            chains = int(rng.integers(1, chains + 1))
            first = min(call.get("first_chain", 0), MAX_CHAINS - len(call["h"]) * chains)
            return program, {**call, "chains": chains, "first_chain": first}


@seeded(50)
@given(st.integers(0, 10_000))
def test_look_ups_equal_the_oracle(seed: int) -> None:
    program, call = drawn(seed, SMALL, 3)
    same_readout(looked_up(program, call), run(program, call, "oracle"))


@seeded(25)
@given(st.integers(0, 10_000))
def test_look_ups_equal_numpy(seed: int) -> None:
    program, call = drawn(seed, SIZES, 70)
    same_readout(looked_up(program, call, 1 + seed % 3), run(program, call, "numpy"))


def test_draws_reach_every_branch() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        program, call = drawn(seed, SIZES, 70)
        clips = looked_up(program, call).clips
        free = [module.dim for module in program.topology.modules if not module.clamped]
        seen["clips"] += bool(clips.any())
        seen["no clip"] += not clips.any()
        seen["clamped"] += len(free) < len(program.topology.modules)
        seen["units beside tiles"] += any(dim % 4 for dim in free)
        seen["schedule"] += "settings" in call
        seen["a second group"] += call["chains"] > 64
        seen["inputs"] += len(call["h"]) > 1
    for name in ("clips", "no clip", "clamped", "units beside tiles", "schedule",
                 "a second group", "inputs"):
        assert seen[name] >= 2, (name, seen)


@pytest.mark.parametrize("seed", range(4))
def test_sums_over_the_whole_range_of_a_word(seed: int) -> None:
    """Fields as large as the loader allows, from every spin up to every spin down."""
    rng = np.random.default_rng(seed)
    unit = np.arange(70)
    weights = rng.integers(-4, 5, (70, 70)).astype(np.int16)
    weights[unit, unit], weights[unit, unit - 1] = rng.choice([-1, 1], (2, 70)) * 32500
    program = full_program(weights, beta=int(rng.choice([1, 40, 65535])))
    for bias in (0.0, 7.9, -7.9):
        call = {"h": np.full((1, 140), bias), "steps": 4, "seed": seed, "chains": 2,
                "moments": True}
        same_readout(looked_up(program, call), run(program, call, "oracle"))


def test_more_rows_than_a_word_of_noise_serves() -> None:
    rng = np.random.default_rng(6)
    program = full_program(rng.integers(-9, 10, (30, 1030)).astype(np.int16))
    call = {"h": np.zeros((1, 1060)), "steps": 4, "seed": 7, "chains": 3}
    same_readout(looked_up(program, call), run(program, call, "numpy"))


@pytest.mark.parametrize("beta", [0, 1, 255, 256, 4096, 40_000, 65_534, 65_535])
def test_indices_up_to_the_last_threshold(beta: int) -> None:
    """Fields on both sides of where the index stops to grow, as biases of units apart."""
    program = full_program(np.ones((128, 128), np.int16), beta)
    edge = 8 * 4096 / max(beta, 4096)
    h = np.concatenate([np.linspace(-edge, edge, 128), np.linspace(0.9 * edge, edge, 128)])[None]
    call = {"h": np.clip(h, -7.9, 7.9), "steps": 20, "seed": 2, "chains": 20}
    same_readout(looked_up(program, call), run(program, call, "numpy"))


def test_clips_at_both_ends_of_an_input() -> None:
    """Four weights of 8192 reach y = +-2^17, and four codes of bias are a step of y."""
    program = full_program(np.full((4, 4), 8192, np.int16), beta=1)
    h = np.arange(-8, 9)[:, None].repeat(8, axis=1) / 4096
    call = {"h": h, "steps": 30, "seed": 8, "chains": 5}
    readout = looked_up(program, call)
    same_readout(readout, run(program, call, "oracle"))
    assert len(np.unique(readout.clips[..., -1].sum(axis=1))) > 2


def test_interrupted_calls_threads_and_continued_ones_join_without_a_seam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    program = full_program(rng.integers(-90, 91, (150, 100)).astype(np.int16))
    call = {"h": rng.normal(size=(2, 250)), "steps": 9, "burn_in": 3, "seed": 5, "chains": 67,
            "first_chain": 11, "settings": Settings(beta=np.linspace(0.1, 2, 24).reshape(12, 2))}
    whole = run(program, call, "numpy")
    for words, threads in ((1, 1), (4000, 2), (9000, 5)):
        monkeypatch.setattr(grouped, "SLICE", words)
        same_readout(looked_up(program, call, threads), whole)
    fixed = {**call, "settings": Settings(beta=[0.7, 0.4]), "burn_in": 0}
    whole = looked_up(program, fixed)
    first = looked_up(program, {**fixed, "steps": 4})
    second = looked_up(program, {**fixed, "steps": 5, "state": first.state})
    np.testing.assert_array_equal(first.sums + second.sums, whole.sums)
    np.testing.assert_array_equal(second.state.units, whole.state.units)
    np.testing.assert_array_equal(second.state.noise, whole.state.noise)


def test_what_is_looked_up_is_chosen_by_program_and_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def runs(program: Program, chains: int = 64) -> bool:
        call = prepare(program, np.zeros((1, program.topology.units)), steps=1, seed=1,
                       chains=chains)
        return Grouped(program, 1).relax(call) is not None

    rng = np.random.default_rng(1)
    dense = full_program(rng.integers(-100, 101, (120, 120)).astype(np.int16))
    crowded = full_program(rng.integers(-90, 91, (300, 300)).astype(np.int16))
    assert runs(dense)
    assert runs(crowded)
    # Every fifth weight alone in its group.
    thin = np.zeros((120, 120), np.int16)
    thin[::4, ::5] = 100
    assert lookup_tables(PbitPlan(full_program(thin))) is None
    monkeypatch.undo()
    monkeypatch.setattr(dense_groups, "picks_fast", lambda: True)
    assert not runs(crowded, 27)
    assert runs(crowded, 28)
    assert not runs(dense, 19)
    assert runs(dense, 20)
    # Modules too small for kept sums.
    small = full_program(rng.integers(-100, 101, (30, 30)).astype(np.int16))
    assert not runs(small, 3)
    assert runs(small, 4)
    monkeypatch.setattr(dense_groups, "picks_fast", lambda: False)
    assert not runs(crowded)
    assert runs(dense), "by numbers in lanes"


def test_tables_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    program = full_program(np.ones((64, 50), np.int16))
    tables = lookup_tables(PbitPlan(program))
    assert tables is not None
    look_ups = 64 * 10 + 50 * 14
    # Groups reach over the end of a module: one that begins 50 units in does not.
    assert tables.sums.size == 32 * (look_ups - 50)
    monkeypatch.setattr(dense_groups, "MOST", look_ups)
    assert dense_groups.may_look_up(program.topology)
    monkeypatch.setattr(dense_groups, "MOST", look_ups - 51)
    assert lookup_tables(PbitPlan(program)) is None
    topology = program.topology
    large = Topology(topology.modules, (*topology.banks, SparseBank(0, 1, 1000)), topology.phases)
    assert not dense_groups.may_look_up(large)


@pytest.mark.long
def test_machines_that_pick_lane_by_lane() -> None:
    code = ("import sys; sys.path[:0] = ['tests', 'tests/emulator']\n"
            "from test_dense_groups import *\n"
            "from pbitstream.emulator.dense_vectors import picks_fast\n"
            "assert not picks_fast()\n"
            "dense_groups.picks_fast = lambda: True\n"
            "grouped.LANES_COST = grouped.CROWDED_COST = grouped.WALK_COST = 0\n"
            "grouped.Slicer.tables = lambda *arguments: None\n"
            "for seed in range(3):\n"
            "    program, call = drawn(seed, SIZES, 130)\n"
            "    same_readout(looked_up(program, call), run(program, call, 'numpy'))\n")
    for features in ("+avx2", ""):
        subprocess.run([sys.executable, "-c", code], check=True, env={
            **os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features,
        })

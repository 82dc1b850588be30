"""Chains of p-bits in groups of 512: the wide kernel agrees in every bit with the other engines."""

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
from pbitstream.devices.call import Call, Sums, prepare
from pbitstream.devices.protocol import Settings
from pbitstream.emulator import oracle
from pbitstream.emulator.cache import kernels_cached
from pbitstream.emulator.pbit_plan import PbitPlan
from pbitstream.program import Program

if not HAS_NUMBA:
    pytest.skip("numba is not installed", allow_module_level=True)

with kernels_cached():
    from pbitstream.emulator import grouped
    from pbitstream.emulator.grouped import Grouped
    from pbitstream.emulator.levels import SlicedTables, Slicer
    from pbitstream.emulator.sliced_groups import Sliced, WideSliced
    from pbitstream.emulator.sums import MORE


@pytest.fixture(autouse=True)
def _wide_whenever_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "crowded", lambda topology: False)
    monkeypatch.setattr(Grouped, "_faster", lambda *arguments: True)
    monkeypatch.setattr(grouped, "WIDE_COST", 0)


def tables_of(program: Program, call: Call) -> SlicedTables | None:
    plan = PbitPlan(program)
    rows = np.stack([row.beta for row in call.rows]).astype(np.int64)
    return Slicer(plan).tables(plan.constants(call), rows, True)


def same_where_none_clips(program: Program, call: Call, threads: int, wanted: Sums) -> None:
    found = Grouped(program, threads).relax(call)
    if found is None:
        plan = PbitPlan(program)
        assert plan.clips(plan.constants(call))
    else:
        same_sums(found, wanted)


@seeded(30)
@given(st.integers(0, 10_000))
def test_wide_groups_equal_the_oracle(seed: int) -> None:
    rng = np.random.default_rng([1, seed])
    program = drawn_program(rng, (1, 3, 9, 20))
    call = prepare(program, **drawn_call(program, rng, 3))
    same_where_none_clips(program, call, 1, oracle.relax(program, call))


@seeded(30)
@given(st.integers(0, 10_000))
def test_wide_groups_equal_numpy(seed: int) -> None:
    rng = np.random.default_rng([2, seed])
    program = drawn_program(rng)
    call = prepare(program, **drawn_call(program, rng))
    same_where_none_clips(program, call, int(rng.integers(1, 4)), slow(program, call))


def test_draws_reach_every_number_of_digits() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        rng = np.random.default_rng([2, seed])
        program = drawn_program(rng)
        call = prepare(program, **drawn_call(program, rng))
        tables = tables_of(program, call)
        if tables is not None:
            seen[f"{tables.digits} digits"] += 1
            seen["magnitudes"] += bool((tables.modules[:, -1] == -1).any())
            seen["three levels"] += bool((tables.modules[:, -2] == 1).any())
    for name in (*(f"{d} digits" for d in range(4, 9)), "magnitudes", "three levels"):
        assert seen[name] >= 2, (name, seen)


@pytest.mark.parametrize("seed", range(20))
def test_inputs_hold_every_edge_once(seed: int) -> None:
    """What the kernel reads, added up, are the weights, bit by bit."""
    rng = np.random.default_rng([4, seed])
    program = drawn_program(rng)
    call = prepare(program, **drawn_call(program, rng, 3))
    plan, tables = PbitPlan(program), tables_of(program, call)
    if tables is None:
        return
    found: Counter[tuple[int, int]] = Counter()
    table, cursor = tables.inputs.inputs.tolist(), 0
    for place in plan.visits.tolist():
        for q in range(tables.digits):
            head, upright = table[cursor : cursor + 2]
            count = head % MORE
            assert count % 4 == 0
            for k, source in enumerate(table[cursor + 2 : cursor + 2 + count]):
                assert source or k < upright
                if source:
                    found[place, source] += (1 if k < upright else -1) << q
            cursor += 2 + count
            if head < MORE:
                break
    assert cursor == len(table)
    wanted = {(int(plan.place[t]), int(plan.place[s])): w
              for t, s, w in zip(plan.targets, plan.sources, plan.weights)}
    assert found.keys() == wanted.keys()
    # Weights are in levels, one unit of them for all edges into a module.
    for module in plan.order:
        low = plan.place[plan.topology.units_of(module)][0]
        own = [key for key in wanted if low <= key[0] < low + plan.topology.modules[module].dim]
        assert len({wanted[key] / found[key] for key in own}) <= 1


@pytest.mark.parametrize("weights", ["plus or minus", "thinned", "large"])
def test_whole_and_partial_groups(weights: str) -> None:
    program = lattice(24, WEIGHTS[weights])
    for inputs, chains in ((1, 512), (1, 513), (2, 577), (3, 65)):
        call = prepare(program, np.zeros((inputs, 576)), steps=2, burn_in=1, seed=4, chains=chains)
        same_sums(Grouped(program, 2).relax(call), slow(program, call))


def test_threads_interruptions_and_seams_do_not_change_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = lattice(12, WEIGHTS["plus or minus"])
    call = {"h": np.zeros((2, 144)), "seed": 3, "chains": 530}
    settings = Settings(beta=np.linspace(0.1, 2, 14).reshape(7, 2))
    whole = prepare(program, **call, steps=40, burn_in=9, settings=settings)
    wanted = slow(program, whole)
    for threads in (1, 3):
        same_sums(Grouped(program, threads).relax(whole), wanted)
    monkeypatch.setattr(grouped, "SLICE", 3000)
    same_sums(Grouped(program, 2).relax(whole), wanted)
    engine = Grouped(program, 1)
    both = engine.relax(prepare(program, **call, steps=9))
    first = engine.relax(prepare(program, **call, steps=4))
    assert both is not None
    assert first is not None
    # Halves on different kernels.
    monkeypatch.setattr(grouped, "WIDE_COST", 1 << 20)
    second = engine.relax(prepare(program, **call, steps=5, state=first.state))
    assert second is not None
    np.testing.assert_array_equal(first.sums + second.sums, both.sums)
    np.testing.assert_array_equal(second.state.units, both.state.units)
    np.testing.assert_array_equal(second.state.noise, both.state.noise)


def test_groups_of_512_are_chosen_by_chains_threads_and_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    program = lattice(6, WEIGHTS["plus or minus"])
    for inputs, chains, threads, kind in (
        (1, 64, 1, Sliced), (1, 448, 1, Sliced), (1, 512, 1, WideSliced), (8, 64, 1, Sliced),
        (1, 512, 2, Sliced), (1, 1024, 2, WideSliced), (2, 512, 2, WideSliced),
    ):
        call = prepare(program, np.zeros((inputs, 36)), steps=1, seed=1, chains=chains)
        assert type(Grouped(program, threads)._kernel(call)) is kind
    monkeypatch.setattr(grouped, "WIDE_MOST", 36)
    call = prepare(program, np.zeros((1, 36)), steps=1, seed=1, chains=512)
    assert type(Grouped(program, 1)._kernel(call)) is Sliced


@pytest.mark.long
def test_wide_vectors_of_other_machines() -> None:
    # Without AVX-512 a function of three bits is several; with 128-bit vectors all is in pieces.
    code = ("import sys; sys.path[:0] = ['tests', 'tests/emulator']\n"
            "from test_wide_groups import *\n"
            "grouped.WIDE_COST = 0\n"
            "Grouped._faster = lambda *arguments: True\n"
            "for weights in ('plus or minus', 'large'):\n"
            "    program = lattice(24, WEIGHTS[weights])\n"
            "    call = prepare(program, np.zeros((1, 576)), steps=3, seed=4, chains=65)\n"
            "    same_sums(Grouped(program, 1).relax(call), slow(program, call))\n")
    for features in ("+avx2", ""):
        subprocess.run([sys.executable, "-c", code], check=True, env={
            **os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features,
        })

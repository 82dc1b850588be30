"""Oracle, NumPy and compiled engine agree in every bit on random programs."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from engines import ENGINES, FAST_ENGINES, drawn, draws, run, seeded
from pbitstream.devices.conformance import check_device, same_readout
from pbitstream.devices.protocol import CLIP_NAMES, Device
from pbitstream.devices.random_programs import has_cycle, is_alive, random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.spec.topology import BandBank, LowRankBank, SparseBank


@pytest.mark.parametrize("engine", FAST_ENGINES)
@seeded(150)
@given(draws)
def test_engine_equals_oracle(engine: str, draw: tuple[int, int]) -> None:
    program, call = drawn(draw)
    same_readout(run(program, call, engine), run(program, call, "oracle"))


@pytest.mark.parametrize("engine", FAST_ENGINES)
@seeded(50)
@given(draws)
def test_threads_and_chains_do_not_change_bits(engine: str, draw: tuple[int, int]) -> None:
    program, call = drawn(draw)
    call = {**call, "chains": 5, "first_chain": 7, "steps": 6}
    call.pop("state", None)
    whole = run(program, call, engine, threads=1)
    for threads in (2, 3, 64):
        same_readout(run(program, call, engine, threads), whole)
    # The first two chains of every input, as calls of their own.
    inputs = len(call["h"])
    for i in range(inputs):
        one: dict[str, Any] = {**call, "h": call["h"][i : i + 1], "chains": 2,
                               "first_chain": 7 + 5 * i}
        if "clamp" in call:
            one["clamp"] = call["clamp"][i : i + 1]
        if len(call.get("gains", ())) > 1:
            one["gains"] = call["gains"][i : i + 1]
        part = run(program, one, engine)
        np.testing.assert_array_equal(part.sums[0], whole.sums[i, :2])
        np.testing.assert_array_equal(part.clips[0], whole.clips[i, :2])
        np.testing.assert_array_equal(part.state.units, whole.state.units[5 * i : 5 * i + 2])
        np.testing.assert_array_equal(part.state.noise, whole.state.noise[5 * i : 5 * i + 2])


@pytest.mark.skipif(len(FAST_ENGINES) < 2, reason="numba is not installed")
@pytest.mark.parametrize("seed", range(8))
def test_long_runs_of_large_programs(seed: int) -> None:
    rng = np.random.default_rng([77, seed])
    program = random_program(rng)
    call = {**random_call(program, rng, max_chains=2), "steps": 60, "burn_in": 20}
    same_readout(run(program, call, "numba"), run(program, call, "numpy"))


@pytest.mark.skipif(len(FAST_ENGINES) < 2, reason="numba is not installed")
def test_interrupted_kernel_calls_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    from pbitstream.emulator import compiled

    program, call = drawn((3, 16))
    call = {**call, "chains": 21, "steps": 9, "burn_in": 5}
    call.pop("state", None)
    whole = run(program, call, "numpy")
    for block, threads in ((1, 1), (100, 2), (700, 1), (20_000, 1), (60_000, 1)):
        monkeypatch.setattr(compiled, "SLICE", block)
        same_readout(run(program, call, "numba", threads), whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_conformance_suite(engine: str) -> None:
    def emulator() -> Device:
        return Emulator(engine=engine)

    programs = [random_program(np.random.default_rng([5, n]), max_dim=140) for n in range(5)]
    passed = check_device(emulator, programs)
    assert len({p.check for p in passed}) == 8
    assert len({p.program for p in passed}) == len(programs)


def test_random_programs_cover_what_they_promise() -> None:
    seen: Counter[str] = Counter()
    count = 60
    for seed in range(count):
        rng = np.random.default_rng(seed)
        program = random_program(rng)
        call = random_call(program, rng, max_rows=3)
        readout = run(program, call, FAST_ENGINES[-1])
        topology = program.topology
        found = {name for name, clips in readout.saturated.items() if clips}
        found |= {f"F {topology.field_fraction}", f"s {topology.dt_shift}"}
        found |= {k for k in ("clamp", "gains", "settings", "state") if k in call}
        for index, module in enumerate(topology.modules):
            found.add(f"{'clamped' if module.clamped else 'free'} {module.kind}")
            rows = -(-module.dim // 128)
            found.add(f"{module.kind} rows {'1' if rows == 1 else '2-4' if rows < 5 else '5+'}")
            if module.kind == "langevin" and not module.clamped:
                found.add("hot" if program.tables["noise_gain"][index] else "T = 0")
        for bank in topology.banks:
            found.add(type(bank).__name__)
            if bank.source == bank.target:
                found.add(f"self {type(bank).__name__}")
            if isinstance(bank, LowRankBank) and bank.rank > 16:
                found.add("high rank")
        pairs = [frozenset((b.source, b.target)) for b in topology.banks]
        found |= {"parallel banks"} if len(set(pairs)) < len(pairs) else set()
        found |= {"cycle"} if has_cycle(topology) else set()
        found |= {"alive"} if is_alive(program) else set()
        found |= {"schedule"} if program.gain_rows else set()
        seen.update(found)
    for name in CLIP_NAMES:
        assert seen[name] >= count // 12, (name, seen)
    for name in (
        "clamp", "gains", "settings", "state", "free langevin", "free pbit", "clamped langevin",
        "clamped pbit", "hot", "T = 0", "LowRankBank", "BandBank", "SparseBank",
        "self LowRankBank", "self BandBank", "self SparseBank", "high rank", "parallel banks",
        "cycle", "alive", "schedule", "langevin rows 2-4", "pbit rows 2-4", "pbit rows 5+",
        *(f"F {f}" for f in (16, 18, 20, 22)), *(f"s {s}" for s in range(9)),
    ):
        assert seen[name] >= 3, (name, seen)


def test_programs_for_boards_hold_no_sparse_bank_and_alive_ones_move() -> None:
    for seed in range(20):
        program = random_program(np.random.default_rng(seed), board=True, max_dim=64)
        assert not any(isinstance(b, SparseBank) for b in program.topology.banks)
    for seed in range(5):
        program = random_program(np.random.default_rng(seed), alive=True, max_dim=64)
        assert is_alive(program)
        assert has_cycle(program.topology)
        assert any(isinstance(b, (LowRankBank, BandBank, SparseBank))
                   for b in program.topology.banks)

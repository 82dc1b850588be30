"""Chains of p-bits in groups of 64: both kernels agree in every bit with the other engines."""

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import HAS_NUMBA, seeded
from pbitstream.compiler.builder import ProgramBuilder, colour_phases
from pbitstream.devices.call import Call, Sums, prepare
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.protocol import Settings
from pbitstream.emulator import oracle
from pbitstream.emulator.batched import relax_batch
from pbitstream.emulator.cache import kernels_cached
from pbitstream.emulator.device import Emulator, initial_state
from pbitstream.emulator.pbit_plan import PbitPlan, qualifies
from pbitstream.program import Program
from pbitstream.spec.topology import BandBank, Bank, Module, SparseBank, Topology
from pbitstream.spec.words import BETA, MAX_CHAINS
from pbitstream.tables import band_rows

if not HAS_NUMBA:
    pytest.skip("numba is not installed", allow_module_level=True)

with kernels_cached():
    from pbitstream.emulator import grouped
    from pbitstream.emulator.grouped import Grouped
    from pbitstream.emulator.levels import Slicer

#: Weights of a program, each a choice for every edge.
WEIGHTS: dict[str, list[int]] = {
    "one": [64], "plus or minus": [-48, 48], "thinned": [0, 32, -32], "small": [-96, -32, 32, 64],
    "large": [*range(-300, 301, 20)], "any": [*range(-900, 901, 7)],
}
SIZES = (1, 5, 8, 60, 127, 128, 131, 264, 517, 530)


def drawn_program(rng: np.random.Generator, sizes: tuple[int, ...] = SIZES) -> Program:
    """Return a random program of p-bits in bands and sparse banks."""
    weights = WEIGHTS[str(rng.choice([*WEIGHTS]))]
    free = [Module(f"m{i}", "pbit", int(rng.choice(sizes))) for i in range(rng.integers(1, 4))]
    held = [Module(f"c{i}", str(rng.choice(["pbit", "langevin"])), int(rng.choice(sizes)), True)
            for i in range(rng.integers(0, 2))]  # type: ignore[arg-type]
    modules = tuple(free + held)
    banks: list[Bank] = []
    tables: dict[str, Any] = {}
    for _ in range(rng.integers(1, 5)) if len(modules) > 1 else ():
        source, target = (int(m) for m in rng.choice(len(modules), 2, replace=False))
        dim_s, dim_t = modules[source].dim, modules[target].dim
        name = f"bank{len(banks)}."
        if rng.random() < 0.6:
            near = {0, 1, -1, -3, dim_s - 1, 1 - dim_s, dim_s // 2, -(dim_t // 2)}
            offsets = rng.permutation(sorted(near))[: rng.integers(1, 6)]
            w = rng.choice(weights, (len(offsets), dim_t)).astype(np.int16)
            for offset, row in zip(offsets, w):
                low, high = band_rows(int(offset), dim_t, dim_s)
                row[:low], row[high:] = 0, 0
            banks.append(BandBank(source, target, tuple(int(o) for o in offsets)))
            tables[name + "w"] = w
        else:
            entries = int(rng.integers(0, min(dim_s * dim_t, 3 * dim_t) + 1))
            rows = np.bincount(rng.integers(0, dim_t, entries), minlength=dim_t)
            banks.append(SparseBank(source, target, entries))
            tables[name + "indptr"] = np.append(0, np.cumsum(rows)).astype(np.int32)
            tables[name + "indices"] = rng.integers(0, dim_s, entries).astype(np.int32)
            tables[name + "weights"] = rng.choice(weights, entries).astype(np.int16)
    phases = colour_phases(modules, banks)
    phases = tuple(phases[i] for i in rng.permutation(len(phases)))
    units = sum(module.dim for module in modules)
    for name, dtype, shape in (
        ("k2", np.uint16, units), ("k4", np.uint16, units), ("scale", np.float64, units),
        ("offset", np.float64, units), ("beta", np.uint16, len(modules)),
        ("noise_gain", np.uint16, len(modules)), ("x_max", np.uint16, len(modules)),
    ):
        tables[name] = np.zeros(shape, dtype)
    tables["noise_shift"] = np.full(len(modules), 22, np.uint8)
    tables["beta"][: len(free)] = rng.choice([0, 300, 4096, 20000, BETA.highest], len(free))
    fraction = int(rng.choice([16, 18, 20, 22]))
    return Program(Topology(modules, tuple(banks), phases, fraction), tables)


def drawn_call(program: Program, rng: np.random.Generator, most: int = 130) -> dict[str, Any]:
    """Return a random call with up to so many chains, some of it a schedule."""
    topology = program.topology
    inputs, chains = int(rng.integers(1, 4)), int(rng.choice([1, 2, 8, 63, 64, 65, most]))
    chains = min(chains, most)
    step = 2.0 ** -int(rng.choice([4, 6, 10, 12]))
    call: dict[str, Any] = {
        "h": rng.integers(-3, 4, (inputs, topology.units)) * step * int(rng.integers(0, 2)),
        "steps": int(rng.integers(1, 10)), "burn_in": int(rng.integers(0, 4)),
        "seed": int(rng.integers(0, 1 << 40)), "chains": chains,
        "first_chain": int(rng.choice([0, 7, 64, MAX_CHAINS - inputs * chains])),
        "moments": bool(rng.integers(0, 2)),
    }
    held = [rng.choice([-1.0, 1.0], (inputs, m.dim)) * (1.0 if m.kind == "pbit" else 2.0**-3)
            for m in topology.modules if m.clamped]
    if held:
        call["clamp"] = np.concatenate(held, axis=1)
    if rng.random() < 0.5:
        rows = int(rng.integers(1, call["steps"] + call["burn_in"] + 1))
        beta = rng.random((rows, len(topology.modules))) * 4
        beta[:, [m.clamped for m in topology.modules]] = np.nan
        call["settings"] = Settings(beta=beta)
    return call


def slow(program: Program, call: Call) -> Sums:
    return relax_batch(program, call, initial_state(program, call))


def same_sums(found: Sums | None, wanted: Sums) -> None:
    assert found is not None
    for ours, theirs in ((found.sums, wanted.sums), (found.squares, wanted.squares),
                         (found.state.units, wanted.state.units),
                         (found.state.noise, wanted.state.noise), (found.clips, wanted.clips)):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def sliced(program: Program, call: Call) -> bool:
    """Return whether fields take few enough values."""
    plan = PbitPlan(program)
    rows = np.stack([row.beta for row in call.rows]).astype(np.int64)
    return Slicer(plan).tables(plan.constants(call), rows) is not None


@pytest.fixture(autouse=True)
def _any_number_of_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "SLICED_COST", dict.fromkeys(grouped.SLICED_COST, 0))
    monkeypatch.setattr(grouped, "LANES_COST", 0)


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


def lattice(side: int, weights: list[int], fraction: int = 20) -> Program:
    """Return a periodic square lattice in two colours, as bands; side is even."""
    rng = np.random.default_rng(side)
    row, column = (part.reshape(-1) for part in np.indices((side, side)))
    colour, place = (row + column) % 2, (row * side + column) // 2
    builder = ProgramBuilder(field_fraction=fraction)
    ends = [builder.pbit(name, side * side // 2, beta=0.8) for name in "ab"]
    bands: dict[int, Any] = {}
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        near = np.flatnonzero(colour == 1)
        far = (row[near] + down) % side * side + (column[near] + right) % side
        for i, offset in zip(place[near], place[far] - place[near]):
            bands.setdefault(int(offset), np.zeros(side * side // 2))[i] += (
                rng.choice(weights) * 2.0 ** (12 - fraction)
            )
    builder.band(*ends, bands)
    return builder.build()

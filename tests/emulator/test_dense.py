"""Dense banks: matrices in the plan, sums kept by the p-bit engine, the oracle's bits in both."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines import FAST_ENGINES, HAS_NUMBA, run, seeded
from pbitstream.devices.call import prepare
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.random_programs import random_call
from pbitstream.emulator.dense import crowded, dense_matrix, entries_of, supports
from pbitstream.emulator.device import initial_state
from pbitstream.errors import SpecError, UnstableError
from pbitstream.program import Program
from pbitstream.spec.noise import NOISE_SHIFTS
from pbitstream.spec.topology import BandBank, Bank, LowRankBank, Module, SparseBank, Topology
from pbitstream.spec.words import FIELD_FRACTIONS, K2
from pbitstream.tables import band_rows

Tables = dict[str, NDArray[Any]]

pytestmark = pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")

#: Around the 16 rows of a product's tiles, the 64 from which sums are kept, and their 128.
DIMS = (1, 5, 16, 17, 63, 64, 65, 127, 128, 129, 200)


def csr(rng: np.random.Generator, dim_t: int, dim_s: int, fill: float, most: int) -> Tables:
    """Return a sparse bank of random weights; a fill above 1 stores every weight."""
    stored = rng.random((dim_t, dim_s)) < fill
    columns = np.flatnonzero(stored) % dim_s
    if len(columns) and fill < 1 and rng.random() < 0.5:
        # Parallel entries, which add up.
        columns = rng.choice(columns, len(columns))
    pointers = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    weights = rng.integers(-most, most + 1, len(columns))
    return {"indptr": pointers.astype(np.int32), "indices": columns.astype(np.int32),
            "weights": weights.astype(np.int16)}


def dense_program(
    rng: np.random.Generator, *, langevin: bool = False, dims: tuple[int, ...] = DIMS
) -> Program:
    """Return a program with a dense bank between its first two modules and others besides."""
    count = int(rng.integers(2, 5))
    modules = tuple(
        Module(f"m{index}",
               "langevin" if (langevin and rng.random() < 0.5) else "pbit",
               int(rng.choice(dims)), index > 1 and bool(rng.random() < 0.4))
        for index in range(count)
    )
    most = int(rng.choice([1, 40, 300, 32767]))
    banks: list[Bank] = []
    parts: list[Tables] = []
    for number in range(int(rng.integers(1, 2 * count))):
        s, t = (0, 1) if number == 0 else rng.choice(count, 2, replace=False).tolist()
        dim_s, dim_t = modules[s].dim, modules[t].dim
        kind = "dense" if number == 0 else rng.choice(["dense", "sparse", "band", "low-rank"])
        if kind == "low-rank" and max(dim_s, dim_t) <= 128:
            banks.append(LowRankBank(s, t, 3, 9, 9, 13, 12, 12))
            parts.append({"a": rng.integers(-20, 21, (dim_s, 3)).astype(np.int16),
                          "b": rng.integers(-20, 21, (dim_t, 3)).astype(np.int16),
                          "gain": rng.integers(-9000, 9000, 3).astype(np.int16)})
        elif kind == "band":
            w = rng.integers(-most, most + 1, (2, dim_t)).astype(np.int16)
            for offset, row in zip((0, -1), w):
                low, high = band_rows(offset, dim_t, dim_s)
                row[:low], row[high:] = 0, 0
            banks.append(BandBank(s, t, (0, -1)))
            parts.append({"w": w})
        else:
            fill = float(rng.choice([0.15, 0.9, 1.1]) if kind == "dense" else 0.03)
            parts.append(csr(rng, dim_t, dim_s, fill, most))
            banks.append(SparseBank(s, t, len(parts[-1]["weights"])))
    order = [n for n in rng.permutation(count).tolist() if not modules[n].clamped]
    topology = Topology(modules, tuple(banks), tuple((n,) for n in order),
                        int(rng.choice(FIELD_FRACTIONS)), 8)
    tables = unit_tables(rng, topology)
    for index, part in enumerate(parts):
        tables |= {f"bank{index}.{name}": table for name, table in part.items()}
    while True:
        try:
            program = Program(topology, dict(tables))
            program.check(force=True)
            return program
        except (SpecError, UnstableError):
            for name, table in tables.items():
                if name.startswith("bank") and name.endswith((".w", ".weights", ".a", ".b")):
                    tables[name] = np.fix(table / 2).astype(np.int16)


def unit_tables(rng: np.random.Generator, topology: Topology) -> Tables:
    """Return the tables of units and modules: stiff Langevin units, p-bits of any beta."""
    units, modules = topology.units, topology.modules
    tables: Tables = {
        "k2": np.zeros(units, np.uint16), "k4": np.zeros(units, np.uint16),
        "beta": np.zeros(len(modules), np.uint16), "noise_gain": np.zeros(len(modules), np.uint16),
        "noise_shift": np.full(len(modules), NOISE_SHIFTS[-1], np.uint8),
        "x_max": np.zeros(len(modules), np.uint16), "scale": np.ones(units),
        "offset": np.zeros(units),
    }
    for index, module in enumerate(modules):
        if module.kind == "pbit":
            tables["beta"][index] = rng.choice([0, 30, 400, 4096, 65535])
        elif not module.clamped:
            tables["k2"][topology.units_of(index)] = K2.highest
            tables["noise_gain"][index], tables["noise_shift"][index] = 5000, 12
    return tables


def full_program(weights: NDArray[np.int16], beta: int = 4096) -> Program:
    """Return two p-bit modules joined by a full matrix, (units of t, units of s)."""
    dim_t, dim_s = weights.shape
    topology = Topology((Module("s", "pbit", dim_s), Module("t", "pbit", dim_t)),
                        (SparseBank(0, 1, weights.size),), ((0,), (1,)))
    tables = unit_tables(np.random.default_rng(0), topology)
    tables["beta"][:] = beta
    return Program(topology, {
        **tables,
        "bank0.indptr": np.arange(0, weights.size + 1, dim_s, dtype=np.int32),
        "bank0.indices": np.tile(np.arange(dim_s, dtype=np.int32), dim_t),
        "bank0.weights": weights.reshape(-1),
    })


@pytest.mark.parametrize("langevin", [False, True])
@seeded(40)
@given(seed=st.integers(0, 10_000))
def test_numba_equals_numpy(langevin: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = dense_program(rng, langevin=langevin)
    call = {**random_call(program, rng, max_rows=4), "steps": 6}
    call.pop("state", None)
    same_readout(run(program, call, "numba"), run(program, call, "numpy"))


@pytest.mark.parametrize("engine", FAST_ENGINES)
@seeded(25)
@given(seed=st.integers(0, 10_000))
def test_engine_equals_oracle(engine: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = dense_program(rng, dims=(1, 5, 17, 64, 65, 129))
    call = random_call(program, rng, max_chains=2, max_rows=3)
    same_readout(run(program, call, engine), run(program, call, "oracle"))


def test_draws_reach_the_engine_of_dense_banks() -> None:
    from pbitstream.emulator.dense_engine import DensePlan

    chosen = kept = 0
    for seed in range(40):
        program = dense_program(np.random.default_rng(seed))
        if supports(program.topology):
            chosen += 1
            kept += len(DensePlan(program).couplings) > 0
    assert chosen >= 15
    assert kept >= 15


@pytest.mark.parametrize("seed", range(4))
def test_sums_over_the_whole_range_of_a_word(seed: int) -> None:
    """Fields as large as the loader allows, from every spin up to every spin down."""
    rng = np.random.default_rng(seed)
    unit = np.arange(70)
    weights = rng.integers(-4, 5, (70, 70)).astype(np.int16)
    weights[unit, unit], weights[unit, unit - 1] = rng.choice([-1, 1], (2, 70)) * 32500
    program = full_program(weights, beta=int(rng.choice([1, 40, 65535])))
    units = program.topology.units
    for bias in (0.0, 7.9, -7.9):
        call = {"h": np.full((1, units), bias), "steps": 4, "seed": seed, "chains": 2,
                "moments": True}
        same_readout(run(program, call, "numba"), run(program, call, "oracle"))


def test_interrupted_calls_and_rows_of_settings_join_without_a_seam(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pbitstream.devices.protocol import Settings
    from pbitstream.emulator import compiled

    rng = np.random.default_rng(3)
    program = full_program(rng.integers(-90, 91, (150, 100)).astype(np.int16))
    betas = np.linspace(0.1, 2, 12)[:, None].repeat(2, axis=1)
    call = {"h": rng.normal(size=(2, 250)), "steps": 9, "burn_in": 3, "seed": 5, "chains": 3,
            "settings": Settings(beta=betas), "moments": True}
    whole = run(program, call, "numba")
    same_readout(whole, run(program, call, "numpy"))
    for block, threads in ((1, 1), (4000, 2), (9000, 5)):
        monkeypatch.setattr(compiled, "SLICE", block)
        same_readout(run(program, call, "numba", threads), whole)


def test_which_banks_are_matrices() -> None:
    from pbitstream.emulator.dense_engine import DensePlan

    full = full_program(np.arange(-3200, 3200, dtype=np.int16).reshape(64, 100) // 100)
    matrix = full.tables["bank0.weights"].reshape(64, 100)
    for forward, expected in ((True, matrix), (False, matrix.T)):
        entries = entries_of(full, 0, forward)
        np.testing.assert_array_equal(dense_matrix(*entries, expected.shape), expected)
    assert supports(full.topology)
    assert len(DensePlan(full).couplings) > 0
    assert not crowded(full.topology)
    assert crowded(full_program(np.ones((300, 300), np.int16)).topology)
    small = full_program(np.ones((20, 63), np.int16))
    assert not supports(small.topology)
    modules = (*full.topology.modules, Module("u", "pbit", 10_000))
    for more, most in ((6000, True), (7000, False)):
        banks = (*full.topology.banks, SparseBank(0, 2, more))
        assert supports(Topology(modules, banks, ((0,), (1, 2)))) == most

    rows, columns = np.divmod(np.arange(100), 100)
    weights = np.full(100, 300, np.int16)
    assert dense_matrix(rows, columns, weights, (8, 100)) is not None
    assert dense_matrix(rows, columns, weights, (9, 100)) is None
    one = np.zeros(110, np.int64)
    parallel = np.full(110, 300, np.int16)
    assert dense_matrix(one, one, parallel, (1, 1)) is None, "the sum leaves int16"
    added = dense_matrix(one[:109], one[:109], parallel[:109], (1, 1))
    assert added is not None
    assert added.tolist() == [[32700]]


def test_memory_of_tables_and_chains() -> None:
    from pbitstream.emulator.dense_engine import Dense

    program = full_program(np.full((512, 784), 3, np.int16), beta=100)
    stored = sum(table.nbytes for table in program.tables.values())
    tracemalloc.start()
    try:
        engine = Dense(program, 1)
        kept, peak = tracemalloc.get_traced_memory()
        assert kept < stored
        assert peak < 8 * stored
        peaks = []
        for chains in (64, 256):
            call = prepare(program, np.zeros((1, 1296)), steps=1, seed=1, chains=chains)
            state = initial_state(program, call)
            tracemalloc.reset_peak()
            engine.relax(call, state)
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / (192 * 1296) < 64

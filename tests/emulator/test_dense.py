"""Dense banks: matrices in the plan, sums kept by the p-bit engine, the oracle's bits in both."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dense_programs import dense_program, full_program
from engines import FAST_ENGINES, HAS_NUMBA, run, seeded
from pbitstream.devices.call import prepare
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.random_programs import random_call
from pbitstream.emulator.dense import crowded, dense_matrix, entries_of, supports
from pbitstream.emulator.device import initial_state
from pbitstream.spec.topology import Module, SparseBank, Topology

pytestmark = pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")


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

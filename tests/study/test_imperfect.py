"""Faults of hardware: each changes what it says, by what it says, and nothing else."""

import numpy as np
import pytest

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.coupling import coupling_matrix
from pbitstream.program import Program
from pbitstream.spec.words import K2, STATE
from pbitstream.study.imperfect import (
    coarse,
    coarse_factors,
    coarse_state,
    dead_couplings,
    dead_units,
    mismatch,
)


@pytest.fixture
def program() -> Program:
    draw = np.random.default_rng(0)
    builder = ProgramBuilder()
    left, right = builder.clamped("left", 40), builder.langevin("right", 60)
    builder.low_rank(left, right, draw.standard_normal((40, 5)), draw.standard_normal((60, 5)),
                     np.full(5, 0.02))
    builder.band(left, right, {0: np.where(np.arange(60) < 40, 0.1, 0.0),
                               -3: np.where((np.arange(60) >= 3) & (np.arange(60) < 43), 0.2, 0)})
    return builder.build()


def test_converters() -> None:
    assert coarse(np.array([-9.0, -0.26, 0.24, 0.25, 7.9]), 5).tolist() == [-8, -0.5, 0, 0.5, 7.5]
    values = np.random.default_rng(1).uniform(-7, 7, 1000)
    assert np.abs(coarse(values, 8) - values).max() <= 16 / 2**9


def test_a_coarse_state_has_fewer_codes() -> None:
    units = np.array([STATE.lowest, -1, 0, 1 << 11, (1 << 12) - 1, STATE.highest], np.int32)
    found = coarse_state(units, 12)
    assert (found % (1 << 12) == 0).all()
    assert found.tolist() == [STATE.lowest, 0, 0, 1 << 12, 1 << 12, (STATE.highest >> 12) << 12]
    assert (coarse_state(units, 24) == units).all()


def test_coarse_factors(program) -> None:
    found = coarse_factors(program, 6)
    assert (found.tables["bank0.a"] % 16 == 0).all()
    assert np.abs(found.tables["bank0.a"] - program.tables["bank0.a"]).max() <= 16
    assert (found.tables["bank1.w"] == program.tables["bank1.w"]).all()
    assert coarse_factors(program, 10) == program


def test_mismatch(program) -> None:
    found = mismatch(program, 0.05, 3)
    ratio = found.program.tables["k2"][40:] * K2.value(1)
    assert 0.03 < ratio.std() < 0.07
    assert 0.03 < found.offset.std() < 0.07
    assert (found.program.tables["bank0.a"] == program.tables["bank0.a"]).all()
    assert (found.program.tables["bank0.gain"] != program.tables["bank0.gain"]).any()
    assert mismatch(program, 0.0, 3).program == program


def test_dead_couplings(program) -> None:
    found = dead_couplings(program, 0.2, 5)
    for name in ("bank0.a", "bank0.b"):
        alive = program.tables[name] != 0
        assert 0.1 < (found.tables[name][alive] == 0).mean() < 0.3
    assert dead_couplings(program, 0.0, 5) == program


def test_a_dead_unit_couples_to_nothing(program) -> None:
    found = dead_units(program, 0.2, 7)
    before = coupling_matrix(program.topology, program.tables)
    after = coupling_matrix(found.program.topology, found.program.tables)
    assert 0.1 < found.dead.mean() < 0.3
    assert not after[found.dead].any()
    assert not after[:, found.dead].any()
    alive = ~found.dead
    assert (after[np.ix_(alive, alive)] == before[np.ix_(alive, alive)]).all()

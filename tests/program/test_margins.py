"""Margins of programs whose matrices are known, and of random ones against dense algebra."""

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines import seeded
from pbitstream import margins as module
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.coupling import apply_coupling, coupling_matrix
from pbitstream.devices.random_programs import random_program
from pbitstream.errors import SpecError, UnstableError
from pbitstream.margins import Margins, certainly_stable, compute_margins
from pbitstream.program import Program
from pbitstream.spec.topology import BandBank, LowRankBank

STEP = 2.0**-8


def chain(n: int, w: float, *, k2: float = 1.0, dt_shift: int = 3, periodic: bool = False,
          k4: float = 0.0, temperature: float = 0.01, x_max: float = 8.0) -> Program:
    """Return a chain of Langevin units with nearest-neighbour coupling w."""
    builder = ProgramBuilder(dt_shift=dt_shift)
    x = builder.langevin("x", n, k2=k2, k4=k4, temperature=temperature, x_max=x_max)
    rows: dict[int, NDArray[np.float64]] = {1: np.where(np.arange(n) < n - 1, w, 0.0)}
    if periodic:
        rows[1 - n] = np.where(np.arange(n) == n - 1, w, 0.0)
    builder.band(x, x, rows)
    return builder.build()


@pytest.mark.parametrize("n", [2, 7, 60])
def test_open_chain(n: int) -> None:
    w = 64 * STEP
    margins = chain(n, w).margins()
    expected = 2 * w * math.cos(math.pi / (n + 1))
    assert margins.lambda_max == pytest.approx(expected, rel=1e-12)
    assert margins.lambda_min == pytest.approx(-expected, rel=1e-12)
    assert margins.gap == margins.linear_gap == pytest.approx(1 - expected, rel=1e-12)
    assert margins.dt == 1 / 8
    assert margins.dt_limit == margins.linear_dt_limit == pytest.approx(2 / (1 + expected))
    pace = (1 - expected) / 8
    assert margins.tau == pytest.approx((2 - pace) / pace)
    assert margins.burn_in == math.ceil(8 / pace)
    assert margins.boltzmann is True


def test_periodic_chain_and_its_error_scale() -> None:
    n, w, temperature = 12, 32 * STEP, 0.04
    program = chain(n, w, periodic=True, temperature=temperature)
    margins = program.margins()
    assert margins.lambda_max == pytest.approx(2 * w)
    assert margins.lambda_min == pytest.approx(-2 * w)
    eigenvalues = 1 - 2 * w * np.cos(2 * np.pi * np.arange(n) / n)
    exact = math.sqrt(2 * temperature * 8 * (eigenvalues**-2.0).mean())
    assert margins.error_scale == pytest.approx(exact, rel=1e-3)
    steps = margins.steps_for(0.01)
    assert steps == math.ceil((margins.error_scale / 0.01) ** 2)
    assert margins.error_scale / math.sqrt(steps) <= 0.01
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(SpecError, match=f"^error must be positive, not {bad}$"):
            margins.steps_for(bad)


def test_headroom_counts_the_bias() -> None:
    builder = ProgramBuilder()
    x = builder.langevin("x", 1)
    y = builder.langevin("y", 1)
    builder.band(x, y, {0: [256 * STEP]})
    worst = 2**15 * (256 + 256)
    assert builder.build().margins().headroom_bits == pytest.approx(math.log2((2**31 - 1) / worst))


def test_unstable_programs_are_refused_with_the_margin() -> None:
    with pytest.raises(UnstableError, match=re.escape(
        "no stable equilibrium: the smallest eigenvalue of K - J over units with k4 = 0 is -0.25 "
        "and must be positive (largest eigenvalue of J: 1.25); shrink the couplings between free "
        "modules or raise k2"
    )):
        chain(2, 1.25).margins().check()
    with pytest.raises(UnstableError, match="no stable equilibrium"):
        chain(2, 1.25).margins().check(force=True)
    # Exactly marginal is not stable either.
    with pytest.raises(UnstableError, match=r"is 0 and must be positive|is -?\d.*e-\d+ and must"):
        chain(2, 1.0).margins().check()


def test_a_step_that_is_too_large_is_refused_with_the_cure() -> None:
    program = chain(2, 0.5, k2=20.0, dt_shift=3)
    with pytest.raises(UnstableError, match=re.escape(
        "dt = 0.125 must be below 0.09756; use dt_shift 4 or more, or, if only the quartic term is "
        "the reason, state the largest |x| that occurs (x_max), or force the load and watch "
        "the clip counts"
    )):
        program.margins().check()
    with pytest.raises(UnstableError, match=re.escape("use dt_shift 4 or more")):
        program.margins().check(force=True)
    chain(2, 0.5, k2=20.0, dt_shift=4).margins().check()
    # dt = 2 / lambda_max oscillates for ever.
    with pytest.raises(UnstableError, match="use dt_shift 4 or more"):
        chain(1, 0.0, k2=16.0, dt_shift=3).margins().check()


def test_force_lets_the_quartic_limit_pass_only() -> None:
    program = chain(2, 0.5, k4=1.0, x_max=4.0)
    margins = program.margins()
    assert margins.linear_gap is None
    assert margins.linear_dt_limit == pytest.approx(2 / 1.5)
    assert margins.dt_limit == pytest.approx(2 / (1.5 + 3 * 16))
    with pytest.raises(UnstableError, match=r"^dt = 0.125 must be below 0.0404"):
        margins.check()
    margins.check(force=True)
    chain(2, 0.5, k4=1.0, x_max=1.5).margins().check()
    # A double well is held by its quartic term.
    chain(2, 2.0, k4=1.0, x_max=1.5).margins().check()


def test_a_mixed_program_is_judged_over_its_linear_units() -> None:
    builder = ProgramBuilder()
    x = builder.langevin("x", 2, k4=[0.0, 1.0], x_max=1.0)
    builder.band(x, x, {1: [1.25, 0.0]})
    margins = builder.build().margins()
    assert margins.gap == pytest.approx(-0.25)
    assert margins.linear_gap == pytest.approx(1.0)
    margins.check()


def test_programs_without_free_langevin_units() -> None:
    builder = ProgramBuilder()
    p, q = builder.pbit("p", 3, beta=2.0), builder.pbit("q", 3, beta=2.0)
    builder.band(p, q, {0: [60.0] * 3})
    margins = builder.build().margins()
    margins.check()
    for name in ("lambda_max", "lambda_min", "gap", "linear_gap", "dt_limit", "tau", "burn_in",
                 "error_scale"):
        assert getattr(margins, name) is None
    assert margins.boltzmann is True
    assert margins.steps_for(0.1) == 1
    assert set(margins.to_dict()) == set(Margins.__dataclass_fields__)


@pytest.mark.parametrize(("temperature", "beta", "expected"), [
    (0.5, 2.0, True), (0.5, 2.1, False), (0.25, 4.0, True), (0.0, 2.0, None),
])
def test_boltzmann(temperature: float, beta: float, expected: bool | None) -> None:
    builder = ProgramBuilder()
    builder.langevin("x", 2, temperature=temperature)
    builder.pbit("p", 2, beta=beta)
    held = builder.clamped("held", 2)
    assert held == 2
    assert builder.build().margins().boltzmann is expected


def dense_extremes(program: Program) -> tuple[float, float, float, float]:
    topology, tables = program.topology, program.tables
    free = np.concatenate([np.full(m.dim, m.kind == "langevin" and not m.clamped)
                           for m in topology.modules])
    j = coupling_matrix(topology, tables)[np.ix_(free, free)]
    np.testing.assert_allclose(j, j.T, atol=1e-12)
    ours = np.linalg.eigvalsh(j)[[0, -1]]
    k = np.linalg.eigvalsh(np.diag(tables["k2"][free] / 1024) - j)[[0, -1]]
    return float(ours[0]), float(ours[1]), float(k[0]), float(k[1])


@seeded(40)
@given(st.integers(0, 10_000), st.sampled_from([3, 16, 60]))
def test_random_programs_against_dense_algebra(seed: int, max_dim: int) -> None:
    program = random_program(np.random.default_rng(seed), max_dim=max_dim)
    if not any(m.kind == "langevin" and not m.clamped for m in program.topology.modules):
        return
    # Of the program's own gains, whatever its schedule says.
    margins = compute_margins(program.topology, program.tables)
    assert margins.lambda_min is not None
    assert margins.gap is not None
    assert margins.linear_dt_limit is not None
    j_low, j_high, low, high = dense_extremes(program)
    scale = max(1.0, abs(j_low), abs(j_high), abs(low), abs(high))
    assert margins.lambda_min == pytest.approx(j_low, abs=1e-9 * scale)
    assert margins.lambda_max == pytest.approx(j_high, abs=1e-9 * scale)
    assert margins.gap == pytest.approx(low, abs=1e-9 * scale)
    assert margins.linear_dt_limit == pytest.approx(2 / max(high, 2.0**-20), rel=1e-6)


@seeded(30)
@given(st.integers(0, 10_000))
def test_coupling_matrix_entry_by_entry(seed: int) -> None:
    program = random_program(np.random.default_rng(seed), max_dim=9)
    topology, tables = program.topology, program.tables
    scale = 2.0 ** (12 - topology.field_fraction)
    j = np.zeros((topology.units, topology.units))
    for index, bank in enumerate(topology.banks):
        s, t = topology.starts[bank.source], topology.starts[bank.target]
        block = np.zeros((topology.modules[bank.target].dim, topology.modules[bank.source].dim))
        if isinstance(bank, LowRankBank):
            a, b, gain = (tables[f"bank{index}.{n}"].astype(float) for n in ("a", "b", "gain"))
            block = (b * gain) @ a.T * 2.0 ** -(bank.a_fraction + bank.b_fraction
                                                + bank.gain_fraction)
        elif isinstance(bank, BandBank):
            for offset, row in zip(bank.offsets, tables[f"bank{index}.w"]):
                for i, w in enumerate(row):
                    if 0 <= i + offset < block.shape[1]:
                        block[i, i + offset] += w * scale
        else:
            pointers = tables[f"bank{index}.indptr"]
            for i in range(len(block)):
                for e in range(pointers[i], pointers[i + 1]):
                    block[i, tables[f"bank{index}.indices"][e]] += (
                        tables[f"bank{index}.weights"][e] * scale
                    )
        rows, columns = slice(t, t + block.shape[0]), slice(s, s + block.shape[1])
        j[rows, columns] += block
        j[columns, rows] += block.T
    np.testing.assert_allclose(coupling_matrix(topology, tables), j, rtol=1e-12, atol=1e-9)
    x = np.random.default_rng(seed).standard_normal((topology.units, 2))
    np.testing.assert_allclose(apply_coupling(topology, tables, x), j @ x, rtol=1e-9, atol=1e-6)


def large_program(n: int, kind: str) -> Program:
    rng = np.random.default_rng(9)
    builder = ProgramBuilder(dt_shift=4)
    if kind == "chain":
        x = builder.langevin("x", n, k2=1.0)
        builder.band(x, x, {1: np.where(np.arange(n) < n - 1, 100 * STEP, 0.0)})
    elif kind == "lattice":
        side = round(math.sqrt(n))
        x = builder.langevin("x", side * side, k2=1.0)
        right = np.tile(np.where(np.arange(side) < side - 1, 50 * STEP, 0.0), side)
        down = np.where(np.arange(side * side) < side * (side - 1), 50 * STEP, 0.0)
        builder.band(x, x, {1: right, side: down})
    else:
        parts = [builder.langevin(f"x{i}", 128, k2=rng.uniform(1, 3, 128)) for i in range(n // 128)]
        for one, two in itertools.pairwise(parts):
            a, b = rng.standard_normal((2, 128, 4)) / math.sqrt(128)
            builder.low_rank(one, two, a, b, rng.uniform(0.1, 0.4, 4))
    return builder.build()


def assert_bounds(margins: Margins, spectrum: tuple[float, float, float, float]) -> None:
    """The intervals lie outside the spectrum, so nothing unstable passes, and within 1 %."""
    j_low, j_high, low, high = spectrum
    assert margins.lambda_max is not None
    assert margins.lambda_min is not None
    assert margins.gap is not None
    assert margins.linear_dt_limit is not None
    tolerance = 0.01 * (j_high - j_low)
    for outside in (margins.lambda_max - j_high, j_low - margins.lambda_min, low - margins.gap,
                    2 / margins.linear_dt_limit - high):
        assert -1e-9 <= outside <= tolerance


@pytest.mark.parametrize("kind", ["chain", "lattice"])
def test_lanczos_bounds_a_known_spectrum(kind: str) -> None:
    n, w = (1280, 100 * STEP) if kind == "chain" else (36, 50 * STEP)
    program = large_program(n if kind == "chain" else n * n, kind)
    assert program.topology.units > module.DENSE_LIMIT
    largest = 2 * w * math.cos(math.pi / (n + 1)) * (1 if kind == "chain" else 2)
    assert_bounds(program.margins(), (-largest, largest, 1 - largest, 1 + largest))


def test_lanczos_bounds_the_dense_spectrum() -> None:
    program = large_program(1152, "low-rank")
    assert program.topology.units > module.DENSE_LIMIT
    assert_bounds(program.margins(), dense_extremes(program))


def test_error_scale_of_a_large_program_is_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    program = large_program(384, "low-rank")
    dense = program.margins()
    monkeypatch.setattr(module, "DENSE_LIMIT", 100)
    assert_bounds(program.margins(), dense_extremes(program))
    bound = program.margins().error_scale
    assert bound is not None
    assert dense.error_scale is not None
    assert bound >= dense.error_scale


def test_lanczos_of_an_exhausted_space(monkeypatch: pytest.MonkeyPatch) -> None:
    # One eigenvalue only: the space ends after a step.
    monkeypatch.setattr(module, "DENSE_LIMIT", 4)
    margins = chain(30, 0.0, k2=2.0).margins()
    assert margins.lambda_max == pytest.approx(0.0, abs=1e-9)
    assert margins.gap == pytest.approx(2.0)


def test_margins_of_a_schedule_are_those_of_its_worst_row() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 6, 1))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)

    def program(gain: list[float], schedule: Any) -> Program:
        builder = ProgramBuilder()
        x, y = builder.langevin("x", 6), builder.langevin("y", 6)
        # The same projections, so that every program has the same fractions.
        builder.low_rank(x, y, a, b, gain, schedule=schedule, projections=(8.0, 8.0))
        return builder.build()

    worst = program([0.2], [[0.2], [0.9], [-0.5]]).margins()
    assert worst.gap == pytest.approx(0.1, abs=0.01)
    worst.check()
    bad = program([0.2], [[0.2], [1.1], [0.0]])
    with pytest.raises(UnstableError, match="no stable equilibrium"):
        bad.margins().check(force=True)
    own = compute_margins(bad.topology, bad.tables)
    assert own.gap == pytest.approx(0.8, abs=0.01)


def test_a_schedule_into_a_clamped_module_does_not_matter() -> None:
    builder = ProgramBuilder()
    x, held = builder.langevin("x", 2), builder.clamped("held", 2)
    builder.low_rank(x, held, np.eye(2), np.eye(2), [0.1, 0.1], schedule=[[9.0, 9.0]])
    margins = builder.build().margins()
    assert margins.gap == pytest.approx(1.0)
    margins.check()


def test_what_discs_call_stable_is_stable_by_eigenvalues() -> None:
    proved, refused, unproved = 0, 0, 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        builder = ProgramBuilder(dt_shift=int(rng.integers(0, 5)))
        dims = rng.integers(1, 20, 3)
        clamped = builder.clamped("c", 5)
        free = [builder.langevin(f"m{n}", int(dim), k2=rng.uniform(0.5, 2, int(dim)),
                                 k4=rng.choice([0.0, 0.3], int(dim)),
                                 x_max=float(rng.choice([1, 8])))
                for n, dim in enumerate(dims)]
        for s, t in ((0, 1), (1, 2), (2, 2), (0, 1)):
            a, b = (rng.standard_normal((int(dims[m]), 3)) for m in (s, t))
            gain = rng.normal(0, rng.choice([0.002, 0.05, 0.3]), 3)
            builder.low_rank(free[s], free[t], a, b, gain)
        builder.low_rank(clamped, free[0], rng.standard_normal((5, 2)),
                         rng.standard_normal((int(dims[0]), 2)), [5.0, 5.0])
        program = builder.build()
        for force in (False, True):
            try:
                program.margins().check(force=force)
                stable = True
            except UnstableError:
                stable = False
            proof = certainly_stable(program.topology, program.tables, force=force)
            assert stable or not proof, seed
            proved, refused = proved + proof, refused + (not stable)
            unproved += stable and not proof
    assert min(proved, refused, unproved) > 10, (proved, refused, unproved)


def test_discs_say_nothing_of_other_banks_and_of_no_langevin_unit() -> None:
    program = chain(5, STEP)
    assert not certainly_stable(program.topology, program.tables)
    program.check()
    builder = ProgramBuilder()
    builder.pbit("p", 3)
    program = builder.build()
    assert not certainly_stable(program.topology, program.tables)
    program.check()

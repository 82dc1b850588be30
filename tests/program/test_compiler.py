"""The quantiser, the builder and the colouring: shapes, ranges, signs, errors."""

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import FAST_ENGINES, seeded
from pbitstream.compiler.builder import ProgramBuilder, colour_phases
from pbitstream.compiler.quantise import quantise_low_rank, quantise_weights
from pbitstream.coupling import coupling_matrix
from pbitstream.devices.random_programs import random_program
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.spec.noise import noise_temperature
from pbitstream.spec.topology import BandBank, LowRankBank, Module, Topology
from pbitstream.spec.words import FACTOR_LIMIT

sizes = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40),
                  st.integers(1, 6), st.sampled_from([16, 18, 20, 22]), st.floats(-8, 2))


@seeded(150)
@given(sizes)
def test_low_rank_reconstruction(draw: tuple[int, int, int, int, int, float]) -> None:
    seed, dim_s, dim_t, rank, fraction, size = draw
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((dim_s, rank)), rng.standard_normal((dim_t, rank))
    gain = rng.standard_normal(rank) * 2.0**size
    tables = quantise_low_rank(a, b, gain, source=0, target=1, field_fraction=fraction,
                               limits=(8.0, 8.0))
    bank = tables.bank
    for table, shape in ((tables.a, (dim_s, rank)), (tables.b, (dim_t, rank)),
                         (tables.gain, (rank,))):
        assert table.shape == shape
        assert table.dtype == np.int16
    assert max(np.abs(tables.a).max(), np.abs(tables.b).max()) <= 511
    # Every column of a factor uses the full range, so int10 is as good as it can be.
    assert (np.abs(tables.a).max(axis=0) == 511).all()
    assert (np.abs(tables.b).max(axis=0) == 511).all()
    Topology((Module("s", "langevin", dim_s), Module("t", "langevin", dim_t)), (bank,),
             ((0, 1),), fraction)
    got = (tables.b * 2.0**-bank.b_fraction * tables.gain * 2.0**-bank.gain_fraction) @ (
        tables.a.T * 2.0**-bank.a_fraction
    )
    exact = (b * gain) @ a.T
    # Half a code of each factor, 1/1022 of its column's largest, and half a code of the gain.
    top = np.abs(a).max(axis=0) * np.abs(b).max(axis=0)
    bound = (np.abs(gain) * top * (1 / 511 + 1 / 1022**2)).sum()
    bound += rank * 2.0 ** (-bank.gain_fraction - 1)
    assert np.abs(got - exact).max() <= bound * (1 + 1e-9)
    # The sign of every component is kept.
    kept = tables.gain != 0
    np.testing.assert_array_equal(np.sign(tables.gain[kept]), np.sign(gain[kept]))


def test_gains_are_as_fine_as_int16_allows() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 16, 3))
    for size in (0.01, 0.1, 1.0):
        tables = quantise_low_rank(a, b, np.full(3, size), source=0, target=1, field_fraction=20,
                                   limits=(8.0, 8.0))
        bank = tables.bank
        r1, r2, r3, r4 = bank.shifts(20)
        # One more bit would leave int16 or a shift.
        assert np.abs(tables.gain).max() >= 1 << 14 or 30 in (r2, r4)
        assert min(r1, r3) >= 0


def test_a_schedule_shares_the_format_of_the_gains() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((2, 8, 2))
    rows = np.array([[0.1, 0.2], [3.0, -0.5], [0.0, 0.0]])
    tables = quantise_low_rank(a, b, rows[0], source=0, target=1, field_fraction=20,
                               limits=(8.0, 8.0), schedule=rows)
    assert tables.schedule is not None
    assert tables.schedule.shape == (3, 2)
    np.testing.assert_array_equal(tables.schedule[0], tables.gain)
    assert not tables.schedule[2].any()
    ratio = tables.schedule[1] / tables.schedule[0]
    np.testing.assert_allclose(ratio, rows[1] / rows[0], rtol=1e-3)


@pytest.mark.parametrize(("parts", "message"), [
    ((np.ones((3, 2)), np.ones((4, 3)), np.ones(2)),
     ("a, b and gain must have shapes (dim_s, rank),"
      " (dim_t, rank), (rank,), not (3, 2), (4, 3), (2,)")),
    ((np.ones(3), np.ones((4, 1)), np.ones(1)), "a, b and gain must have shapes"),
    ((np.ones((3, 1)), np.ones((4, 1)), np.ones(2)), "a, b and gain must have shapes"),
    ((np.full((3, 1), np.nan), np.ones((4, 1)), np.ones(1)), "factors must be finite"),
    ((np.ones((3, 1)), np.full((4, 1), np.inf), np.ones(1)), "factors must be finite"),
    ((np.ones((3, 1)), np.ones((4, 1)), np.full(1, 1e9)),
     ("gain times column norms reaches 1.00392e+09, too large for any "
      "shift; scale the couplings down or use fewer fraction bits F")),
    ((np.ones((3, 1)), np.ones((4, 1)), np.full(1, np.nan)), ""),
    ((np.ones((3, 1)), np.ones((4, 1)), np.full(1, np.inf)), ""),
])
def test_what_cannot_be_quantised(parts: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}.*"):
        quantise_low_rank(*parts, source=0, target=1, field_fraction=20, limits=(8.0, 8.0))


def test_a_schedule_of_another_rank_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^schedule must have shape \(rows, 1\), not \(2, 3\)$"):
        quantise_low_rank(np.ones((3, 1)), np.ones((4, 1)), np.ones(1), source=0, target=1,
                          field_fraction=20, limits=(8.0, 8.0), schedule=np.ones((2, 3)))


@seeded(100)
@given(st.lists(st.floats(-7.9, 7.9), min_size=1, max_size=9), st.sampled_from([16, 18, 20, 22]))
def test_weights(values: list[float], fraction: int) -> None:
    raw = quantise_weights(np.array(values), fraction, "weight")
    assert raw.dtype == np.int16
    assert np.abs(raw * 2.0 ** (12 - fraction) - values).max() <= 2.0 ** (11 - fraction)
    with pytest.raises(SpecError, match=r"^weight must be between"):
        quantise_weights(np.array([2.0 ** (27 - fraction)]), fraction, "weight")


@pytest.mark.parametrize("bank", ["band", "low-rank", "sparse"])
@pytest.mark.parametrize("sign", [1, -1])
def test_energy_sign_of_spins(bank: str, sign: int) -> None:
    # E = -J m1 m2: a positive coupling aligns.
    builder = ProgramBuilder()
    one, two = builder.pbit("one", 4, beta=2.0), builder.pbit("two", 4, beta=2.0)
    if bank == "band":
        builder.band(one, two, {0: [0.75 * sign] * 4})
    elif bank == "low-rank":
        builder.low_rank(one, two, np.eye(4), np.eye(4), [0.75 * sign] * 4)
    else:
        builder.sparse(one, two, np.arange(5), np.arange(4), [0.75 * sign] * 4)
    program = builder.build()
    j = coupling_matrix(program.topology, program.tables)
    np.testing.assert_allclose(j[:4, 4:], 0.75 * sign * np.eye(4), atol=1e-3)
    np.testing.assert_allclose(j[4:, :4], 0.75 * sign * np.eye(4), atol=1e-3)
    with Emulator(engine=FAST_ENGINES[-1]) as device:
        device.load(program)
        readout = device.relax([[1.0] * 4 + [0.0] * 4], steps=400, burn_in=20,
                               seed=3, chains=4)
    # P(m1 = +1) is near 1, so <m2> is near tanh(2 * 0.75) = 0.905.
    assert readout.mean[0, :4].min() > 0.8
    assert (sign * readout.mean[0, 4:]).min() > 0.7


@pytest.mark.parametrize("w", [0.5, -0.5])
def test_energy_sign_of_langevin_units(w: float) -> None:
    # E = (x^2 + y^2) / 2 - h x - w x y: x = h / (1 - w^2), y = w x.
    builder = ProgramBuilder()
    one, two = (builder.langevin(name, 1, temperature=0.0) for name in ("one", "two"))
    builder.band(one, two, {0: [w]})
    with Emulator(engine="numpy") as device:
        device.load(builder.build())
        state = device.relax([[0.75, 0.0]], steps=1, burn_in=400, seed=0).state.units[0] * 2.0**-20
    expected = 0.75 / (1 - w * w) * np.array([1.0, w])
    np.testing.assert_allclose(state, expected, atol=1e-3)


def test_a_self_band_gives_an_edge_once() -> None:
    builder = ProgramBuilder()
    x = builder.langevin("x", 3)
    builder.band(x, x, {1: [0.25, 0.125, 0.0], 0: [0.0625] * 3})
    program = builder.build()
    expected = [[0.125, 0.25, 0], [0.25, 0.125, 0.125], [0, 0.125, 0.125]]
    np.testing.assert_array_equal(coupling_matrix(program.topology, program.tables), expected)


def test_builder_writes_what_it_was_given() -> None:
    builder = ProgramBuilder(dt_shift=2, field_fraction=18)
    x = builder.langevin("x", 3, k2=[1.0, 2.0, 0.5], k4=0.25, temperature=0.02, x_max=2.0,
                         scale=2.0, offset=[0.0, 1.0, -1.0])
    p = builder.pbit("p", 2, beta=1.25)
    held = builder.clamped("held", 2, kind="pbit")
    builder.band(x, p, {0: [0.5, -0.5], 1: 0.25})
    builder.band(held, p, {0: 1.0})
    program = builder.build(steps=9, burn_in=3, provenance={"a": "b"})
    topology, tables = program.topology, program.tables
    assert (x, p, held) == (0, 1, 2)
    assert topology.modules == (Module("x", "langevin", 3), Module("p", "pbit", 2),
                                Module("held", "pbit", 2, clamped=True))
    assert topology.banks == (BandBank(0, 1, (0, 1)), BandBank(2, 1, (0,)))
    assert (topology.field_fraction, topology.dt_shift) == (18, 2)
    assert topology.phases == ((0,), (1,))
    assert tables["k2"].tolist() == [1024, 2048, 512, 0, 0, 0, 0]
    assert tables["k4"].tolist() == [1024] * 3 + [0] * 4
    assert tables["beta"].tolist() == [0, 5120, 0]
    assert tables["x_max"].tolist() == [8192, 0, 0]
    assert tables["scale"].tolist() == [2.0] * 3 + [1.0] * 4
    assert tables["offset"].tolist() == [0.0, 1.0, -1.0, 0, 0, 0, 0]
    assert tables["bank0.w"].tolist() == [[32, -32], [16, 16]]
    temperature = noise_temperature(int(tables["noise_gain"][0]), int(tables["noise_shift"][0]), 2)
    assert temperature == pytest.approx(0.02, rel=2.0**-12)
    assert (program.steps, program.burn_in, program.provenance) == (9, 3, {"a": "b"})


def test_builder_refusals() -> None:
    builder = ProgramBuilder()
    x = builder.langevin("x", 3)
    with pytest.raises(SpecError, match=r"^module must be between 0 and 0, not 1$"):
        builder.band(x, 1, {0: 0.5})
    with pytest.raises(SpecError, match=r"^k2 must be between 0 and 31.999, not 32$"):
        builder.langevin("y", 2, k2=32.0)
    with pytest.raises(SpecError, match=r"^beta must be between 0 and 15.9998, not 16$"):
        builder.pbit("y", 2, beta=16.0)
    with pytest.raises(SpecError, match=r"^temperature must be finite and not negative, not -1.0$"):
        builder.langevin("y", 2, temperature=-1.0)
    with pytest.raises(SpecError, match=r"^weight must be between"):
        builder.band(x, x, {0: 200.0})
    # Nothing of that was added.
    assert builder.build().topology.modules == (Module("x", "langevin", 3),)
    other = ProgramBuilder()
    y = other.langevin("y", 2)
    other.low_rank(y, y, np.eye(2), np.eye(2), [0.1, 0.1], schedule=np.full((2, 2), 0.1))
    other.low_rank(y, y, np.eye(2), np.eye(2), [0.1, 0.1], schedule=np.full((3, 2), 0.1))
    with pytest.raises(SpecError, match=r"^gain schedules must have one length, not \[2, 3\]$"):
        other.build()


def test_banks_without_a_schedule_keep_their_gains_in_it() -> None:
    builder = ProgramBuilder()
    x, y = builder.langevin("x", 2), builder.langevin("y", 2)
    builder.low_rank(x, y, np.eye(2), np.eye(2), [0.1, 0.2])
    builder.low_rank(x, y, np.ones((2, 1)), np.ones((2, 1)), [0.1], schedule=[[0.1], [0.0]])
    tables = builder.build().tables
    for row in tables["schedule.gain"]:
        np.testing.assert_array_equal(row[0], tables["bank0.gain"])
    assert tables["schedule.gain"][:, 1].tolist() == [[tables["bank1.gain"][0], 0], [0, 0]]


def test_gains_times_their_scale_are_the_tables() -> None:
    """A column of zeros, or of next to nothing, keeps a scale that is a number."""
    rng = np.random.default_rng(0)
    a, b, gain = rng.normal(size=(5, 4)), rng.normal(size=(3, 4)), np.array([0.1, -0.2, 0.3, 0.4])
    a[:, 2], b[:, 3] = 0.0, 5e-324
    builder = ProgramBuilder()
    x, y = builder.langevin("x", 5), builder.langevin("y", 3)
    index = builder.low_rank(x, y, a, b, gain)
    program = builder.build()
    bank = program.topology.banks[index]
    assert isinstance(bank, LowRankBank)
    given = np.rint(gain * builder.gain_scale(index) * 2.0**bank.gain_fraction)
    np.testing.assert_array_equal(given, program.tables["bank0.gain"])
    assert not program.tables["bank0.a"][:, 2].any()
    assert not program.tables["bank0.b"][:, 3].any()
    assert (np.abs(program.tables["bank0.a"][:, [0, 1, 3]]).max(axis=0) == FACTOR_LIMIT).all()


@seeded(150)
@given(st.integers(0, 2**32 - 1))
def test_colour_phases_are_proper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 12))
    modules = tuple(
        Module(f"m{i}", "pbit" if rng.random() < 0.7 else "langevin", 1, bool(rng.random() < 0.2))
        for i in range(count)
    )
    banks = tuple(
        BandBank(i, j, (0,)) for i, j in itertools.combinations(range(count), 2)
        if rng.random() < 0.3
    )
    phases = colour_phases(modules, banks)
    free = [i for i, m in enumerate(modules) if not m.clamped]
    assert sorted(i for phase in phases for i in phase) == free
    phase_of = {i: n for n, phase in enumerate(phases) for i in phase}
    degree = [0] * count
    for bank in banks:
        degree[bank.source] += 1
        degree[bank.target] += 1
        ends = bank.source, bank.target
        if any(modules[e].clamped for e in ends):
            continue
        if any(modules[e].kind == "pbit" for e in ends):
            assert phase_of[bank.source] != phase_of[bank.target]
    langevin = {phase_of[i] for i in free if modules[i].kind == "langevin"}
    assert len(langevin) <= 1
    # Greedy needs at most one colour more than the largest degree, and one for Langevin units.
    assert len(phases) <= max(degree, default=0) + 2
    if free:
        Topology(modules, banks, phases)


def test_two_colours_of_a_chain() -> None:
    modules = [Module(f"m{i}", "pbit", 1) for i in range(5)]
    banks = [BandBank(i, i + 1, (0,)) for i in range(4)]
    assert colour_phases(modules, banks) == ((0, 2, 4), (1, 3))


@seeded(30)
@given(st.integers(0, 10_000))
def test_random_programs_hold_only_shifts_of_the_spec(seed: int) -> None:
    program = random_program(np.random.default_rng(seed), max_dim=16)
    for bank in program.topology.banks:
        if isinstance(bank, LowRankBank):
            r1, r2, r3, r4 = bank.shifts(program.topology.field_fraction)
            assert r1 + r2 == r3 + r4
            assert 0 <= min(r1, r3) <= max(r1, r3) <= 22
            assert 0 <= min(r2, r4) <= max(r2, r4) <= 30
    assert math.isfinite(program.margins().headroom_bits)

"""Lowered problems: exact energies, ranges and maps, and the Boltzmann law on the emulator."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import seeded
from lattices import lattice, random_problem, random_spins
from pbitstream.coupling import coupling_matrix
from pbitstream.devices.protocol import State
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.ising import Problem, lower
from pbitstream.spec.words import PBIT_INPUT
from physics_reference import (
    assert_within,
    ising_law,
    plug_in_divergence,
    scatter,
    spin_states,
    state_numbers,
)

CHAINS, DRAWS, THIN, BURN_IN = 4096, 32, 6, 100


def fields(lowered, units):
    """Return the program's fields of the free units, by a dense J, for units 0 or 1."""
    topology = lowered.program.topology
    m = 2.0 * units - 1
    j = coupling_matrix(topology, lowered.program.tables)
    return (m @ j + lowered.h[0])[..., : lowered.problem.n]


def program_energy(lowered, spins):
    """Return the energies that the program's own integers give states, in the problem's units."""
    n = lowered.problem.n
    units = lowered.units(spins)
    m = 2.0 * units - 1
    j = coupling_matrix(lowered.program.topology, lowered.program.tables)
    free, held = j[:n, :n], j[:n, n:]
    energy = -np.einsum("si,ij,sj->s", m[:, :n], free, m[:, :n]) / 2
    energy -= m[:, :n] @ lowered.h[0, :n] + np.einsum("si,ij,sj->s", m[:, :n], held, m[:, n:])
    return energy / lowered.scale + lowered.problem.offset


@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(0, 1), st.sampled_from([0, 9, 200]))
@seeded(60)
def test_the_programs_energies_are_the_problems(seed, n, density, bias):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, n, density=density, bias=bias)
    lowered = lower(problem)
    spins = random_spins(rng, 20, n)
    assert lowered.loss.largest == lowered.loss.relative == 0
    assert np.array_equal(program_energy(lowered, spins), problem.energy(spins))


@given(st.integers(0, 10_000), st.integers(2, 30), st.sampled_from([0, 2, 50]),
       st.sampled_from([1e-9, 0.3, 1.0, 1e6]))
@seeded(60)
def test_what_cannot_be_exact_is_within_the_loss(seed, n, bias, size):
    rng = np.random.default_rng(seed)
    draw = random_problem(rng, n, whole=False, bias=bias)
    problem = Problem.from_edges(draw.first, draw.second, draw.weight * size, n=n, h=draw.h * size)
    lowered = lower(problem, tolerance=1.0)
    j = coupling_matrix(lowered.program.topology, lowered.program.tables) / lowered.scale
    found = j[lowered.order[problem.first], lowered.order[problem.second]]
    errors = np.abs(found - problem.weight).max(initial=0)
    spins = random_spins(rng, 20, n)
    worst = lowered.loss.largest * (problem.edges + n)
    difference = program_energy(lowered, spins) - problem.energy(spins)
    assert errors <= lowered.loss.largest
    assert np.abs(difference).max() <= worst + 1e-9 * size
    largest = np.abs(problem.weight if problem.edges else problem.h).max()
    assert lowered.loss.relative * largest == pytest.approx(lowered.loss.largest)
    if not bias:
        # Up to 30 neighbours leave 22 - 12 fraction bits to couplings of about 1.
        assert lowered.loss.relative < 1 / 256


@given(st.integers(0, 10_000), st.integers(1, 40), st.booleans(), st.sampled_from([0, 9, 300]))
@seeded(60)
def test_no_field_can_clip(seed, n, whole, bias):
    rng = np.random.default_rng(seed)
    lowered = lower(random_problem(rng, n, density=0.9, whole=whole, bias=bias), tolerance=1.0)
    j = coupling_matrix(lowered.program.topology, lowered.program.tables)
    worst = (np.abs(j).sum(axis=1) + np.abs(lowered.h[0]))[:n]
    assert worst.max() <= PBIT_INPUT.value(PBIT_INPUT.highest)
    # A p-bit sees its field on 10 fraction bits: nothing is left for it to round.
    units = rng.integers(0, 2, (8, lowered.program.topology.units))
    seen = fields(lowered, units) * 2**PBIT_INPUT.fraction
    assert np.array_equal(seen, np.floor(seen))


SCALES = [
    # Couplings of the problem, biases, the scale wanted, fraction bits.
    ([1.0, -1.0], None, 1.0, 20),
    ([0.125, 0.125], None, 8.0, 20),
    ([3.0, -5.0], None, 0.25, 20),
    ([1000.0, 1.0], None, 2.0**-9, 22),
    ([30000.0, 1.0], None, 2.0**-10, 22),
    ([1.0], [2.0**-10, 0], 1.0, 20),
    ([0.3, 0.7], None, 2.0, 22),
    ([1e-270], None, 2.0**897, 22),
    ([], [0.0, 5.0, 0.0], 0.25, 20),
    ([], [0.0, 0.0, 0.0], 1.0, 20),
    ([1.0, 1.0], [0.0, 100.0, 0.0], 1.0, 20),
    ([1.0, 1.0], [0.0, 200.0, 0.0], 0.5, 20),
]


@pytest.mark.parametrize(("weight", "h", "scale", "fraction"), SCALES, ids=range(len(SCALES)))
def test_the_scale_is_a_power_of_two_that_keeps_couplings_near_one(weight, h, scale, fraction):
    ends = np.arange(len(weight))
    lowered = lower(Problem.from_edges(ends, ends + 1, weight, h=h))
    assert lowered.scale == scale
    assert lowered.program.topology.field_fraction == fraction


def test_a_loss_above_the_tolerance_is_refused():
    first, second = np.triu_indices(60, 1)
    weight = np.random.default_rng(1).choice([1000.0, 1.3], len(first))
    problem = Problem.from_edges(first, second, weight)
    with pytest.raises(SpecError, match=r"of the largest coupling; allow more, or split") as caught:
        lower(problem, tolerance=1e-4)
    least, given = re.match(r"tolerance must be at least (\S+) here, not (\S+):",
                            str(caught.value)).groups()
    assert given == "0.0001"
    assert lower(problem, tolerance=float(least)).loss.relative <= float(least)
    lowered = lower(problem)
    assert 1e-4 < lowered.loss.relative < 2.0**-8
    for tolerance in (-1, np.nan, np.inf):
        with pytest.raises(SpecError, match="tolerance must be at least 0"):
            lower(problem, tolerance=tolerance)


def test_numbers_of_absurd_size_are_refused():
    for weight, message in ((1e300, "at most"), (5e-324, "weights change")):
        with pytest.raises(SpecError, match=message):
            lower(Problem.from_edges([0], [1], weight))


def test_biases_out_of_range_are_carried_by_constant_p_bits():
    h = np.zeros(40)
    path = [np.arange(39), np.arange(1, 40)]
    assert lower(Problem.from_edges(*path, h=h)).clamp is None
    h[7], h[9] = 20, -30
    lowered = lower(Problem.from_edges(*path, h=h))
    one = lowered.program.topology.modules[-1]
    # Units 3 and 4 of their class, next to each other: one offset, a p-bit each.
    assert (one.name, one.kind, one.dim, one.clamped) == ("one", "pbit", 2, True)
    assert lowered.clamp.tolist() == [[1, 1]]
    assert lowered.forms[-1] == (
        "constants and class 0: 2 couplings as a band of 1 offset, 2 words")
    assert not lowered.fits_boards
    far = np.zeros(40)
    far[1], far[39] = 20, -30
    lowered = lower(Problem.from_edges(*path, h=far))
    assert lowered.program.topology.modules[-1].dim == 1
    assert "as a band of 2 offsets, 2 words" in lowered.forms[-1]


def test_spins_and_units_are_inverse():
    rng = np.random.default_rng(2)
    problem = random_problem(rng, 30, bias=40)
    lowered = lower(problem)
    spins = random_spins(rng, 3, 2, 30)
    units = lowered.units(spins)
    assert units.dtype == np.int32
    assert units.shape == (3, 2, lowered.program.topology.units)
    assert np.array_equal(lowered.spins(units), spins)
    assert sorted(lowered.order.tolist()) == list(range(30))
    for index, spin in enumerate(spins[0, 0]):
        assert 2 * units[0, 0, lowered.order[index]] - 1 == spin
    # A relaxation goes on from units made of spins.
    with Emulator() as device:
        device.load(lowered.program)
        noise = device.relax(lowered.h, clamp=lowered.clamp, steps=1, seed=1).state.noise
        device.relax(lowered.h, clamp=lowered.clamp, steps=1, seed=1,
                     state=State(lowered.units(spins[0, :1]), noise))
    for call, message in (
        (lambda: lowered.units(spins[..., :9]), "spins must have shape (..., 30), not (3, 2, 9)"),
        (lambda: lowered.units(spins * 0), "spins must be -1 or +1"),
        (lambda: lowered.spins([1]), "units must have shape (..., "),
    ):
        with pytest.raises(SpecError, match=re.escape(message)):
            call()


def test_the_programs_beta_is_that_of_the_problem_over_the_scale():
    lowered = lower(Problem.from_edges([0, 1], [1, 2], [0.125, 0.125], h=[1, 0, 30]))
    assert lowered.scale == 4
    assert lowered.beta_max == 65535 / 4096 * 4
    assert lowered.beta_of(2) == 0.5
    assert lowered.beta_of(lowered.beta_max) == 65535 / 4096
    assert lowered.beta_of(1e-9) == 0
    for beta in (-0.1, 64, np.nan):
        with pytest.raises(SpecError, match=re.escape("beta must be between 0 and 63.999")):
            lowered.beta_of(beta)
    beta = lowered.settings(2).beta
    assert beta[:2] == [0.5, 0.5]
    assert np.isnan(beta[2])


@given(st.integers(0, 10_000), st.integers(1, 8), st.sampled_from([0.25, 1, 3, 6]))
@seeded(60)
def test_multiples_of_beta_step_lie_on_the_threshold_table(seed, n, size):
    rng = np.random.default_rng(seed)
    draw = random_problem(rng, n)
    problem = Problem.from_edges(draw.first, draw.second, draw.weight * size, n=n, h=draw.h * size)
    lowered = lower(problem)
    step = lowered.beta_step
    units = np.ones((1 << n, lowered.program.topology.units))
    units[:, lowered.order] = (spin_states(n) + 1) / 2
    for multiple in (1, 3):
        if multiple * step <= lowered.beta_max:
            beta = lowered.beta_of(multiple * step)
            assert beta * lowered.scale == multiple * step
            index = beta * fields(lowered, units) * 128
            assert np.array_equal(index, np.round(index))


def test_beta_steps_that_are_known():
    assert lower(lattice(6, 6)).beta_step == 1 / 256
    assert lower(lattice(6, 6, periodic=False)).beta_step == 1 / 128
    assert lower(Problem.from_edges([0], [1], 0.1)).beta_step is None
    assert lower(Problem.from_edges([], [], n=2)).beta_step == 2.0**-12


def test_boards_and_what_they_cannot_hold():
    assert lower(lattice(32, 32)).fits_boards == ""
    assert lower(lattice(64, 64)).fits_boards == ""
    assert lower(lattice(66, 66)).fits_boards.startswith("units (each module rounded up to rows of")
    assert lower(lattice(32, 32), banks="sparse").fits_boards.startswith("bank 0 is sparse")


def test_what_lower_refuses():
    first, second = np.triu_indices(257, 1)
    with pytest.raises(SpecError, match="colour classes must be at most 256, not 257; so dense"):
        lower(Problem.from_edges(first, second))
    with pytest.raises(SpecError, match="banks must be auto or sparse, not band"):
        lower(lattice(4, 4), banks="band")
    with pytest.raises(SpecError, match="coupled p-bits must have different colours"):
        lower(lattice(4, 4), colouring=np.zeros(16, int))


def test_what_a_program_says_of_its_origin():
    lowered = lower(Problem.from_edges([0], [1], name="two", source="two.txt"))
    assert dict(lowered.program.provenance) == {"problem": "two", "source": "two.txt",
                                                "scale": "1.0"}
    assert repr(lowered) == "<Lowered: 2 p-bits in 2 classes, 1 banks, scale 1, loss 0>"


@pytest.mark.parametrize("bias", [3, 24])
def test_a_random_graph_samples_the_boltzmann_law(bias):
    seed, beta = 17, 1 / 8
    problem = random_problem(np.random.default_rng(11), 10, density=0.5, bias=bias)
    lowered = lower(problem)
    assert (lowered.clamp is not None) == (bias > 16)
    assert (beta / lowered.beta_step) % 1 == 0
    draws = []
    with Emulator() as device:
        device.load(lowered.program)
        call = {"h": lowered.h, "clamp": lowered.clamp, "settings": lowered.settings(beta),
                "seed": seed, "chains": CHAINS}
        out = device.relax(**call, steps=1, burn_in=BURN_IN)
        for _ in range(DRAWS):
            out = device.relax(**call, steps=THIN, state=out.state)
            draws.append(lowered.spins(out.state.units))
    spins = np.array(draws)
    law = ising_law(problem.matrix(), problem.h, beta)
    divergence, floor = plug_in_divergence(state_numbers(spins > 0), law)
    assert divergence < 2 * floor, f"KL {divergence:.2e}, floor {floor:.2e}, seed {seed}"
    states = spin_states(10)
    value, error = scatter(spins.mean(axis=0))
    assert_within(value, law @ states, error, seed=seed, what="magnetisation of spin ")
    value, error = scatter(problem.energy(spins).mean(axis=0))
    assert_within(value, law @ problem.energy(states), error, seed=seed, what="energy")
    # The samples tell this law from that of couplings 3 % larger.
    other = ising_law(1.03 * problem.matrix(), problem.h, beta)
    assert abs((other - law) @ problem.energy(states)) > 5 * error

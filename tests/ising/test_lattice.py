"""Lattices become bands, other graphs sparse banks, and both run to the same bits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import ENGINES, FAST_ENGINES, seeded
from lattices import lattice, random_problem
from pbitstream.coupling import apply_coupling, coupling_matrix
from pbitstream.emulator.device import Emulator
from pbitstream.ising import Problem, lower, read_problem
from pbitstream.ising.box import box_colouring
from pbitstream.spec.topology import BandBank, SparseBank

DATA = Path(__file__).parent.parent / "data"
#: Neighbours at (0, 1), (4, 1) and (9, 10) and their quarter turns: 12 of them, all odd.
TWELVE = [(0, 1), (1, 0), (4, 1), (1, -4), (9, 10), (10, -9)]
#: Neighbours up to a knight's reach without it: 12, with odd cycles.
DIAMOND = [(0, 1), (1, 0), (1, 1), (1, -1), (2, 0), (0, 2)]


def kinds(lowered):
    return {type(bank) for bank in lowered.program.topology.banks}


def couplings_of(lowered):
    """Return J and the bias of the p-bits, in the problem's units and order, from the program."""
    topology = lowered.program.topology
    j = coupling_matrix(topology, lowered.program.tables) / lowered.scale
    bias = lowered.h[0] / lowered.scale
    n = lowered.problem.n
    if lowered.clamp is not None:
        bias[:n] += j[:n, n:] @ lowered.clamp[0]
    return j[np.ix_(lowered.order, lowered.order)], bias[lowered.order]


def assert_couplings(lowered):
    """Assert that fields of random whole states are exactly those of the problem's edges."""
    problem, topology = lowered.problem, lowered.program.topology
    x = np.random.default_rng(0).integers(-99, 100, (problem.n, 3)).astype(float)
    units = np.zeros((topology.units, 3))
    units[lowered.order] = x
    wanted = np.zeros_like(x)
    weight = problem.weight[:, None] * lowered.scale
    np.add.at(wanted, problem.first, weight * x[problem.second])
    np.add.at(wanted, problem.second, weight * x[problem.first])
    found = apply_coupling(topology, lowered.program.tables, units)
    assert np.array_equal(found[lowered.order], wanted)


def same_bits(problem, engine, *, seed, steps=3, chains=2, **arguments):
    """Assert that a problem runs to the same bits with bands and with sparse banks."""
    found = []
    for banks in ("auto", "sparse"):
        lowered = lower(problem, banks=banks, **arguments)
        clamp = None if lowered.clamp is None else lowered.clamp
        with Emulator(engine=engine) as device:
            device.load(lowered.program)
            out = device.relax(lowered.h, clamp=clamp, steps=steps, burn_in=1, seed=seed,
                               chains=chains, settings=lowered.settings(lowered.beta_max / 32))
        assert not any(out.saturated.values())
        free = problem.n
        found.append((out.sums[..., :free], out.state.units[:, :free], out.state.noise))
    for auto, plain in zip(*found):
        assert np.array_equal(auto, plain), f"seed {seed}"


@pytest.mark.parametrize(("problem", "offsets"), [
    (lattice(64, 64), 9), (lattice(64, 64, periodic=False), 5),
    (lattice(63, 63, periodic=False), 4), (lattice(10, 10, 10), 13),
    (lattice(9, 9, 9, periodic=False), 6), (lattice(8, 8, 8, periodic=False), 7),
    (lattice(70, 70, steps=TWELVE), 53), (lattice(200), 3), (lattice(40, 100), 9),
], ids=lambda value: str(value))
def test_a_lattice_of_two_colours_is_one_band(problem, offsets):
    lowered = lower(problem)
    (bank,) = lowered.program.topology.banks
    assert isinstance(bank, BandBank)
    assert len(bank.offsets) == offsets
    assert_couplings(lowered)
    assert f"{problem.edges:,} couplings as a band of {offsets} offsets" in lowered.forms[0]


def test_a_torus_of_five_colours_is_ten_bands():
    problem = lattice(70, 70, steps=DIAMOND)
    row, column = np.divmod(np.arange(problem.n), 70)
    for colouring in (None, (column + 2 * row) % 5):
        lowered = lower(problem, colouring=colouring)
        assert len(lowered.program.topology.modules) == 5
        assert len(lowered.program.topology.banks) == 10
        assert kinds(lowered) == {BandBank}
        assert_couplings(lowered)


def test_g81_is_a_band_but_for_the_edges_that_no_band_reaches():
    lowered = lower(read_problem(DATA / "G81.txt"))
    band, rest = lowered.program.topology.banks
    assert isinstance(band, BandBank)
    assert isinstance(rest, SparseBank)
    # The edges between its first and its last row are 9,950 units long.
    assert rest.entries == 100
    assert "offsets of 4,096 and more" in lowered.forms[1]
    assert lowered.fits_boards.startswith("bank 1 is sparse, and boards compute")


@pytest.mark.parametrize("dims", [(63, 63), (5, 5, 5), (7, 7, 7), (9, 9, 9), (13, 13, 13),
                                  (11, 8), (9, 12, 7), (35,)], ids=str)
def test_a_periodic_lattice_with_an_odd_side_is_three_bands(dims):
    problem = lattice(*dims)
    lowered = lower(problem)
    sizes = np.bincount(lowered.colours)
    assert len(sizes) == 3
    assert sizes.max() <= 1.1 * problem.n / 3
    assert kinds(lowered) == {BandBank}
    assert_couplings(lowered)


def test_a_box_is_told_from_other_graphs():
    assert box_colouring(lattice(9, 9)) is not None
    # Open, with diagonals, without order, and a box whose one wrapped edge more joins one colour.
    assert box_colouring(lattice(9, 9, steps=[(0, 1), (1, 0), (1, 1), (1, -1)])) is None
    assert box_colouring(random_problem(np.random.default_rng(2), 50)) is None
    box = lattice(9, 9)
    more = Problem.from_edges([*box.first, 0], [*box.second, 30], n=81)
    colours = box_colouring(box)
    assert colours[0] == colours[30]
    assert box_colouring(more) is None
    assert box_colouring(Problem.from_edges([], [], n=3)) is None


def test_graphs_without_order_are_sparse():
    rng = np.random.default_rng(4)
    graph = random_problem(rng, 300, density=0.05)
    assert kinds(lower(graph)) == {SparseBank}
    shuffled = lattice(40, 40)
    order = rng.permutation(shuffled.n)
    shuffled = Problem.from_edges(order[shuffled.first], order[shuffled.second],
                                         shuffled.weight)
    lowered = lower(shuffled)
    assert kinds(lowered) == {SparseBank}
    assert "sparse: " in lowered.forms[0]
    assert kinds(lower(lattice(64, 64), banks="sparse")) == {SparseBank}


def test_a_dense_block_is_a_sparse_bank_in_its_full_case():
    first, second = np.divmod(np.arange(100 * 80), 80)
    problem = Problem.from_edges(first, second + 100)
    (bank,) = lower(problem).program.topology.banks
    assert isinstance(bank, SparseBank)
    assert bank.entries == 8000


@given(st.integers(0, 10_000), st.sampled_from(
    [(6, 6), (5, 4), (16, 10), (4, 4, 4), (5, 5), (3, 5, 2), (40,), (9, 31)]), st.booleans(),
    st.sampled_from(FAST_ENGINES))
@seeded(25)
def test_bands_and_sparse_banks_run_to_the_same_bits(seed, dims, periodic, engine):
    same_bits(lattice(*dims, periodic=periodic, seed=seed) if min(dims) > 2 or not periodic
              else lattice(*dims, periodic=False, seed=seed), engine, seed=seed)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_oracle_agrees_on_a_lattice_with_large_biases(engine):
    problem = lattice(6, 7, periodic=False)
    h = np.random.default_rng(1).integers(-20, 21, problem.n)
    problem = Problem.from_edges(problem.first, problem.second, problem.weight, h=h)
    same_bits(problem, engine, seed=7)
    outs = []
    lowered = lower(problem)
    assert lowered.clamp is not None
    for name in ("oracle", engine):
        with Emulator(engine=name) as device:
            device.load(lowered.program)
            outs.append(device.relax(lowered.h, clamp=lowered.clamp, steps=4, seed=2).sums)
    assert np.array_equal(*outs)


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0, 1))
@seeded(40)
def test_every_program_has_the_couplings_and_biases_of_its_problem(seed, n, density):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, n, density=density, bias=int(rng.choice([0, 5, 60])))
    lowered = lower(problem)
    j, h = couplings_of(lowered)
    assert lowered.loss.largest == 0
    assert np.array_equal(j, problem.matrix())
    assert np.array_equal(h, problem.h)

"""Colour classes: proper always, two where two are enough, balanced where asked."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import seeded
from lattices import lattice, random_problem
from pbitstream.errors import SpecError
from pbitstream.ising import Problem, balanced_colouring, check_colouring, greedy_colouring


def random_bipartite(rng, n):
    """Return a random bipartite graph, its parts shuffled."""
    side = rng.random(n) < rng.random()
    first, second = np.nonzero((side[:, None] & ~side[None]) & (rng.random((n, n)) < 0.2))
    return Problem.from_edges(first, second, n=n)


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0, 1))
@seeded(60)
def test_a_greedy_colouring_is_proper_and_small(seed, n, density):
    problem = random_problem(np.random.default_rng(seed), n, density=density)
    for colours in (greedy_colouring(problem), balanced_colouring(problem)):
        assert (colours[problem.first] != colours[problem.second]).all()
        assert set(colours.tolist()) == set(range(int(colours.max()) + 1))
        degree = np.bincount(np.concatenate([problem.first, problem.second]), minlength=n)
        assert colours.max() <= degree.max()
        assert np.array_equal(check_colouring(problem, colours), colours)


@given(st.integers(0, 10_000), st.integers(1, 60))
@seeded(60)
def test_a_bipartite_graph_gets_two_colours(seed, n):
    problem = random_bipartite(np.random.default_rng(seed), n)
    assert greedy_colouring(problem).max() == (1 if problem.edges else 0)


@pytest.mark.parametrize(("dims", "colours"), [
    ((64, 64), 2), ((8, 8, 8), 2), ((7, 9), 3), ((9, 9, 9), 3), ((101,), 3),
])
def test_periodic_lattices(dims, colours):
    assert greedy_colouring(lattice(*dims)).max() + 1 == colours


@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(0, 0.3))
@seeded(40)
def test_balancing_adds_no_colour_and_shrinks_the_largest_class(seed, n, density):
    problem = random_problem(np.random.default_rng(seed), n, density=density)
    greedy = np.bincount(greedy_colouring(problem))
    balanced = np.bincount(balanced_colouring(problem))
    assert len(balanced) == len(greedy)
    assert balanced.max() <= greedy.max()


@pytest.mark.parametrize("problem", [
    lattice(15, 15), lattice(9, 9, 9),
    random_problem(np.random.default_rng(3), 600, density=0.01),
    # Stars of 5 and single p-bits: only whole stars can swap their two colours.
    Problem.from_edges(np.repeat(np.arange(0, 600, 6), 4),
                       np.concatenate([np.arange(i + 1, i + 5) for i in range(0, 600, 6)]), n=600),
], ids=["15x15", "9x9x9", "random", "stars"])
def test_balanced_classes_differ_by_a_few_per_cent(problem):
    sizes = np.bincount(balanced_colouring(problem))
    assert sizes.max() <= 1.03 * problem.n / len(sizes)


def test_a_connected_bipartite_graph_cannot_be_balanced():
    star = Problem.from_edges([0] * 5, [1, 2, 3, 4, 5])
    assert sorted(np.bincount(balanced_colouring(star))) == [1, 5]


def test_balancing_starts_from_a_colouring_that_is_given():
    problem = Problem.from_edges([0], [1], n=9)
    colours = balanced_colouring(problem, [5, 9] + [7] * 7)
    assert np.bincount(colours).tolist() == [3, 3, 3]


def test_the_users_own_colouring_is_checked():
    path = Problem.from_edges([0, 1, 2], [1, 2, 3])
    assert check_colouring(path, [7, -2, 7, 3]).tolist() == [2, 0, 2, 1]
    for colouring, message in (
        ([0, 1, 1, 0],
         "coupled p-bits must have different colours, not both 1 as 1 and 2 (1 such couplings)"),
        ([0, 1, 0], "colouring must be whole numbers of shape (4,), not int64 of shape (3,)"),
        ([0.0, 1, 0, 1], "colouring must be whole numbers of shape (4,), not float64"),
    ):
        with pytest.raises(SpecError, match=re.escape(message)):
            check_colouring(path, colouring)

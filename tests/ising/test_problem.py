"""Problems from every source: energies by the obvious sum, round trips, what is refused."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from engines import seeded
from lattices import random_problem, random_spins
from pbitstream.errors import SpecError
from pbitstream.ising import Problem
from physics_reference import spin_states


def obvious_energy(problem, state):
    """Return the energy of one state by the definition, in Python's numbers."""
    total = problem.offset - sum(h * m for h, m in zip(problem.h.tolist(), state))
    return total - sum(w * state[i] * state[j] for i, j, w in
                       zip(problem.first, problem.second, problem.weight.tolist()))


def qubo_energies(q, n):
    """Return x^T Q x of all states, in the order of `spin_states`."""
    x = (spin_states(n) + 1) / 2
    return np.einsum("si,ij,sj->s", x, q, x)


@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
@seeded(60)
def test_energies_are_the_sums_of_the_definition(seed, n, whole):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, n, whole=whole)
    states = random_spins(rng, 3, 2, n)
    energies = problem.energy(states)
    assert energies.shape == (3, 2)
    wanted = [[obvious_energy(problem, m) for m in row.tolist()] for row in states]
    assert problem.exact == whole
    if whole:
        assert energies.dtype == np.int64
        assert energies.tolist() == wanted
    else:
        np.testing.assert_allclose(energies, wanted, atol=1e-12)
    assert problem.energy(states[0, 0]) == pytest.approx(energies[0, 0], abs=1e-12)


def test_energies_of_many_states_are_summed_in_blocks(monkeypatch):
    rng = np.random.default_rng(5)
    problem = random_problem(rng, 40)
    states = random_spins(rng, 30, 40)
    wanted = problem.energy(states)
    monkeypatch.setattr("pbitstream.ising.problem.STATES", 7)
    monkeypatch.setattr("pbitstream.ising.problem.BLOCK", 64)
    assert np.array_equal(problem.energy(states), wanted)


@pytest.mark.parametrize("n", [9, 150])
def test_the_energy_of_a_state_does_not_depend_on_its_neighbours(n):
    rng = np.random.default_rng(12)
    first, second = np.triu_indices(n, 1)
    problem = Problem.from_edges(first, second, rng.standard_normal(len(first)), h=np.zeros(n))
    states = random_spins(rng, 131, n)
    energies = problem.energy(states)
    for size in (1, 2, 3, 64, 67):
        some = rng.choice(131, size, replace=False)
        assert np.array_equal(problem.energy(states[some]), energies[some]), size
    assert np.array_equal(problem.energy(-states), energies)


def test_sums_of_real_numbers_are_equal_within_the_rounding():
    whole = Problem.from_edges(range(7), np.roll(range(7), -1), -1)
    tenths = Problem.from_edges(range(7), np.roll(range(7), -1), -0.1)
    assert whole.rounding == 0
    assert 0 < tenths.rounding < 1e-10
    states = spin_states(7)
    gap = np.abs(tenths.energy(states) - whole.energy(states) / 10)
    assert gap.max() < tenths.rounding


def test_a_problem_is_canonical_and_immutable():
    given_h = np.array([1.0, 0.0, 2.0])
    problem = Problem(given_h, [2, 0, 2], [0, 1, 1], [1.5, -1, 0], labels=("a", "b", "c"))
    assert problem.first.tolist() == [0, 0]
    assert problem.second.tolist() == [1, 2]
    assert problem.weight.tolist() == [-1, 1.5]
    assert (problem.n, problem.edges) == (3, 2)
    assert not problem.exact
    given_h[0] = 9
    assert problem.h[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        problem.weight[0] = 1
    assert repr(Problem.from_edges([0], [1], name="two")) == (
        "<Problem two: 2 p-bits, 1 couplings>")


def test_energies_are_whole_numbers_only_while_they_are_exact():
    assert Problem.from_edges([0], [1], 2.0**52).exact
    assert not Problem.from_edges([0], [1], 2.0**53).exact
    assert not Problem.from_edges([0], [1], 0.5).exact


REFUSALS = [
    (lambda: Problem.from_edges([], []), "n must be at least 1, not 0: a problem needs a p-bit"),
    (lambda: Problem([], [], [], []), "h must have shape (n,) with at least one p-bit, not (0,)"),
    (lambda: Problem.from_edges([0], [3], n=3), "second must be between 0 and 2, not 3"),
    (lambda: Problem.from_edges([-1], [2]), "first must be between 0 and 2, not -1"),
    (lambda: Problem.from_edges([1], [1]), "an edge must join two p-bits, not 1 to itself"),
    (lambda: Problem.from_edges([0, 1], [1, 0]),
     "a pair must be coupled once, not twice as 0 and 1; add the two weights if both are meant"),
    (lambda: Problem.from_edges([0], [1], np.nan), "weight must be finite, not nan"),
    (lambda: Problem.from_edges([0], [1], h=[np.inf, 0]), "h must be finite, not inf"),
    (lambda: Problem.from_matrix(np.array([[0, 1j], [1j, 0]])),
     "j must be real numbers, not of complex128"),
    (lambda: Problem.from_matrix(sparse.coo_array([[0, 1j], [1j, 0]])),
     "j must be real numbers, not of complex128"),
    (lambda: Problem.from_edges([0], [1], [{}]), "weight must be real numbers"),
    (lambda: Problem.from_edges([0], [1]).energy([1, 1j]), "states must be -1 or +1"),
    (lambda: Problem.from_edges([0], [1]).energy(["1", "1"]), "states must be -1 or +1"),
    (lambda: Problem.from_edges([0], [1], ["x"]), "weight must be real numbers, not of <U1"),
    (lambda: Problem.from_edges([0.5], [1]),
     "first must be whole numbers of shape (edges,), not float64 of shape (1,)"),
    (lambda: Problem.from_edges([0, 1], [1], n=3),
     "first, second and weight must have one shape (edges,), not (2,), (1,), (2,)"),
    (lambda: Problem.from_edges([0], [1], h=[1, 2, 3], n=2), "h must have shape (2,), not (3,)"),
    (lambda: Problem.from_edges([0], [1], labels="aa"),
     "labels must be 2 distinct names, not 2 of which 1 differ"),
    (lambda: Problem.from_matrix(np.zeros((2, 3))), "j must be a square matrix, not of shape (2,"),
    (lambda: Problem.from_matrix(sparse.csr_array((2, 3))), "j must be a square matrix"),
    (lambda: Problem.from_matrix([[0, 1], [2, 0]]),
     "j must be symmetric, and differs at (0, 1) from its mirror; add j.T if one triangle is"),
    (lambda: Problem.from_matrix(sparse.coo_array([[0, 1], [0, 0]])), "j must be symmetric"),
    (lambda: Problem.from_matrix([[0, 0], [0, 3]]), "j must have a diagonal of 0, not 3 at 1;"),
    (lambda: Problem.from_matrix([[0]], diagonal="keep"), "diagonal must be refuse or offset"),
    (lambda: Problem.from_matrix([[np.inf]]), "j must be finite, not inf"),
    (lambda: Problem.from_matrix(np.zeros((0, 0))), "n must be at least 1, not 0"),
    (lambda: Problem.from_qubo({}), "q must not be empty: a problem needs a p-bit"),
    (lambda: Problem.from_qubo([1, 2]), "q must be a square matrix, not of shape (2,)"),
    (lambda: Problem.from_qubo({(0, 1): "x"}), "q must be real numbers, not of <U1"),
    (lambda: Problem.max_cut([0], [1], h=[1, 0]), "h must be 0 in a max-cut problem"),
    (lambda: Problem.from_edges([0], [1]).energy([1, 1, 1]),
     "states must have shape (..., 2), not (3,)"),
    (lambda: Problem.from_edges([0], [1]).energy([1, 0]), "states must be -1 or +1"),
    (lambda: Problem.from_edges([0], [1]).energy([1, 257]), "states must be -1 or +1"),
    (lambda: Problem.from_edges([0], [1], h=[1, 0]).cut([1, 1]),
     "a cut needs a problem without biases, as from Problem.max_cut"),
]


@pytest.mark.parametrize(("make", "message"), REFUSALS, ids=range(len(REFUSALS)))
def test_refusals(make, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        make()


@given(st.integers(0, 10_000), st.integers(1, 10), st.sampled_from(["csr", "csc", "coo", None]))
@seeded(30)
def test_matrices_round_trip_and_their_diagonal_is_a_constant(seed, n, kind):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, n, whole=False)
    j = problem.matrix()
    diagonal = rng.integers(-3, 4, n)
    forms = [j, j + np.diag(diagonal)]
    if kind:
        forms = [sparse.coo_array(form).asformat(kind) for form in forms]
    again = Problem.from_matrix(forms[0], problem.h, offset=problem.offset)
    assert np.array_equal(again.matrix(), j)
    moved = Problem.from_matrix(forms[1], problem.h, diagonal="offset")
    m = random_spins(rng, 4, n)
    full = -np.einsum("si,ij,sj->s", m, j + np.diag(diagonal), m) / 2 - m @ problem.h
    np.testing.assert_allclose(moved.energy(m), full, atol=1e-12)


def test_entries_that_a_sparse_matrix_stores_twice_are_summed():
    twice = sparse.coo_array(([1.0, 2, 3], ([0, 0, 1], [1, 1, 0])), (2, 2))
    assert Problem.from_matrix(twice).weight.tolist() == [3]


@given(st.integers(0, 10_000), st.integers(1, 7))
@seeded(30)
def test_qubo_energies_are_x_q_x(seed, n):
    rng = np.random.default_rng(seed)
    q = rng.integers(-5, 6, (n, n)).astype(float)
    wanted = qubo_energies(q, n) + 2.5
    pairs = {(i, j): q[i, j] for i in range(n) for j in range(n)}
    for form in (q, sparse.csr_array(q), pairs):
        assert np.array_equal(Problem.from_qubo(form, offset=2.5).energy(spin_states(n)), wanted)


def test_labels_of_a_qubo_are_sorted_where_they_can_be():
    assert Problem.from_qubo({("b", "a"): 1, ("c", "c"): 2}).labels == ("a", "b", "c")
    assert Problem.from_qubo({("b", 1): 1}).labels == ("b", 1)
    assert Problem.from_qubo({(1, 0): 1}).labels is None


def test_a_cut_is_the_weight_between_the_two_sides():
    rng = np.random.default_rng(3)
    first, second = np.triu_indices(9, 1)
    weight = rng.integers(-3, 4, len(first))
    problem = Problem.max_cut(first, second, weight, offset=7)
    m = random_spins(rng, 20, 9)
    wanted = ((m[:, first] != m[:, second]) * weight).sum(axis=1)
    assert np.array_equal(problem.cut(m), wanted)
    assert problem.cut(m).dtype == np.int64
    assert problem.is_max_cut
    half = Problem.max_cut(first, second, weight / 4)
    assert np.array_equal(half.cut(m), wanted / 4)


def test_networkx_graphs_and_their_cuts():
    nx = pytest.importorskip("networkx")
    graph = nx.grid_2d_graph(3, 4)
    rng = np.random.default_rng(6)
    for number, (a, b) in enumerate(graph.edges):
        if number:
            graph.edges[a, b]["weight"] = int(rng.integers(-3, 4))
    graph.nodes[0, 2]["h"] = 2
    problem = Problem.from_networkx(graph, name="grid")
    assert problem.labels == tuple(graph.nodes)
    assert problem.h.tolist() == [0, 0, 2] + [0] * 9
    # NetworkX counts an edge without a weight as 1 here too.
    assert np.array_equal(problem.matrix(), nx.to_numpy_array(graph))
    del graph.nodes[0, 2]["h"]
    cut = Problem.from_networkx(graph, max_cut=True)
    for m in random_spins(rng, 5, 12):
        side = [node for node, spin in zip(graph.nodes, m) if spin > 0]
        assert cut.cut(m) == nx.cut_size(graph, side, weight="weight")
    assert Problem.from_networkx(nx.path_graph(3)).labels is None
    assert Problem.from_networkx(nx.empty_graph(2)).edges == 0
    for refused in (nx.empty_graph(0), nx.DiGraph([(0, 1)]), nx.MultiGraph([(0, 1), (0, 1)]),
                    nx.Graph([(1, 1)])):
        with pytest.raises(SpecError):
            Problem.from_networkx(refused)


@pytest.mark.parametrize("vartype", ["SPIN", "BINARY"])
@given(seed=st.integers(0, 10_000), n=st.integers(1, 9))
@seeded(20)
def test_dimod_models_have_dimods_energies(vartype, seed, n):
    dimod = pytest.importorskip("dimod")
    rng = np.random.default_rng(seed)
    names = [f"v{i}" for i in rng.permutation(n)]
    linear = {v: int(rng.integers(-9, 10)) for v in names}
    quadratic = {(a, b): int(rng.integers(-9, 10)) for i, a in enumerate(names)
                 for b in names[:i] if rng.random() < 0.6}
    bqm = dimod.BinaryQuadraticModel(linear, quadratic, 3, vartype)
    problem = Problem.from_bqm(bqm)
    m = random_spins(rng, 16, n)
    values = m if vartype == "SPIN" else (m + 1) // 2
    wanted = bqm.energies((values, problem.labels))
    assert np.array_equal(problem.energy(m), wanted)
    if vartype == "SPIN":
        assert problem.exact
    back = problem.to_bqm()
    assert np.array_equal(back.energies((m, problem.labels)), wanted)
    again = Problem.from_bqm(back)
    for name in ("h", "first", "second", "weight", "offset", "labels"):
        assert np.array_equal(getattr(again, name), getattr(problem, name)), name


def test_a_dimod_model_without_variables_is_refused():
    dimod = pytest.importorskip("dimod")
    with pytest.raises(SpecError, match="n must be at least 1"):
        Problem.from_bqm(dimod.BinaryQuadraticModel("SPIN"))
    assert Problem.from_bqm(dimod.BinaryQuadraticModel({0: 1}, {}, "SPIN")).labels is None

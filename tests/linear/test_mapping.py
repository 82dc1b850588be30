"""Matrices that are refused, and what the tables hold of the others."""

import numpy as np
import pytest
import scipy.sparse

from pbitstream.coupling import coupling_matrix
from pbitstream.errors import SpecError
from pbitstream.linear.mapping import layouts
from pbitstream.linear.matrix import scale_matrix
from pbitstream.spec.topology import BandBank, SparseBank


def poisson(dim):
    return 2 * np.eye(dim) - np.eye(dim, k=1) - np.eye(dim, k=-1)


def irregular(dim, seed):
    rng = np.random.default_rng(seed)
    edges = rng.integers(0, dim, (3 * dim, 2))
    a = np.zeros((dim, dim))
    a[edges[:, 0], edges[:, 1]] = rng.normal(size=len(edges))
    a = a + a.T
    np.fill_diagonal(a, np.abs(a).sum(axis=1) + 1)
    return a


@pytest.mark.parametrize(("a", "message"), [
    (np.eye(3)[:2], r"A must have shape \(n, n\), not \(2, 3\)"),
    (np.zeros((0, 0)), r"A must have shape \(n, n\), not \(0, 0\)"),
    ([[1, np.nan], [np.nan, 1]], r"A must be finite, not nan at \[0, 1\]"),
    ([[1, 0.5], [0.4, 1]], r"A must be symmetric, not with entries that differ by 0.1"),
    ([[1, 0], [0, -2]], "A must be positive definite, not with -2 on its diagonal at 1"),
    ([[1, 2], [2, 1]], r"A must be positive definite, not with the eigenvalue -1 \(at unit"),
    (np.ones((4, 4)), "A must be positive definite, not with the eigenvalue"),
    (np.eye(2) * 1j, "A must be an array of real numbers, not of complex128"),
    ([["1"]], "A must be an array of real numbers, not of <U1"),
    (np.broadcast_to(1.0, (2049, 2049)), "A must have at most 2,048 rows, not 2,049"),
])
def test_other_matrices_are_refused(a, message):
    with pytest.raises(SpecError, match=message):
        scale_matrix(a)


def test_unit_diagonal_is_the_same_problem(problem):
    a, b = problem(12, 30, 1)
    system = scale_matrix(scipy.sparse.csr_matrix(a))
    assert (np.diag(system.matrix) == 1).all()
    y = system.apply(1 / system.values, system.scale * b)
    np.testing.assert_allclose(system.scale * y, np.linalg.solve(a, b), rtol=1e-12)
    np.testing.assert_allclose(system.scale**2 * system.diagonal(1 / system.values),
                               np.diag(np.linalg.inv(a)), rtol=1e-12)
    assert system.condition == pytest.approx(np.linalg.cond(a))
    assert system.scaled_condition == pytest.approx(np.linalg.cond(system.matrix))


@pytest.mark.parametrize(("a", "kind"), [
    (np.eye(3), None),
    (poisson(20), BandBank),
    (irregular(40, 2), BandBank),
    (irregular(200, 3), SparseBank),
])
def test_tables_hold_the_matrix(a, kind):
    system = scale_matrix(a)
    found = list(layouts(system.matrix, 1 / system.values[-1]))
    assert [layout.dt_shift for layout in found] == sorted(
        (layout.dt_shift for layout in found), reverse=True)
    for layout in found:
        program = layout.program
        assert [type(bank) for bank in program.topology.banks] == ([kind] if kind else [])
        k2 = program.tables["k2"] / 2**10
        held = np.diag(k2) - coupling_matrix(program.topology, program.tables)
        np.testing.assert_allclose(held, layout.stiffness * layout.quantised, atol=1e-12)
        # Half a step of 2^-10 beside the diagonal; of the diagonal nothing.
        assert np.abs(held - layout.stiffness * system.matrix).max() <= 2.0**-11
        assert layout.pace * system.values[-1] == pytest.approx(1, rel=0.01)
        assert program.margins().gap == pytest.approx(layout.stiffness * system.values[0],
                                                      rel=1e-2)


def test_simple_fractions_are_exact():
    system = scale_matrix(poisson(50))
    finest = next(layouts(system.matrix, 0.9))
    assert np.abs(finest.quantised - system.matrix).max() < 1e-15


def test_a_matrix_that_rounding_makes_indefinite_is_refused():
    # All couplings near -1: the smallest eigenvalue is 1e-6, the weights are 2^-10 fine.
    a = np.full((40, 40), 1 - 1e-6)
    np.fill_diagonal(a, 1.0)
    with pytest.raises(SpecError, match="A does not fit: at unit diagonal the largest sum of a "
                                        "row's magnitudes is 40"):
        list(layouts(scale_matrix(a).matrix, 0.045))

"""Exact energies: Kaufman's against enumeration and against Onsager's limit."""

import math

import numpy as np
import pytest

from pbitstream.errors import SpecError
from pbitstream.ising import Problem
from pbitstream.peers.exact import enumerated_energy, torus_energy
from pbitstream.peers.problems import signs_task

CRITICAL = math.log(1 + math.sqrt(2)) / 2


@pytest.mark.parametrize("beta", [0.1, 0.375, CRITICAL, 113 / 256, 0.7, 2.0])
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (4, 3)])
def test_kaufman_is_the_sum_over_all_states(rows, columns, beta):
    sites = np.arange(rows * columns).reshape(rows, columns)
    second = np.concatenate([np.roll(sites, -1, axis).ravel() for axis in (0, 1)])
    torus = Problem.from_edges(np.tile(sites.ravel(), 2), second, n=sites.size)
    wanted = enumerated_energy(torus, beta) / sites.size
    assert math.isclose(torus_energy(rows, columns, beta), wanted, rel_tol=1e-6)


def test_a_large_torus_has_onsagers_energy():
    # -sqrt 2 per spin at the critical point of the infinite lattice, and off it
    # -coth 2K (1 + 2/pi (2 tanh^2 2K - 1) F(k)), F the complete elliptic integral.
    special = pytest.importorskip("scipy.special")
    assert math.isclose(torus_energy(512, 512, CRITICAL), -math.sqrt(2), rel_tol=2e-3)
    for beta in (0.375, 0.5):
        k = 2 * math.sinh(2 * beta) / math.cosh(2 * beta) ** 2
        bracket = 1 + 2 / math.pi * (2 * math.tanh(2 * beta) ** 2 - 1) * special.ellipk(k**2)
        assert math.isclose(torus_energy(128, 128, beta), -bracket / math.tanh(2 * beta),
                            rel_tol=1e-6)


def test_a_random_gauge_keeps_the_energies():
    task = signs_task(4, 4)
    assert set(task.problem.weight) == {-1, 1}
    states = (np.arange(1 << 16)[:, None] >> np.arange(16)) & 1
    levels = np.unique(task.problem.energy((2 * states - 1).astype(np.int8)))
    assert levels.min() == -32
    wanted = enumerated_energy(task.problem, task.beta) / 16
    assert math.isclose(task.exact, wanted, rel_tol=1e-6)


def test_large_problems_are_not_listed():
    with pytest.raises(SpecError, match=r"at most 16 p-bits, not 17"):
        enumerated_energy(Problem(np.zeros(17), [], [], []), 1.0)

from itertools import product

import numpy as np
import pytest

from pbitstream.errors import SpecError
from pbitstream.ising.planted import CORNERS, EDGES, FRUSTRATED, planted_lattice
from pbitstream.sampling import IsingSampler, anneal, ladder


@pytest.mark.parametrize("frustrated", FRUSTRATED)
def test_the_planted_state_is_a_ground_state_of_every_tile(frustrated):
    problem, spins, energy = planted_lattice(4, 11, frustrated=frustrated)
    assert problem.energy(spins) == energy
    assert problem.edges == 3 * 64
    assert set(np.abs(problem.weight)) == {1.0}
    # Of each cube, by enumeration of its 256 states.
    matrix, states = problem.matrix(), np.array(list(product((-1, 1), repeat=8)))
    ground = 0
    for origin in product(range(4), repeat=3):
        if len({c % 2 for c in origin}) > 1:
            continue
        corners = ((origin + CORNERS) % 4) @ np.array([16, 4, 1])
        couplings = matrix[corners[EDGES[:, 0]], corners[EDGES[:, 1]]]
        energies = -(states[:, EDGES[:, 0]] * states[:, EDGES[:, 1]]) @ couplings
        own = -couplings @ (spins[corners[EDGES[:, 0]]] * spins[corners[EDGES[:, 1]]])
        assert own == energies.min()
        ground += own
    assert ground == energy


def test_annealing_finds_it_and_nothing_below():
    problem, _, energy = planted_lattice(6, 2, frustrated=4)
    with IsingSampler(problem) as sampler:
        done = anneal(sampler, ladder(0.1, 3.0, 300), sweeps=300, chains=20, seed=1)
    assert done.energies.min() == energy


def test_refusals():
    for side, frustrated, message in ((5, 6, "side must be even"), (2, 6, "side must be even"),
                                      (4, 3, "frustrated must be one of")):
        with pytest.raises(SpecError, match=message):
            planted_lattice(side, 0, frustrated=frustrated)

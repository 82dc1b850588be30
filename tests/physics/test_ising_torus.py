"""A 64 x 64 Ising torus of p-bits near criticality against Kaufman's exact energy."""

import numpy as np
import pytest

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.coupling import apply_coupling
from pbitstream.emulator.device import Emulator
from physics_reference import (
    assert_within,
    kaufman_energy,
    scatter,
    torus_energy_by_enumeration,
)

#: beta J = 52/128 lies on the grid of the threshold table; the critical value is .4407.
BETA_J = 0.40625


def torus(n):
    """Return two checkerboard modules joined by one band bank, for even n.

    Site (r, c) is unit 32 r + c // 2 (for n = 64) of module `(r + c) % 2`. The neighbours of a
    black site are the white sites in the rows above and below, and in its own row the two at the
    same place and one to its left (even rows) or right (odd rows).
    """
    half = n // 2
    row, place = np.divmod(np.arange(n * half), half)
    weights = {0: np.ones(n * half)}
    for step, edge, rows in ((-1, 0, row % 2 == 0), (1, half - 1, row % 2 == 1)):
        weights[step] = rows & (place != edge)
        weights[-step * (half - 1)] = rows & (place == edge)
    weights[-half], weights[(n - 1) * half] = row > 0, row == 0
    weights[half], weights[(1 - n) * half] = row < n - 1, row == n - 1
    builder = ProgramBuilder(field_fraction=20)
    black, white = (builder.pbit(name, n * half, beta=1.0) for name in ("black", "white"))
    builder.band(white, black, {o: BETA_J * w for o, w in weights.items()})
    return builder.build()


def lattice(units, n):
    """Return spins (chains, n, n) of states (chains, n n) of 0/1."""
    row, column = np.divmod(np.arange(n * n), n)
    index = (row + column) % 2 * (n * n // 2) + row * (n // 2) + column // 2
    return (2.0 * units - 1)[:, index].reshape(-1, n, n)


def energy_per_site(units, n):
    m = lattice(units, n)
    return -(m * (np.roll(m, 1, axis=1) + np.roll(m, 1, axis=2))).mean(axis=(1, 2))


@pytest.mark.parametrize("beta_j", [0.2, BETA_J, 0.4407, 0.6])
def test_kaufman_agrees_with_enumeration(beta_j):
    for n, m in ((4, 4), (4, 3), (3, 4)):
        exact = torus_energy_by_enumeration(n, m, beta_j)
        assert kaufman_energy(n, m, beta_j) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("n", [6, 64])
def test_the_bands_join_every_site_to_its_four_neighbours(n):
    program = torus(n)
    units = np.random.default_rng(41).integers(0, 2, (3, n * n))
    fields = apply_coupling(program.topology, program.tables, (2.0 * units - 1).T).T
    m = lattice(units, n)
    around = sum(np.roll(m, step, axis) for step in (-1, 1) for axis in (1, 2))
    row, column = np.divmod(np.arange(n * n), n)
    index = (row + column) % 2 * (n * n // 2) + row * (n // 2) + column // 2
    assert np.array_equal(fields[:, index].reshape(around.shape), BETA_J * around)


def test_energy_near_criticality_is_kaufmans():
    seed, n, chains = 42, 64, 32
    program = torus(n)
    h = np.zeros((1, n * n))
    with Emulator() as device:
        device.load(program)
        out = device.relax(h, steps=1, burn_in=1500, seed=seed, chains=chains)
        energies = []
        for _ in range(60):
            out = device.relax(h, steps=20, seed=seed, chains=chains, state=out.state)
            energies.append(energy_per_site(out.state.units, n))
    value, error = scatter(np.array(energies).mean(axis=0))
    exact = kaufman_energy(n, n, BETA_J)
    assert_within(value, exact, error, seed=seed, what="energy per site")
    # The answer tells a coupling 1 % off, and this torus from an infinite lattice's critical point.
    assert abs(kaufman_energy(n, n, 1.01 * BETA_J) - exact) > 10 * error

"""Linear Langevin programs against the closed form of their discrete-time law."""

import math

import numpy as np
import pytest

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.coupling import coupling_matrix
from pbitstream.emulator.device import Emulator
from physics_reference import assert_within, euler_covariances, scatter

DT_SHIFT = 3
DT = 2.0**-DT_SHIFT


def coupled(rng):
    """Return a program of two modules with a low-rank, a self and a joining band, and its J."""
    builder = ProgramBuilder(dt_shift=DT_SHIFT)
    left = builder.langevin("left", 5, k2=[1.0, 1.25, 1.5, 1.0, 1.125], temperature=0.1)
    right = builder.langevin("right", 3, k2=1.5, temperature=0.05)
    a, b = rng.normal(size=(5, 2)), rng.normal(size=(3, 2))
    gain = np.array([0.09, -0.12])
    self_band, joint = np.array([0.25, -0.125, 0.1875, 0.25, 0.0]), np.array([0.125, -0.25, 0.125])
    builder.low_rank(left, right, a, b, gain)
    builder.band(left, left, {1: self_band})
    builder.band(left, right, {1: joint})
    j = np.zeros((8, 8))
    j[5:, :5] = b @ np.diag(gain) @ a.T
    j[range(4), range(1, 5)] = self_band[:4]
    j[range(5, 8), range(1, 4)] += joint
    j[:5, :5] += j[:5, :5].T
    j[:5, 5:] = j[5:, :5].T
    k2 = np.array([1.0, 1.25, 1.5, 1.0, 1.125, 1.5, 1.5, 1.5])
    return builder.build(), np.diag(k2) - j, np.repeat([0.1, 0.05], [5, 3])


def test_one_unit_has_the_variance_of_the_euler_chain():
    # Units of one module that differ in stiffness only; the largest g dt is .5, where the
    # variance is a third above T / g.
    seed, temperature = 11, 0.1
    k2 = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
    builder = ProgramBuilder(dt_shift=DT_SHIFT)
    builder.langevin("units", 5, k2=k2, temperature=temperature)
    h = np.array([[0.25, -0.5, 0.5, 1.0, -2.0], np.zeros(5)])
    with Emulator() as device:
        device.load(builder.build())
        out = device.relax(h, steps=4000, burn_in=400, seed=seed, chains=512, moments=True)
    mean, mean_error = scatter(out.sums[0] / 2**12 / out.steps)
    assert_within(mean, h[0] / k2, mean_error, seed=seed, what="mean")
    variance = temperature / (k2 * (1 - k2 * DT / 2))
    second, error = scatter(out.square_sums[1] / 2**24 / out.steps)
    assert_within(second, variance, error, seed=seed, what="variance")
    assert (error / variance).max() < 0.01, "too few samples to see a temperature 5 % off"
    assert sum(out.saturated.values()) == 0


def test_tables_hold_the_coupling_that_was_asked_for():
    program, restoring, _ = coupled(np.random.default_rng(12))
    j = np.diag(program.tables["k2"] / 2**10) - restoring
    # int10 factors of size at most 3 and gains of .12, rank 2.
    assert np.abs(coupling_matrix(program.topology, program.tables) - j).max() < 2e-3


def test_coupled_units_have_the_lyapunov_covariance_and_autocorrelation():
    # Final states of independent chains; then the same chains `lag` steps on.
    seed, chains, lags = 13, 20000, (1, 4, 16)
    program, _, temperature = coupled(np.random.default_rng(12))
    restoring = (np.diag(program.tables["k2"] / 2**10)
                 - coupling_matrix(program.topology, program.tables))
    exact = euler_covariances(restoring, temperature, DT, max(lags))
    h = np.array([[0.5, -0.25, 0.0, 1.0, 0.25, -0.5, 0.125, 0.75]])
    centre = np.linalg.solve(restoring, h[0])
    with Emulator() as device:
        device.load(program)
        out = device.relax(h, steps=1, burn_in=300, seed=seed, chains=chains)
        first, done = out.state.units / 2**20 - centre, 0
        spread = np.diag(exact[0])
        assert_within(first.mean(axis=0), 0, np.sqrt(spread / chains), seed=seed, what="mean")
        pairs = [(0, first)]
        for lag in lags:
            out = device.relax(h, steps=lag - done, seed=seed, chains=chains, state=out.state)
            pairs.append((lag, out.state.units / 2**20 - centre))
            done = lag
    for lag, later in pairs:
        # Wick: var(x y) = var(x) var(y) + cov(x, y)^2 for jointly Gaussian x, y.
        error = np.sqrt((np.outer(spread, spread) + exact[lag] ** 2) / chains)
        assert_within(later.T @ first / chains, exact[lag], error, seed=seed,
                      what=f"covariance at lag {lag}")


def test_rounding_moves_no_mean():
    # Truncation anywhere between x24 and the readout would: half a step of the exposed state is
    # 1.2e-4. The noise, 6 such steps, makes the rounding error uniform.
    seed, temperature, dim, chains, steps = 15, 1e-5, 128, 64, 4000
    builder = ProgramBuilder(dt_shift=DT_SHIFT)
    builder.langevin("units", dim, temperature=temperature)
    h = np.arange(-64, 64)[None] / 64
    with Emulator() as device:
        device.load(builder.build())
        out = device.relax(h, steps=steps, burn_in=200, seed=seed, chains=chains)
    value, error = scatter((out.sums[0] / 2**12 / steps - h[0]).mean(axis=1))
    assert_within(value, 0, error, seed=seed, what="pooled mean")
    assert error < 2.0**-13 / 10


@pytest.mark.parametrize("dt_shift", [0, 8])
def test_variance_holds_at_both_ends_of_the_time_step(dt_shift):
    # Temperature codes differ by 2^8 in variance between the ends.
    seed, temperature, chains, dim = 14, 0.02, 400, 64
    builder = ProgramBuilder(dt_shift=dt_shift)
    builder.langevin("units", dim, k2=1.0, temperature=temperature)
    with Emulator() as device:
        device.load(builder.build())
        out = device.relax(np.zeros((1, dim)), steps=1, burn_in=8 << dt_shift, seed=seed,
                           chains=chains)
    x = out.state.units / 2**20
    dt = 2.0**-dt_shift
    variance = temperature / (1 - dt / 2)
    error = variance * math.sqrt(2 / x.size)
    assert_within((x**2).mean(), variance, error, seed=seed, what="variance")

"""What `Program.margins` predicts, against what the emulator does: error, tau, burn-in."""

import math

import numpy as np
import pytest

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.coupling import coupling_matrix
from pbitstream.devices.protocol import Settings, State
from pbitstream.emulator.device import Emulator
from physics_reference import assert_within, scatter

#: Predictions must hold within 10 %.
TOLERANCE = 0.1


def random_program(rho, *, dt_shift, dim=12):
    """Return two modules whose coupling has the largest eigenvalue `rho`, k2 = 1, T = .01."""
    rng = np.random.default_rng(61)
    a, _ = np.linalg.qr(rng.normal(size=(dim, 3)))
    b, _ = np.linalg.qr(rng.normal(size=(dim, 3)))
    builder = ProgramBuilder(dt_shift=dt_shift)
    left = builder.langevin("left", dim, temperature=0.01)
    right = builder.langevin("right", dim, temperature=0.01)
    builder.low_rank(left, right, a, b, rho * np.array([1.0, 0.6, 0.2]))
    return builder.build()


def restoring_matrix(program):
    tables = program.tables
    return np.diag(tables["k2"] / 2**10) - coupling_matrix(program.topology, tables)


@pytest.mark.parametrize(("rho", "dt_shift"), [(0.0, 3), (0.5, 2), (0.75, 3)])
def test_error_of_a_time_mean_is_error_scale_over_root_n(rho, dt_shift):
    seed, chains, steps = 62, 1500, 512 << dt_shift
    program = random_program(rho, dt_shift=dt_shift)
    margins = program.margins()
    h = np.random.default_rng(seed).normal(size=(1, 24)) / 4
    centre = np.linalg.solve(restoring_matrix(program), h[0])
    with Emulator() as device:
        device.load(program)
        out = device.relax(h, steps=steps, burn_in=margins.burn_in, seed=seed, chains=chains)
    wrong = out.sums[0] / 2**12 / steps - centre
    square, error = scatter((wrong**2).mean(axis=1))
    predicted = (margins.error_scale / math.sqrt(steps)) ** 2
    # 5 standard errors must fit into the tolerance, so that the prediction is what is tested.
    assert 5 * error / predicted < TOLERANCE
    ratio = math.sqrt(square / predicted)
    assert abs(ratio - 1) < TOLERANCE, f"measured / predicted = {ratio:.3f}, seed {seed}"


@pytest.mark.parametrize("rho", [0.0, 0.75])
def test_slowest_mode_has_the_predicted_autocorrelation_time(rho):
    # tau = N var(window mean) / var(state), along the slowest eigenvector of K - J.
    seed, chains, dim = 63, 12000, 4
    program = random_program(rho, dt_shift=3, dim=dim)
    margins = program.margins()
    values, vectors = np.linalg.eigh(restoring_matrix(program))
    steps = math.ceil(25 * margins.tau)  # a finite window shortens tau by 2 % at most
    with Emulator() as device:
        device.load(program)
        out = device.relax(np.zeros((1, 2 * dim)), steps=steps, burn_in=margins.burn_in, seed=seed,
                           chains=chains)
    window = out.sums[0] / 2**12 / steps @ vectors[:, 0]
    now = out.state.units / 2**20 @ vectors[:, 0]
    tau = steps * window.var() / now.var()
    error = tau * math.sqrt(4 / chains)  # two variances of `chains` Gaussians
    assert 5 * error / margins.tau < TOLERANCE
    assert abs(tau / margins.tau - 1) < TOLERANCE, f"{tau:.2f}, not {margins.tau:.2f}, seed {seed}"
    # The stationary variance that goes with it.
    gap = values[0]
    variance = 0.01 / (gap * (1 - gap / 16))
    assert_within(now.var(), variance, variance * math.sqrt(2 / chains), seed=seed, what="variance")


@pytest.mark.parametrize("rho", [0.0, 0.75])
def test_burn_in_leaves_e_to_the_minus_eight_of_the_start(rho):
    # A ring of 16 units in two modules, displaced along its uniform mode, the slowest one; a little
    # noise dithers the roundings away and averages out over chains and units.
    seed, chains, dim, start = 64, 512, 16, 6.0
    builder = ProgramBuilder(dt_shift=3)
    left = builder.langevin("left", dim, temperature=1e-5)
    right = builder.langevin("right", dim, temperature=1e-5)
    builder.band(left, right, {0: [rho / 2] * dim, 1: [rho / 2] * (dim - 1) + [0],
                               1 - dim: [0] * (dim - 1) + [rho / 2]})
    program = builder.build()
    margins = program.margins()
    assert margins.gap == pytest.approx(1 - rho)
    with Emulator() as device:
        device.load(program)
        first = device.relax(np.zeros((1, 2 * dim)), steps=1, seed=seed, chains=chains).state
        units = np.full_like(first.units, int(start * 2**20))
        out = device.relax(np.zeros((1, 2 * dim)), steps=1, burn_in=margins.burn_in - 1, seed=seed,
                           chains=chains, state=State(units, first.noise))
    left_over, error = scatter(out.state.units.mean(axis=1) / 2**20 / start)
    assert 5 * error * math.exp(8) < 8 * TOLERANCE
    # The steps it takes to e^-8 at the measured rate, against those predicted.
    needed = margins.burn_in * -8 / math.log(left_over)
    assert abs(needed / margins.burn_in - 1) < TOLERANCE, f"{needed:.1f} steps, seed {seed}"
    assert left_over <= math.exp(-8) + 5 * error


def test_steps_for_asks_for_the_window_that_meets_the_error():
    margins = random_program(0.5, dt_shift=3).margins()
    steps = margins.steps_for(0.01)
    assert margins.error_scale / math.sqrt(steps) <= 0.01
    assert margins.error_scale / math.sqrt(steps - 1) > 0.01


def test_temperature_scales_the_error_and_settings_reach_the_noise():
    # error_scale goes with sqrt(T); the same program at 9 T through settings.
    seed, chains, steps = 65, 1500, 4096
    program = random_program(0.5, dt_shift=3)
    margins = program.margins()
    with Emulator() as device:
        device.load(program)
        out = device.relax(np.zeros((1, 24)), steps=steps, burn_in=margins.burn_in, seed=seed,
                           chains=chains, settings=Settings(temperature=[0.09, 0.09]))
    square, error = scatter(((out.sums[0] / 2**12 / steps) ** 2).mean(axis=1))
    predicted = 9 * margins.error_scale**2 / steps
    assert 5 * error / predicted < TOLERANCE
    assert abs(math.sqrt(square / predicted) - 1) < TOLERANCE, f"seed {seed}"

"""The step limit of linear dynamics: dt (k2 + rho) = 1.98 is stable, 2.02 diverges to the rail."""

import math

import numpy as np
import pytest

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.protocol import Settings
from pbitstream.emulator.device import Emulator
from pbitstream.errors import UnstableError
from physics_reference import assert_within, scatter

#: dt = 1 and J with eigenvalues +-rho; k2 moves dt (k2 + rho) across 2, the gap k2 - rho stays 1.
RHO, TEMPERATURE, DIM = 0.5, 0.001, 16
RAIL = 8.0


def pairs(k2, *, dt_shift=0, rho=RHO):
    builder = ProgramBuilder(dt_shift=dt_shift)
    left = builder.langevin("left", DIM, k2=k2, temperature=TEMPERATURE)
    right = builder.langevin("right", DIM, k2=k2, temperature=TEMPERATURE)
    builder.band(left, right, {0: [rho] * DIM})
    return builder.build()


def run(k2, *, seed, steps):
    """Load a stable program and let settings replace its k2, which `load` does not see."""
    with Emulator() as device:
        device.load(pairs(1.0))
        return device.relax(np.zeros((1, 2 * DIM)), steps=steps, burn_in=1500, seed=seed, chains=64,
                            settings=Settings(k2=[k2, k2]), moments=True)


def test_just_below_the_limit_is_stable_with_the_predicted_variance():
    seed, k2 = 71, 1516 / 1024
    assert k2 + RHO == pytest.approx(1.98, abs=1e-3)
    out = run(k2, seed=seed, steps=20000)
    assert sum(out.saturated.values()) == 0
    # Two modes, each with T / (g (1 - g dt / 2)); the stiff one has g = 1.98: 50 times T.
    variance = np.mean([TEMPERATURE / (g * (1 - g / 2)) for g in (k2 - RHO, k2 + RHO)])
    per_chain = (out.square_sums[0] / 2**24 / out.steps).mean(axis=1)
    value, error = scatter(per_chain)
    assert_within(value, variance, error, seed=seed, what="variance")
    assert 5 * error < 0.1 * variance


def test_just_above_the_limit_diverges_to_the_rail_and_counts_it():
    seed, k2 = 72, 1556 / 1024
    assert k2 + RHO == pytest.approx(2.02, abs=1e-3)
    # 2.02 - 1 = 1.02 per step takes the noise to the rail within 400 steps; then every unit of
    # every chain hits it again and again.
    out = run(k2, seed=seed, steps=1000)
    assert np.abs(out.state.units / 2**20).min() > 0.8 * RAIL
    assert (out.clips[0, :, 3] > 1000 * DIM).all()
    assert out.saturated["state"] > 0
    assert out.saturated["stiffness"] == 0


def test_no_equilibrium_above_rho_equal_k2():
    # The other bound: rho / k2 = .98 settles, 1.02 runs to the rail, at a small step.
    seed = 73
    for rho, stable in ((0.98, True), (1.02, False)):
        with Emulator() as device:
            device.load(pairs(1.25, dt_shift=3))
            k2 = 0.5 / rho
            out = device.relax(np.zeros((1, 2 * DIM)), steps=1, burn_in=12000, seed=seed,
                               chains=64, settings=Settings(k2=[k2, k2]))
        largest = np.abs(out.state.units / 2**20).max(axis=1)
        assert (largest.max() < 1) if stable else (largest.min() > 0.99 * RAIL), f"seed {seed}"
        assert (out.saturated["state"] == 0) == stable


def test_load_draws_the_line_where_the_dynamics_does():
    with Emulator() as device:
        device.load(pairs(1516 / 1024))
        for program in (pairs(1556 / 1024), pairs(0.5, dt_shift=3, rho=0.51)):
            for force in (False, True):
                with pytest.raises(UnstableError):
                    device.load(program, force=force)
    limit = pairs(1516 / 1024).margins().dt_limit
    assert limit == pytest.approx(2 / 1.98, rel=1e-3)
    assert math.isfinite(limit)

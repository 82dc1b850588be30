"""Langevin units with a quartic term against the Boltzmann integral and the Euler chain."""

import numpy as np

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.emulator.device import Emulator
from physics_reference import assert_within, quartic_euler_moments, quartic_moments, scatter

#: k2, k4, h of a few single units; the last is all but purely quartic.
UNITS = ((1.0, 1.0, 0.25), (0.5, 2.0, -0.25), (1.0, 0.25, 0.5), (2.0, 4.0, 0.0), (0.0625, 4.0, 0.5))
TEMPERATURE = 0.25


def measure(dt_shift, units, *, seed, steps, chains, copies=1):
    """Return E[x], E[x^2] and their standard errors, each (2, units); copies are averaged."""
    k2, k4, h = (np.repeat(column, copies) for column in np.array(units).T)
    builder = ProgramBuilder(dt_shift=dt_shift)
    builder.langevin("units", len(k2), k2=k2, k4=k4, temperature=TEMPERATURE, x_max=1.0)
    with Emulator() as device:
        device.load(builder.build())
        out = device.relax(h[None], steps=steps, burn_in=10 << dt_shift, seed=seed, chains=chains,
                           moments=True)
    assert sum(out.saturated.values()) == 0
    parts = []
    for sums, unit in ((out.sums, 2.0**-12), (out.square_sums, 2.0**-24)):
        per_chain = (sums[0] * unit / steps).reshape(chains, len(units), copies)
        parts.append(scatter(per_chain.mean(axis=2)))
    return tuple(np.array(part) for part in zip(*parts))


def test_the_euler_chain_is_sampled_exactly_at_a_large_step():
    seed, shift = 21, 3
    value, error = measure(shift, UNITS, seed=seed, steps=4000, chains=1024)
    exact = np.array([quartic_euler_moments(*unit, TEMPERATURE, 2.0**-shift) for unit in UNITS]).T
    assert_within(value, exact, error, seed=seed, what="[power - 1, unit] moment")
    assert (error[1] / exact[1]).max() < 2e-3
    # The Boltzmann law itself is excluded at this step: the test resolves the bias.
    boltzmann = np.array([quartic_moments(*unit, TEMPERATURE) for unit in UNITS]).T
    assert (np.abs(value - boltzmann)[1] > 10 * error[1]).all()


def test_the_bias_against_boltzmann_has_weak_order_one():
    seed, unit = 22, UNITS[0]
    exact = quartic_moments(*unit, TEMPERATURE)[1]
    bias, error = [], []
    for shift in (3, 4, 5):
        value, spread = measure(shift, (unit,), seed=seed + shift, steps=1500 << (shift - 3),
                                chains=256, copies=128)
        bias.append(value[1, 0] - exact)
        error.append(spread[1, 0])
    bias, error = np.array(bias), np.array(error)
    # Order between neighbouring steps, and its error from those of the two biases.
    relative = error / np.abs(bias)
    order = np.log2(bias[:-1] / bias[1:])
    spread = np.hypot(relative[:-1], relative[1:]) / np.log(2)
    assert spread.max() < 0.05, "too few samples to tell order 1 from 2"
    # Terms of order dt^2 move the order away from 1: by .09 between 1/8 and 1/16 for this unit,
    # by half of that one halving on.
    assert_within(order, 1, spread, bias=[0.1, 0.05], seed=seed, what="order in dt")


def test_extrapolation_to_zero_step_is_the_boltzmann_integral():
    # 2 m(dt / 2) - m(dt) drops the linear bias; what is left is of order dt^2.
    seed = 26
    coarse, coarse_error = measure(4, UNITS, seed=seed, steps=4000, chains=512, copies=16)
    fine, fine_error = measure(5, UNITS, seed=seed + 1, steps=8000, chains=512, copies=16)
    exact = np.array([quartic_moments(*unit, TEMPERATURE) for unit in UNITS]).T
    euler = [np.array([quartic_euler_moments(*unit, TEMPERATURE, 2.0**-s) for unit in UNITS]).T
             for s in (4, 5)]
    left = np.abs(2 * euler[1] - euler[0] - exact)
    assert left.max() < 1.5e-3
    assert_within(2 * fine - coarse, exact, np.hypot(2 * fine_error, coarse_error), bias=left,
                  seed=seed, what="[power - 1, unit] extrapolated moment")

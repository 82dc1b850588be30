"""The shipped example ring-5, both kinds of unit at once, against its exact Boltzmann law."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import pbitstream
from pbitstream.devices.protocol import Settings
from pbitstream.emulator.device import Emulator
from pbitstream.program import Program
from physics_reference import (
    assert_within,
    mixed_law,
    plug_in_divergence,
    scatter,
    state_numbers,
)

MODEL = Path(pbitstream.__file__).parent / "models" / "ring-5.safetensors"
MAKER = Path(__file__).parents[2] / "tools" / "make_ring5.py"
TEMPERATURE = 0.5
KIND = np.repeat(["langevin", "pbit", "langevin", "pbit"], [3, 4, 2, 6])
#: One input with fields on every unit, and none: then all means are 0 by symmetry.
BIAS = np.array([[0.5, -0.25, 0.25, 0.125, -0.25, 0.5, 0.0, 0.25,
                  -0.375, -0.25, 0.125, 0.0, 0.375, -0.125, 0.25], np.zeros(15)])


def moments(program, *, seed, chains, h=BIAS, settings=None):
    """Return E[state], E[state^2] and their standard errors, each (2, inputs, units)."""
    shift = program.topology.dt_shift
    with Emulator() as device:
        device.load(program)
        out = device.relax(h, steps=256 << shift, burn_in=16 << shift, seed=seed,
                           chains=chains, settings=settings, moments=True)
    assert sum(out.saturated.values()) == 0
    unit = np.where(KIND == "langevin", 2.0**-12, 1.0)
    per_chain = np.array([out.sums * unit, out.square_sums * unit**2]) / out.steps
    mean, error = scatter(np.moveaxis(per_chain, 2, 0))
    return mean, error


def check(program, value, error, *, allowance, seed, h=BIAS):
    """Compare means of all units, and second moments of Langevin units, with the exact law.

    The Euler scheme adds T dt / 2 to the variance of an isolated unit and, measured here, at most
    .7 T dt to a second moment and .3 T dt to a mean of this ring: `allowance` is T dt or 0.
    """
    law = [mixed_law(program, row, TEMPERATURE) for row in h]
    langevin = KIND == "langevin"
    assert_within(value[0], np.array([row[0] for row in law]), error[0], bias=allowance / 2,
                  seed=seed, what="mean of [input, unit] ")
    assert_within(value[1][:, langevin], np.array([row[1] for row in law])[:, langevin],
                  error[1][:, langevin], bias=allowance, seed=seed,
                  what="square of [input, Langevin unit] ")


def test_the_file_is_what_the_script_builds():
    assert runpy.run_path(str(MAKER))["build"]().digest == Program.open(MODEL).digest


def test_it_has_both_kinds_three_kinds_of_bank_and_an_odd_cycle():
    program = Program.open(MODEL)
    topology = program.topology
    assert [m.kind for m in topology.modules] == ["langevin", "pbit", "langevin", "pbit", "pbit"]
    assert np.array_equal(np.repeat([m.kind for m in topology.modules],
                                    [m.dim for m in topology.modules]), KIND)
    pairs = {tuple(sorted((bank.source, bank.target))) for bank in topology.banks}
    assert pairs == {(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (0, 0)}
    assert len({type(bank) for bank in topology.banks}) == 2
    assert len(topology.phases) == 3
    assert program.tables["k4"].any()
    margins = program.margins()
    margins.check()
    assert margins.boltzmann


def test_moments_are_those_of_the_boltzmann_law():
    seed, program = 81, Program.open(MODEL)
    value, error = moments(program, seed=seed, chains=384)
    check(program, value, error, allowance=TEMPERATURE * 2.0**-program.topology.dt_shift, seed=seed)


def test_extrapolation_to_zero_step_needs_no_allowance():
    # 2 m(dt / 2) - m(dt); what is left is of order dt^2, 10^-3 here.
    seed, build = 82, runpy.run_path(str(MAKER))["build"]
    coarse, coarse_error = moments(build(4), seed=seed, h=BIAS[:1], chains=1024)
    fine, fine_error = moments(build(5), seed=seed + 1, h=BIAS[:1], chains=1024)
    check(build(4), 2 * fine - coarse, np.hypot(2 * fine_error, coarse_error), h=BIAS[:1],
          allowance=0, seed=seed)


@pytest.mark.parametrize(("name", "kind", "right"), [
    ("temperature", "langevin", TEMPERATURE), ("beta", "pbit", 1 / TEMPERATURE),
])
def test_one_kind_at_a_temperature_five_percent_off_is_seen(name, kind, right):
    # The same check on a substrate that is wrong on purpose.
    seed, program = 83, runpy.run_path(str(MAKER))["build"](5)
    wrong = [1.05 * right if m.kind == kind else np.nan for m in program.topology.modules]
    value, error = moments(program, seed=seed, h=BIAS[:1], chains=1024,
                           settings=Settings(**{name: wrong}))
    with pytest.raises(AssertionError, match="standard errors"):
        check(program, value, error, h=BIAS[:1], allowance=TEMPERATURE / 32, seed=seed)


def test_joint_law_of_the_spins_by_divergence():
    seed, chains, draws, program = 84, 2048, 16, Program.open(MODEL)
    spins = KIND == "pbit"
    with Emulator() as device:
        device.load(program)
        out = device.relax(BIAS[:1], steps=1, burn_in=1024, seed=seed, chains=chains)
        numbers = []
        for _ in range(draws):
            out = device.relax(BIAS[:1], steps=128, seed=seed, chains=chains, state=out.state)
            numbers.append(state_numbers(out.state.units[:, spins]))
    law = mixed_law(program, BIAS[0], TEMPERATURE)[2]
    divergence, floor = plug_in_divergence(np.array(numbers), law)
    assert divergence < 2 * floor, f"KL {divergence:.2e}, floor {floor:.2e}, seed {seed}"

"""Every system samples what it should: enumeration, Kaufman, and each other."""

import warnings

import numpy as np
import pytest

from pbitstream.peers import problems
from pbitstream.peers.contestant import OURS, missing
from pbitstream.peers.equality import Check, Estimate, Plan, estimate
from pbitstream.peers.ours import OurIsing, OurLangevin

#: Other packages warn about each other.
pytestmark = pytest.mark.filterwarnings("default")


def ising(system):
    """Return what makes chains of a system, and with which option here."""
    if missing(system):
        pytest.skip(missing(system))
    if system == OURS:
        return OurIsing, 128
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if system == "THRML":
            from pbitstream.peers.thrml_chains import ThrmlChains

            return ThrmlChains, 64
        if system == "dwave-samplers":
            from pbitstream.peers.dwave_chains import DwaveChains

            return DwaveChains, 64
        from pbitstream.peers.ferrotherm_chain import FerrothermChain

        return FerrothermChain, 1


@pytest.mark.parametrize("system", [OURS, "THRML", "dwave-samplers", "ferrotherm"])
@pytest.mark.parametrize("task", [problems.small_task, lambda: problems.signs_task(8, 4)],
                         ids=["enumeration", "Kaufman"])
def test_energy_is_the_exact_one(task, system):
    task, (make, option) = task(), ising(system)
    contestant = make(task, option)
    assert (contestant.units, contestant.chains) == (task.problem.n, option)
    found = estimate(contestant, Plan(64, 4, 4096))
    check = Check("energy", system, found, Estimate(task.exact, 0.0))
    assert check.holds, check
    assert 0 < check.found.error < 0.05 * abs(task.exact)


@pytest.mark.parametrize("system", [OURS, "THRML", "dwave-samplers", "ferrotherm"])
def test_a_run_goes_on_from_where_it_was(system):
    task, (make, option) = problems.signs_task(8, 4), ising(system)
    contestant = make(task, option)
    contestant.run(64 * contestant.block)
    before = contestant.figures()
    assert before.shape == (option,)
    assert before.mean() < -0.5, "far from random spins"
    share = contestant.run(contestant.block)
    assert 0 < share <= 1
    assert contestant.figures().mean() < -0.5, "still"


@pytest.mark.parametrize("form", ["batched", "one by one"])
def test_the_loop_of_jax_is_the_same_process(form):
    if missing("JAX loop"):
        pytest.skip(missing("JAX loop"))
    from pbitstream.peers.jax_chains import jax_chains

    plan = Plan(400, 50, 256 * 16)
    # All banks of the row, of fewer ranks.
    task = problems.langevin_task(dim=8, rank=2)
    ours, theirs = (estimate(contestant, plan) for contestant in (
        OurLangevin(task, 256), jax_chains(256)(task, form)))
    assert Check("mean square", form, theirs, ours).holds, (ours, theirs)
    assert ours.error < 0.01 * ours.value


def test_thermox_is_the_closed_form_and_ours():
    if missing("thermox"):
        pytest.skip(missing("thermox"))
    from pbitstream.peers.thermox_oracle import thermox_square

    task = problems.linear_task()
    found = thermox_square(task)
    drift = task.stiffness()
    mean = np.linalg.solve(drift, task.h.ravel())
    covariance = task.temperature * np.linalg.inv(drift @ (np.eye(16) - task.dt * drift / 2))
    exact = Estimate(float((mean**2).mean() + np.trace(covariance) / 16), 0.0)
    assert Check("mean square", "thermox", found, exact).holds
    ours = estimate(OurLangevin(task, 64), Plan(500, 50, 64 * 64))
    assert Check("mean square", OURS, ours, exact).holds
    with pytest.raises(ValueError, match="k4 must be 0"):
        thermox_square(problems.langevin_task())


def test_factors_of_the_programs_are_those_of_the_tasks():
    task = problems.langevin_task()
    assert task.program.topology.units == task.h.size == 768
    assert len(task.program.topology.banks) == len(task.pairs) == 8
    stiffness = task.stiffness()
    np.testing.assert_allclose(stiffness, stiffness.T)
    assert np.isclose(task.program.margins().gap, np.linalg.eigvalsh(stiffness)[0], rtol=0.02)

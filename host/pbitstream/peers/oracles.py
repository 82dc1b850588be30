"""Checks that need no race: every system against enumeration, Kaufman and thermox."""

from collections.abc import Callable
from typing import Any

from pbitstream.peers import problems
from pbitstream.peers.contestant import OURS, Contestant, missing
from pbitstream.peers.dwave_chains import DwaveChains
from pbitstream.peers.equality import Check, Estimate, Plan, estimate
from pbitstream.peers.ferrotherm_chain import FerrothermChain
from pbitstream.peers.ours import OurIsing, OurLangevin
from pbitstream.peers.problems import IsingTask
from pbitstream.peers.rounds import Report
from pbitstream.peers.thrml_chains import ThrmlChains

__all__ = ["check_langevin", "check_spins"]

#: Systems of spins, what makes them, and the option they are checked with.
SYSTEMS: dict[str, tuple[Callable[[IsingTask, int], Contestant], int]] = {
    OURS: (OurIsing, 512),
    "THRML": (ThrmlChains, 64),
    "dwave-samplers": (DwaveChains, 64),
    "ferrotherm": (FerrothermChain, 1),
}
#: Enough of one chain, too, for the slowest mode of the torus.
SMALL, CRITICAL = Plan(50, 2, 8192), Plan(1000, 10, 16384)


def check_spins(report: Report) -> list[Check]:
    """Return the checks of all systems of spins that are installed."""
    small, critical = problems.small_task(), problems.critical_task()
    found = []
    for number, (system, (make, option)) in enumerate(SYSTEMS.items()):
        if missing(system):
            continue
        for task, plan, what in (
            (small, SMALL, f"{small.problem.n} spins, all states"),
            (critical, CRITICAL, "16 x 16, near Tc"),
        ):
            report(f"{system}: {what}", number, len(SYSTEMS))
            found.append(Check(what, system, estimate(make(task, option), plan),
                               Estimate(_exact(task), 0.0)))
    return found


def check_langevin(report: Report) -> list[Check]:
    """Return ours against thermox on a linear program; nothing if thermox is missing."""
    if missing("thermox"):
        return []
    from pbitstream.peers.thermox_oracle import thermox_square

    report("thermox: exact transitions", 0, 1)
    task = problems.linear_task()
    ours = estimate(OurLangevin(task, 512), Plan(1000, 100, 512 * 64))
    return [Check("16 linear units, thermox", OURS, ours, thermox_square(task))]


def _exact(task: Any) -> float:
    assert task.exact is not None, "tasks of the oracles have exact energies"
    return float(task.exact)

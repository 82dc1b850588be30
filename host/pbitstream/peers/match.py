"""One row played: everyone's best option, equal statistics, interleaved rounds, ratios."""

import statistics
from dataclasses import dataclass, field
from typing import Any

from pbitstream.peers.contestant import OURS, Candidates, missing
from pbitstream.peers.equality import Check, Estimate, estimate
from pbitstream.peers.problems import IsingTask
from pbitstream.peers.rounds import Champion, Rates, Report, best, interleave, ratio
from pbitstream.peers.rows import Row, Target

__all__ = ["Outcome", "Played", "Reached", "play"]


@dataclass(frozen=True)
class Played:
    """A system in a row.

    Attributes
    ----------
    absent
        Why it did not run; the rest is then empty.
    option, unit
        What it ran, as ``128 chains``.
    tried
        Rate of every option in the trials, unit updates per second.
    check
        Its statistics against the exact value or ours.
    rates
        None if the check failed: then there is nothing to compare.
    setup, compilation
        Seconds that building and compiling took, and compiling alone.
    """

    system: str
    absent: str = ""
    option: Any = None
    unit: str = ""
    tried: dict[Any, float] = field(default_factory=dict)
    check: Check | None = None
    rates: Rates | None = None
    setup: float = 0.0
    compilation: float = 0.0


@dataclass(frozen=True)
class Reached:
    """What became of a target: the ratio over the fastest of its systems, None without any."""

    target: Target
    over: str | None
    ratio: float | None

    @property
    def holds(self) -> bool | None:
        """Whether it was reached; None if it could not be measured."""
        return None if self.ratio is None else self.ratio >= self.target.ratio


@dataclass(frozen=True)
class Outcome:
    """A row with its systems, ours first, and its targets."""

    row: Row
    beta: float | None
    systems: tuple[Played, ...]
    reached: tuple[Reached, ...]


def play(row: Row, *, rounds: int, seconds: float, known: dict[tuple[str, str], Any],
         report: Report) -> Outcome:
    """Play a row.

    Parameters
    ----------
    seconds
        Of every system in every round, about.
    known
        Best options of peers by system and shape; read and added to.
    """
    task = row.task()
    absent = {candidates.system: missing(candidates.system) for candidates in row.systems}
    champions = []
    for candidates in row.systems:
        if not absent[candidates.system]:
            champions.append(_best(candidates, row, task, seconds, known, report))
    checks = _checks(row, task, champions, report)
    equal = [champion for champion in champions if checks[champion.system].holds]
    rates = dict(zip((champion.system for champion in equal), interleave(equal, rounds, report)))
    kept = {champion.system: champion for champion in champions}
    systems = tuple(
        Played(system, absent[system]) if absent[system] else
        Played(system, "", kept[system].option, kept[system].unit, kept[system].tried,
               checks[system], rates.get(system), kept[system].contestant.setup,
               kept[system].contestant.compilation)
        for system in absent
    )
    beta = task.beta if isinstance(task, IsingTask) else None
    return Outcome(row, beta, systems,
                   tuple(_reached(target, rates) for target in row.targets))


def _best(candidates: Candidates, row: Row, task: Any, seconds: float,
          known: dict[tuple[str, str], Any], report: Report) -> Champion:
    place = candidates.system, row.shape
    # An option of another row counts only if this row would try it too.
    if candidates.system != OURS and known.get(place) in candidates.options:
        candidates = Candidates(candidates.system, (known[place],), candidates.make,
                                candidates.unit)
    found = best(candidates, task, seconds, report)
    known[place] = found.option
    return found


def _checks(row: Row, task: Any, champions: list[Champion], report: Report) -> dict[str, Check]:
    """Return every system's check against the exact value or, where there is none, ours."""
    found: dict[str, Estimate] = {}
    for number, champion in enumerate(champions):
        report(f"statistics: {champion.system}", number, len(champions))
        found[champion.system] = estimate(champion.contestant, row.plan)
    exact = getattr(task, "exact", None)
    wanted = found[OURS] if exact is None else Estimate(exact, 0.0)
    against = "exact" if exact is not None else "ours"
    checks = {}
    for system, value in found.items():
        # Ours is what the others are held to, so it is equal to itself.
        own = system == OURS and exact is None
        checks[system] = Check(f"{row.figure}, {against}", system, value,
                               Estimate(value.value, value.error) if own else wanted)
    return checks


def _reached(target: Target, rates: dict[str, Rates]) -> Reached:
    """Return the ratio over the fastest of a target's systems."""
    clocks = {system: getattr(each, target.clock) for system, each in rates.items()}
    over = [system for system in target.over if system in clocks]
    if OURS not in clocks or not over:
        return Reached(target, None, None)
    fastest = max(over, key=lambda system: statistics.median(clocks[system]))
    return Reached(target, fastest, ratio(clocks[OURS], clocks[fastest]))

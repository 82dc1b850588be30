"""Interleaved rounds: wall and processor time of every contestant, once a round each."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pbitstream.peers.contestant import Candidates, Contestant

__all__ = ["Champion", "Rates", "Report", "best", "interleave", "ratio"]

T = TypeVar("T")
#: Called with (what is being done, how many are done, of how many).
Report = Callable[[str, int, int], None]
#: A trial is this share of a sample; the fastest of so many counts.
TRIAL_SHARE, TRIALS = 0.5, 3
#: No run is longer, in sweeps.
MOST = 1 << 22


@dataclass(frozen=True)
class Champion:
    """A system with the option that was fastest in the trials.

    Attributes
    ----------
    tried
        Rate of every option, unit updates per second.
    sweeps
        Of one sample.
    """

    system: str
    option: object
    unit: str
    contestant: Contestant
    tried: dict[object, float]
    sweeps: int


@dataclass(frozen=True)
class Rates:
    """Unit updates per second of wall time, and of processor time of all threads, by round."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def best(candidates: Candidates, task: object, seconds: float, report: Report) -> Champion:
    """Try all options of a system and return the one with the highest rate of any trial."""
    tried: dict[object, float] = {}
    kept: Champion | None = None
    for number, option in enumerate(candidates.options):
        report(f"{candidates.system}: trying {option} {candidates.unit}", number,
               len(candidates.options))
        contestant = candidates.make(task, option)
        sweeps = _calibrate(contestant, seconds)
        short = _whole(contestant, sweeps * TRIAL_SHARE)
        tried[option] = max(_sample(contestant, short)[0] for _ in range(TRIALS))
        if kept is None or tried[option] > tried[kept.option]:
            kept = Champion(candidates.system, option, candidates.unit, contestant, tried, sweeps)
        del contestant
    assert kept is not None, "every system has an option"
    return kept


def interleave(champions: list[Champion], rounds: int, report: Report) -> list[Rates]:
    """Run every champion once a round."""
    wall: list[list[float]] = [[] for _ in champions]
    cpu: list[list[float]] = [[] for _ in champions]
    for turn in range(rounds):
        for place, champion in enumerate(champions):
            report(f"round {turn + 1}: {champion.system}", turn * len(champions) + place,
                   rounds * len(champions))
            rates = _sample(champion.contestant, champion.sweeps)
            wall[place].append(rates[0])
            cpu[place].append(rates[1])
    return [Rates(tuple(w), tuple(c)) for w, c in zip(wall, cpu)]


def ratio(ours: tuple[float, ...], theirs: tuple[float, ...]) -> float:
    """Return the median over rounds of one rate divided by another of the same round."""
    return statistics.median(a / b for a, b in zip(ours, theirs))


def _sample(contestant: Contestant, sweeps: int) -> tuple[float, float]:
    """Return updates per second of wall and of processor time; what is no sampling is left out."""
    wall, cpu = time.perf_counter(), time.process_time()
    share = contestant.run(sweeps)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    work = float(contestant.chains) * contestant.units * sweeps / share
    # Clocks have a step.
    return work / max(wall, 1e-9), work / max(cpu, 1e-9)


def _calibrate(contestant: Contestant, seconds: float) -> int:
    """Return how many sweeps take so long; half of it is tried, for a call itself costs time."""
    sweeps, taken = contestant.block, 0.0
    contestant.run(sweeps)
    while True:
        taken = time.perf_counter()
        contestant.run(sweeps)
        taken = time.perf_counter() - taken
        if taken >= 0.5 * seconds or sweeps >= MOST:
            return _whole(contestant, sweeps * seconds / max(taken, 1e-9))
        sweeps = min(MOST, sweeps * (2 if taken > 0.05 * seconds else 8))


def _whole(contestant: Contestant, sweeps: float) -> int:
    """Return a number of sweeps that the contestant can run."""
    return max(1, round(min(sweeps, MOST) / contestant.block)) * contestant.block

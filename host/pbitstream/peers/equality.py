"""Equal statistics: a figure of every system against an exact value or ours, in standard errors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.peers.contestant import Contestant

__all__ = ["LIMIT", "Check", "Estimate", "Plan", "estimate"]

#: A system is equal within so many standard errors: of a hundred sound checks none should fail.
LIMIT = 4.5
#: Independent values are wanted of a run; with fewer chains each is cut into segments.
VALUES = 32


@dataclass(frozen=True)
class Plan:
    """Sweeps before the first draw, between draws, and draws of all chains together."""

    burn_in: int
    every: int
    draws: int


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Check:
    """What one system gave, and what it should.

    Attributes
    ----------
    what
        The quantity and the problem.
    found, wanted
        The system's estimate; an exact value has the error 0.
    """

    what: str
    system: str
    found: Estimate
    wanted: Estimate

    @property
    def deviation(self) -> float:
        """Difference in standard errors of the difference."""
        error = float(np.hypot(self.found.error, self.wanted.error))
        difference = self.found.value - self.wanted.value
        return difference / error if error else float("inf") * np.sign(difference)

    @property
    def holds(self) -> bool:
        """Whether the two are equal within `LIMIT` standard errors."""
        return abs(self.deviation) <= LIMIT


def estimate(contestant: Contestant, plan: Plan) -> Estimate:
    """Return the mean of a contestant's figure.

    Sweeps are rounded up to what the contestant can do. Its chains are independent, so the standard
    error is that of their means; with fewer than 32, that of the means of as many segments as bring
    their number to 32, each of which must be long against the correlation time.
    """
    draws = max(-(-plan.draws // contestant.chains), 1)
    segments = max(1, VALUES // contestant.chains)
    draws = -(-draws // segments) * segments
    _sweep(contestant, plan.burn_in)
    values = np.empty((draws, contestant.chains))
    for row in values:
        _sweep(contestant, plan.every)
        row[:] = contestant.figures()
    return of_values(values, segments)


def of_values(values: NDArray[np.float64], segments: int) -> Estimate:
    """Return the estimate of values (draws, chains) in so many segments of draws."""
    means = values.reshape(segments, -1, values.shape[1]).mean(axis=1).ravel()
    return Estimate(float(means.mean()), float(means.std(ddof=1) / np.sqrt(len(means))))


def _sweep(contestant: Contestant, sweeps: int) -> None:
    contestant.run(-(-sweeps // contestant.block) * contestant.block)

"""Power over time, or a counter of energy, and the energy between two moments.

Between two samples power is a straight line, so the energy is the sum of trapezoids, cut at both
ends; a counter is interpolated likewise.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError

__all__ = ["Reading", "Trace", "read_meter"]


class Trace:
    """Samples of one rail.

    Parameters
    ----------
    times : array, shape (samples,)
        Unix seconds, strictly increasing; at least two.
    power, energy : array, shape (samples,)
        W, or J of a counter that never falls; one of them.

    Raises
    ------
    SpecError
        If there are too few samples, or times or a counter do not increase.
    """

    def __init__(self, times: ArrayLike, *, power: ArrayLike | None = None,
                 energy: ArrayLike | None = None) -> None:
        assert (power is None) != (energy is None)
        t = np.asarray(times, np.float64)
        if len(t) < 2:
            raise SpecError(f"a meter must give at least 2 samples, not {len(t)}")
        if not (np.diff(t) > 0).all():
            raise SpecError("times of a meter must increase from sample to sample")
        self.times = t
        self._power: NDArray[np.float64] | None = None
        if power is not None:
            self._power = np.asarray(power, np.float64)
            means = (self._power[1:] + self._power[:-1]) / 2
            self._energy = np.concatenate([[0.0], np.cumsum(means * np.diff(t))])
        else:
            self._energy = np.asarray(energy, np.float64)
            if (np.diff(self._energy) < 0).any():
                raise SpecError("a counter of energy must not fall; it has wrapped or was reset")

    def energy(self, began: float, ended: float) -> float:
        """Return the joules between two moments.

        Raises
        ------
        SpecError
            If the samples do not reach over both.
        """
        first, last = float(self.times[0]), float(self.times[-1])
        if began < first or ended > last:
            raise SpecError(f"the meter has samples from {first:.3f} to {last:.3f} s and the run "
                            f"went from {began:.3f} to {ended:.3f} s, in Unix seconds; the meter "
                            "must run before it and on after it")
        return self._until(ended) - self._until(began)

    def within(self, began: float, ended: float) -> NDArray[np.float64]:
        """Return the times of samples between two moments."""
        return self.times[(self.times >= began) & (self.times <= ended)]

    def _until(self, moment: float) -> float:
        """Return the joules from the first sample on."""
        if self._power is None:
            return float(np.interp(moment, self.times, self._energy))
        k = max(0, int(np.searchsorted(self.times, moment)) - 1)
        here = float(np.interp(moment, self.times, self._power))
        part = (moment - self.times[k]) * (float(self._power[k]) + here) / 2
        return float(self._energy[k] + part)


@dataclass(frozen=True)
class Reading:
    """What meters say of a run, summed over their rails.

    Attributes
    ----------
    energy
        J from the start of the run to its end.
    seconds
        Of the run.
    idle_seconds, idle_energy
        Of the baseline before it, device loaded and idle; None without one.
    samples, longest_gap
        Fewest samples of a rail within the run, and the longest time without one, in s.
    shift
        J that the energy changes by, at most, when the meter's clock is off by one sample; None
        where it has no samples to tell.
    sources, clock
        What was read, and how its times were matched with the run's.
    """

    energy: float
    seconds: float
    idle_seconds: float | None
    idle_energy: float | None
    samples: int
    longest_gap: float
    shift: float | None
    sources: tuple[str, ...]
    clock: tuple[str, ...]

    @property
    def idle_share(self) -> float | None:
        """J that the run would have taken at idle: the baseline's power times its seconds."""
        if self.idle_energy is None or self.idle_seconds is None:
            return None
        return self.idle_energy / self.idle_seconds * self.seconds

    @property
    def above_idle(self) -> float | None:
        """J above that."""
        return None if self.idle_share is None else self.energy - self.idle_share

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**vars(self), "idle_share": self.idle_share, "above_idle": self.above_idle,
                "grade": "metered"}


def read_meter(
    traces: dict[str, Trace],
    run: tuple[float, float],
    idle: tuple[float, float] | None,
    clock: tuple[str, ...],
) -> Reading:
    """Return the reading of a run, by moments in Unix seconds.

    Raises
    ------
    SpecError
        If a trace does not reach over run and baseline.
    """
    began, ended = run
    inside = [trace.within(began, ended) for trace in traces.values()]
    return Reading(
        energy=_energy(traces, began, ended),
        seconds=ended - began,
        idle_seconds=None if idle is None else idle[1] - idle[0],
        idle_energy=None if idle is None else _energy(traces, *idle),
        samples=min(len(times) for times in inside),
        longest_gap=max(float(np.diff([began, *times, ended]).max()) for times in inside),
        shift=_shift(traces, began, ended),
        sources=tuple(traces),
        clock=clock,
    )


def _energy(traces: dict[str, Trace], began: float, ended: float) -> float:
    return sum(trace.energy(began, ended) for trace in traces.values())


def _shift(traces: dict[str, Trace], began: float, ended: float) -> float | None:
    """Return the largest change of the energy when all clocks move by a sample, either way."""
    sample = max(float(np.median(np.diff(trace.times))) for trace in traces.values())
    try:
        here = _energy(traces, began, ended)
        return max(abs(_energy(traces, began + by, ended + by) - here) for by in (-sample, sample))
    except SpecError:
        return None

"""How well a time mean is known: batch means over consecutive segments of the window.

The window is relaxed in S segments that continue state and noise, which changes no bit of it.
With d_s the deviation of a segment's mean from the window's, averaged over outputs,
``c_k = <d_s d_(s+k)>`` estimates gamma_k - V, where gamma is the autocovariance of segment means
and V = gamma_0 / S + (2 / S) sum_k (1 - k / S) gamma_k the variance of the window's mean. Cut at
lag K this gives V (1 - a) = b with a, b the same sums over ones and over c_k.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.devices.protocol import Device, Readout
from pbitstream.errors import SpecError
from pbitstream.program import check_window

__all__ = ["MIN_SEGMENTS", "ErrorEstimate", "SegmentErrors", "relax_in_segments"]

Values = NDArray[np.float64]

MIN_SEGMENTS = 16
#: Segment means further apart than this many segments are taken as uncorrelated.
LAGS = 3
#: Where their correlation at that lag is still above this, the window is too short to tell.
LONGEST = 0.2


@dataclass(frozen=True)
class ErrorEstimate:
    """Error of the time means of a window.

    Attributes
    ----------
    standard_error
        rms over outputs of the standard error of a window mean, in the outputs' units.
    tau
        Autocorrelation time in steps, ``1 + 2 sum rho_k``; None without second moments.
    steps
        Length of the window.
    """

    standard_error: float
    tau: float | None
    steps: int

    def steps_for(self, error: float) -> int:
        """Return the window, in steps, whose standard error is `error`; V falls as 1 / N."""
        if not error > 0:
            raise SpecError(f"error must be positive, not {error}")
        return max(1, math.ceil(self.steps * (self.standard_error / error) ** 2))


class SegmentErrors:
    """Pools the autocovariance of segment means over outputs, batch by batch; O(1) memory.

    Parameters
    ----------
    segments
        S, at least 16.
    """

    def __init__(self, segments: int = MIN_SEGMENTS) -> None:
        if segments < MIN_SEGMENTS:
            raise SpecError(f"segments must be at least {MIN_SEGMENTS}, not {segments}")
        self.segments = segments
        self._products = np.zeros(LAGS + 1)
        self._outputs = 0
        self._variance = 0.0
        self._variances = 0

    def add(self, means: Values, variance: Values | None = None) -> None:
        """Add outputs: segment means (segments, ...), and their single-step variances (...).

        `variance` is ``<x^2> - <x>^2`` over the window, from a relaxation with moments; with it
        the estimate has an autocorrelation time.
        """
        deviation = (means - means.mean(axis=0)).reshape(self.segments, -1)
        for lag in range(LAGS + 1):
            pairs = (deviation[: self.segments - lag] * deviation[lag:]).mean(axis=0)
            self._products[lag] += pairs.sum()
        self._outputs += deviation.shape[1]
        if variance is not None:
            self._variance += float(variance.sum())
            self._variances += variance.size

    def estimate(self, steps: int) -> ErrorEstimate | None:
        """Return the error of the means of windows of `steps` steps.

        None if segments are so short, against the autocorrelation time, that their means still
        correlate at the last lag: such a window cannot tell its own error.
        """
        if not self._outputs:
            raise SpecError("no segments were added")
        weights = 2 * (1 - np.arange(LAGS + 1) / self.segments) / self.segments
        weights[0] /= 2
        b = float(weights @ self._products) / self._outputs
        v = max(0.0, b / (1 - weights.sum()))
        products = self._products / self._outputs
        if products[0] > 0 and products[LAGS] + v > LONGEST * (products[0] + v):
            return None
        tau = None
        if self._variances and self._variance > 0:
            tau = steps * v / (self._variance / self._variances)
        return ErrorEstimate(math.sqrt(v), tau, steps)


def relax_in_segments(
    device: Device, h: ArrayLike, *, steps: int, segments: int = MIN_SEGMENTS, **call: Any
) -> tuple[Readout, Values]:
    """Relax in segments that continue each other; the readout has the bits of one relaxation.

    Parameters
    ----------
    h, steps, call
        As in `Device.relax`.
    segments
        Number of segments, 1 to `steps`; their lengths differ by one at most.

    Returns
    -------
    Readout
        Of the whole window.
    array, shape (segments, inputs, units)
        Mean of every segment, in raw units.
    """
    check_window(steps, int(call.get("burn_in", 0)))
    if not 1 <= segments <= steps:
        raise SpecError(f"segments must be between 1 and steps = {steps}, not {segments}")
    parts: list[Readout] = []
    for segment in range(segments):
        length = steps // segments + (segment < steps % segments)
        if parts:
            call.update(burn_in=0, state=parts[-1].state)
        parts.append(device.relax(h, steps=length, **call))
    return _joined(parts), np.stack([part.mean for part in parts])


def _joined(parts: list[Readout]) -> Readout:
    """Return the readout of consecutive windows: integers added, the last state."""
    squares = [part.square_sums for part in parts if part.square_sums is not None]
    return replace(
        parts[0],
        sums=np.sum([part.sums for part in parts], axis=0),
        square_sums=np.sum(squares, axis=0) if squares else None,
        state=parts[-1].state,
        clips=np.sum([part.clips for part in parts], axis=0),
        steps=sum(part.steps for part in parts),
        rounding=max(part.rounding for part in parts),
    )

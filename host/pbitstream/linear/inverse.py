"""The diagonal of A^-1 as the variances of coupled Langevin units.

At bias 0 and temperature T the covariance is ``T (K - J)^-1`` as dt goes to 0 [1]_. At finite dt a
mode of stiffness m has ``T / (m (1 - m dt / 2))``, hence with M = K - J

``<x_i^2> / T = (M^-1)_ii + dt/2 [(1 - dt M / 2)^-1]_ii``,

of which the second term is the series ``dt/2 (1 + dt/2 M_ii + (dt/2)^2 (M^2)_ii + ...)`` with
positive terms. Three of them are subtracted, which takes the sums of the rows' squares and no more;
what follows is at most ``q / (1 - q)`` of the third, q = dt max m / 2. dt is chosen so that q is a
quarter, half of that bound is subtracted, and the other half is stated.

References
----------
.. [1] M. Aifer et al., "Thermodynamic Linear Algebra", arXiv:2308.05660, 2023.
"""

# Keeps ArrayLike short in help().
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.devices.protocol import Device
from pbitstream.linear import prediction as predict
from pbitstream.linear.mapping import Layout, layouts
from pbitstream.linear.matrix import Scaled, check_error, scale_matrix
from pbitstream.linear.prediction import Prediction
from pbitstream.linear.running import CHAINS, Report, checkpoints, opened, relax_parts
from pbitstream.spec.words import EXPOSED

__all__ = ["InverseDiagonal", "inverse_diagonal"]

Values = NDArray[np.float64]

#: q above: dt max m / 2.
HALF_PACE = 0.25
#: The largest standard deviation is this small a part of the range.
DEVIATIONS = 7.0


@dataclass(frozen=True, eq=False)
class InverseDiagonal:
    """What a substrate answered for diag(A^-1).

    Attributes
    ----------
    values
        float64 (n,).
    uncorrected
        The same before the bias of the time step was subtracted.
    prediction
        Steps and relative rms errors, before the substrate ran.
    wanted
        The relative rms error asked for: root of the mean over i of the squared relative errors.
    tau
        Autocorrelation time of the squares, in steps: mean over units.
    steps, condition, scaled_condition, gap, dt, quantisation, saturated, history
        As in `Solution`; the history holds `values`.
    """

    values: Values
    uncorrected: Values
    prediction: Prediction
    wanted: float
    tau: float
    steps: int
    condition: float
    scaled_condition: float
    gap: float
    dt: float
    quantisation: float
    saturated: int
    history: list[tuple[int, Values]]


def inverse_diagonal(
    a: ArrayLike,
    *,
    device: Device | None = None,
    error: float = 0.05,
    seed: int = 0,
    report: Report = lambda what, done, total: None,
) -> InverseDiagonal:
    """Return the diagonal of A^-1, measured as variances, to a relative rms error.

    Arguments as in `solve`. Steps: O(condition / error^2) at most, whatever n.

    Raises
    ------
    SpecError
        If A is refused; if rounding A to the tables alone, or what is left of the bias of the time
        step, moves the diagonal by more than half of `error`; or if the window would be too long.
    """
    check_error(error)
    system = scale_matrix(a)
    pace = float(2 * HALF_PACE / system.values[-1])
    layout = next(layouts(system.matrix, pace))
    prediction, tau = _predict(system, layout, error)
    with opened(device) as substrate:
        substrate.load(layout.program)
        series, left = _series(layout, system.values[-1])
        history, saturated = [], 0
        values = uncorrected = np.zeros(system.dim)
        for window in relax_parts(substrate, np.zeros(system.dim), checkpoints(prediction.steps),
                                  temperature=prediction.temperature, seed=seed, moments=True,
                                  burn_in=prediction.burn_in, chains=prediction.chains):
            assert window.square is not None
            unit = layout.stiffness / window.temperature
            uncorrected = window.square * unit * system.scale**2
            values = uncorrected - (series + left) * system.scale**2
            history.append((prediction.burn_in + window.steps, values))
            saturated = window.saturated
            report("average of squares", window.steps, prediction.steps)
    shift = layout.quantised - system.matrix
    return InverseDiagonal(
        values=values,
        uncorrected=uncorrected,
        prediction=prediction,
        wanted=error,
        tau=tau,
        steps=history[-1][0],
        condition=system.condition,
        scaled_condition=system.scaled_condition,
        gap=float(system.values[0]) * layout.stiffness,
        dt=layout.dt,
        quantisation=float(np.linalg.norm(shift, 2) / system.values[-1]),
        saturated=saturated,
        history=history,
    )


def _series(layout: Layout, stiffest: float) -> tuple[Values, Values]:
    """Return three terms of the bias of c <x^2> / T, and half the bound on the others."""
    half = layout.pace / 2
    third = half**3 * (layout.quantised**2).sum(axis=1)
    q = half * stiffest
    return half + half**2 + third, third * q / (1 - q) / 2


def _predict(system: Scaled, layout: Layout, error: float) -> tuple[Prediction, float]:
    """Return the prediction, and the mean autocorrelation time of the squares."""
    exact = system.diagonal(1 / system.values)
    inverse = system.apply(1 / system.values, np.eye(system.dim))
    # First order in the rounding: U'^-1 - U^-1 = -U^-1 (U' - U) U^-1.
    shift = ((inverse @ (layout.quantised - system.matrix)) * inverse).sum(axis=1)
    tables, left = _rms(shift / exact), _rms(_series(layout, system.values[-1])[1] / exact)
    if math.hypot(tables, left) > predict.SHARE * error:
        least = math.hypot(tables, left) / predict.SHARE
        raise predict.unreachable(
            error, least, f"rounding A to the tables moves the diagonal by {tables:.2g}, at "
            f"condition number {system.scaled_condition:.3g}, and the time step leaves a bias of "
            f"{left:.2g}"
        )
    pace = layout.pace
    tau = predict.square_tau(system, pace)
    variance = system.diagonal(predict.stationary_variance(system.values, pace))
    sample = float(np.sqrt(2 * (tau * (variance / exact) ** 2).mean()))
    steps = predict.window(sample, error, system.values, pace, CHAINS)
    heat = (-EXPOSED.value(EXPOSED.lowest) / DEVIATIONS) ** 2 / float(variance.max())
    burn_in = predict.burn_in_steps(system.values, pace)
    return Prediction(steps, burn_in, CHAINS, heat * layout.stiffness,
                      sample / math.sqrt(CHAINS * steps), tables, left), float(tau.mean())


def _rms(values: Values) -> float:
    return float(np.sqrt((values**2).mean()))

"""How many steps a wanted error takes, and what error is left, before the substrate has run.

Of every mode of ``M = K - J = c U`` with eigenvalue m the step makes ``a = 1 - dt m`` times itself.

- Gradient flow, T = 0: what is left of the start falls as ``max |a|^N``, nearly exp(-g dt N).
- Mean over N steps, T > 0: ``sum_k C_k = 2 T / (dt m^2)`` over all lags k, at any dt, so that the
  mean has the covariance ``2 T / (dt N) M^-2``: Euler's step does not bias it.
- Mean square over N steps: for a Gaussian process ``cov(x_0^2, x_k^2) = 2 C_k^2`` (Wick), hence a
  relative standard error ``sqrt(2 tau_i / N)`` of unit i with the autocorrelation time of its
  square ``tau_i = sum_k (C_k,ii / C_0,ii)^2``. With P = V o V and the stationary variances
  ``s_m = T / (m (1 - m dt / 2))`` that is
  ``tau_i = sum_mn P_im P_in s_m s_n (1 + a_m a_n) / (1 - a_m a_n) / (sum_m P_im s_m)^2``; one mode
  has (1 + a^2) / (1 - a^2), half of its own autocorrelation time at small dt.

All hold in units of 1 / c with pace = c dt and the eigenvalues w of U, which is how they are
written here. Cost: O(n^3) for the last, O(n^2) for the others, beside the O(n^3) of U's
eigenvectors: on the host a prediction costs more than a digital solution does.
"""

import math
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.linear.matrix import Scaled
from pbitstream.spec.words import MAX_STEPS

__all__ = [
    "Prediction",
    "burn_in_steps",
    "decay_rate",
    "mean_covariance",
    "square_tau",
    "stationary_variance",
    "unreachable",
    "window",
]

Values = NDArray[np.float64]

#: Averages are planned for this fraction of the wanted error, which they then meet with at least
#: 95 %: two standard deviations, if one mode alone carries it.
SHARE = 0.5
#: Time constants of the slowest mode that a burn-in and, at least, a window last; shorter windows
#: have less error than the formulas say.
BURN_IN, SHORTEST = 8, 16


@dataclass(frozen=True)
class Prediction:
    """Steps and relative rms errors, as known before the substrate runs for the answer.

    Attributes
    ----------
    steps, burn_in
        Steps of every chain: averaged and before those; of a gradient flow, all of its steps.
    chains
        Independent chains that are averaged; 1 for a flow.
    temperature
        In energy units of the substrate.
    dynamics
        Of a flow, a bound on what is left of its start; of an average, its standard error.
    tables
        From the rounding of A to the tables.
    rounding
        From the rounding of bias and exposed states; of an inverse diagonal, the bound on what is
        left of the bias of the time step.
    """

    steps: int
    burn_in: int
    chains: int
    temperature: float
    dynamics: float
    tables: float
    rounding: float

    @property
    def error(self) -> float:
        """The root of the sum of the squares of its three parts."""
        return math.sqrt(self.dynamics**2 + self.tables**2 + self.rounding**2)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data for JSON."""
        return {**asdict(self), "error": self.error}


def decay_rate(values: Values, pace: float) -> float:
    """Return -log max |1 - pace w|: what a gradient flow gains per step, in powers of e."""
    return -math.log(float(np.abs(1 - pace * values).max()))


def burn_in_steps(values: Values, pace: float) -> int:
    """Return the steps that leave e^-8 of the slowest mode."""
    return math.ceil(BURN_IN / decay_rate(values, pace))


def unreachable(error: float, least: float, why: str) -> SpecError:
    """Return the error, to be raised, of a wanted error that is too small, with the way out.

    `least` is the smallest that can be had; at 1 or more none can, and A itself must change.
    """
    # Rounded up, so that what is printed is enough.
    shown = float(Context(2, ROUND_CEILING).create_decimal_from_float(least))
    if shown >= 1:
        return SpecError(f"error {error:g} cannot be had here, nor any below 1: {why}; "
                         "regularise A")
    return SpecError(f"error must be at least {shown:g} here, not {error:g}: {why}; allow more, "
                     "or regularise A")


def window(sample_error: float, error: float, values: Values, pace: float, chains: int) -> int:
    """Return the steps of each of some chains whose average has half the wanted error.

    `sample_error` over the root of all steps is the error.

    Raises
    ------
    SpecError
        If that exceeds the longest window, with the error that the longest one has, if any.
    """
    needed = math.ceil((sample_error / (SHARE * error)) ** 2 / chains)
    shortest = math.ceil(SHORTEST / decay_rate(values, pace))
    steps = max(needed, shortest)
    if steps > MAX_STEPS:
        reached = sample_error / math.sqrt(chains * MAX_STEPS) / SHARE
        raise unreachable(error, reached if shortest <= MAX_STEPS else math.inf,
                          f"an average over {chains} chains would take {steps:,} steps of each, "
                          f"and {MAX_STEPS:,} is the longest window")
    return steps


def stationary_variance(values: Values, pace: float) -> Values:
    """Return c / T times the variance of every mode, ``1 / (w (1 - pace w / 2))``."""
    return np.asarray(1 / (values * (1 - pace * values / 2)))


def mean_covariance(system: Scaled, pace: float) -> Values:
    """Return c N / T times the variance of every unit's mean over N steps, (n,)."""
    return 2 / pace * system.diagonal(system.values**-2)


def square_tau(system: Scaled, pace: float) -> Values:
    """Return the autocorrelation time of every unit's square, in steps, (n,)."""
    factor = 1 - pace * system.values
    variance = stationary_variance(system.values, pace)
    product = np.outer(factor, factor)
    pairs = np.outer(variance, variance) * (1 + product) / (1 - product)
    weights = system.vectors**2
    return np.asarray(((weights @ pairs) * weights).sum(axis=1) / (weights @ variance) ** 2)

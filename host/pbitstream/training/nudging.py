"""The nudge at which a gradient estimate errs least, from a few probes before training.

An estimate at nudge b is off by a bias that grows with it and by errors that are divided by it:
rounding of states and biases, what is left of the free phase's drift, noise that the phases do not
share. With p = 2 for the symmetric rule and 1 for the one-sided ones::

    g(b) = g + B b^p + n / b,    E(b) = |B|^2 b^(2p) + |n|^2 / b^2,    least at
    b*   = (|n|^2 / (p |B|^2))^(1 / (2p + 2))

The truth g is not known, but it cancels in differences of estimates from the same minibatch and
noise at b and 2b, as does an error that does not depend on b::

    |g(2b) - g(b)|^2 = (2^p - 1)^2 |B|^2 b^(2p) + c |n|^2 / b^2

where c = 5/4 if n is new at every nudge, as rounding is, and 1/4 if it is the same, as drift
and noise of a free phase are. Probes at 1, 2, 4 ... codes of 2^-10 give these squares over the
whole range; b* is the one whose curve has their shape, by least squares of logarithms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.spec.words import K2
from pbitstream.training.drift import DRIFT_BOUNDS
from pbitstream.training.energy import Parameters
from pbitstream.training.rules import Rule, Start, estimate_gradient
from pbitstream.training.substrate import Batch, Substrate

__all__ = ["NUDGE_RANGE", "Chosen", "choose_nudge", "fit_nudge"]

#: What may be chosen: from one code of a device, and from twice what the bound on drift asks for
#: (`pbitstream.training.drift`), to a quarter, and never above the gap min k2 - lambda_max(J),
#: below which E - nudge C surely stays convex; but the upper end is at least 8 codes.
NUDGE_RANGE = (K2.value(1), 0.25)
LEAST_CODES = 8
#: Candidates for b*, spaced evenly in logarithms.
CANDIDATES = 200


@dataclass(frozen=True)
class Chosen:
    """A chosen nudge and why.

    `bias` and `noise` are |B| b^p and |n| / b there over the size of the gradient, as fitted;
    `lowest` and `highest` are the range, `probes` says how many gradients it took.
    """

    nudge: float
    bias: float
    noise: float
    lowest: float
    highest: float
    probes: int


def choose_nudge(
    substrate: Substrate,
    parameters: Parameters,
    batches: Sequence[Batch],
    *,
    free_steps: int,
    nudged_steps: int,
    rule: Rule = "symmetric",
    start: Start = "warm",
    seed: int = 0,
    names: Sequence[str] | None = None,
    gap: float = 1.0,
) -> Chosen:
    """Probe gradients of minibatches and return the nudge of least expected error.

    About 8 gradients per minibatch. The nudge is one that the substrate applies.

    Parameters
    ----------
    batches
        Minibatches of the size that is trained with, since noise averages over samples.
    names
        Parameters whose gradients count; all if None.
    gap
        Of the energy, min k2 - lambda_max(J); see `NUDGE_RANGE`.
    """
    if rule == "implicit":
        raise SpecError("rule implicit has no nudge to choose")
    low = NUDGE_RANGE[0]
    high = max(min(NUDGE_RANGE[1], gap), LEAST_CODES * low)
    ladder: NDArray[np.float64] = low * np.exp2(np.arange(int(np.log2(high / low)) + 1))
    substrate.load(parameters)
    squares, size, drift, noisy = np.zeros(len(ladder) - 1), 0.0, 0.0, False
    for number, batch in enumerate(batches):
        found = []
        for nudge in ladder:
            estimate = estimate_gradient(
                substrate, parameters, batch, nudge=float(nudge), free_steps=free_steps,
                nudged_steps=nudged_steps, rule=rule, start=start, seed=seed + number,
            )
            gradient = estimate.gradient
            found.append(np.concatenate([gradient[n].ravel() for n in names or sorted(gradient)]))
            noisy = len(estimate.free.x) > 1
            drift = max(drift, estimate.drift)
        rungs = np.stack(found)
        squares += (np.diff(rungs, axis=0) ** 2).sum(axis=1) / len(batches)
        size += float((rungs[len(rungs) // 2] ** 2).sum()) / len(batches)
    order = 2 if rule == "symmetric" else 1
    same = noisy or rule == "one-sided"
    lowest = low if noisy else min(max(low, 2 * drift / DRIFT_BOUNDS[rule]), high)
    best, bias, noise = fit_nudge(ladder[:-1], squares, order, 0.25 if same else 1.25,
                                  (lowest, high))
    nudge = substrate.applied(float(np.clip(best, lowest, high)))
    return Chosen(nudge, bias * nudge**order / size**0.5, noise / nudge / size**0.5, lowest, high,
                  len(ladder) * len(batches))


def fit_nudge(
    nudges: NDArray[np.float64], squares: NDArray[np.float64], order: int, c: float,
    within: tuple[float, float],
) -> tuple[float, float, float]:
    """Return b*, |B| and |n| that fit |g(2b) - g(b)|^2 at the nudges b; see the module's docstring.

    Squares of 0 say nothing: there, no nudge reached the states. Without any other, as at an
    optimum of zero cost, the upper end is returned.
    """
    moved = squares > 0
    if not moved.any():
        return within[1], 0.0, 0.0
    b, measured = nudges[moved], np.log(squares[moved])
    best = np.geomspace(*within, CANDIDATES)[:, None]
    bias = (2.0**order - 1) ** 2 * b ** (2 * order)
    shape = np.log(bias + c * order * best ** (2 * order + 2) / b**2)
    level = (measured - shape).mean(axis=1)
    place = int(((measured - shape - level[:, None]) ** 2).sum(axis=1).argmin())
    chosen, size = float(best[place, 0]), float(np.exp(level[place] / 2))
    return chosen, size, size * order**0.5 * chosen ** (order + 1)

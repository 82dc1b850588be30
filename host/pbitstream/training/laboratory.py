"""The gradient laboratory: how good estimates of equilibrium propagation are, against the truth.

With g(b) = dE/dtheta at the fixed point of E + b C, the rules of `pbitstream.training.rules` are
difference quotients of g at 0, so Taylor's theorem bounds what they are off by::

    one-sided   |(g(b) - g(0)) / b    - g'(0)| <= b / 2   max over 0 <= s <= b   of |g''(s)|
    symmetric   |(g(b) - g(-b)) / 2b  - g'(0)| <= b^2 / 6 max over |s| <= b      of |g'''(s)|

With the gap mu = min k2 - lambda_max(J) - b, which bounds every Hessian from below, and |x_out - y|
<= c, |x_i| <= X, k4 <= q on the way, the derivatives of the fixed point, and so the bias of dE/dh,
have a bound that needs no derivative::

    |x'| <= c/mu,  |x''| <= (2 |x'| + 6 q X |x'|^2)/mu,
    |x'''| <= (3 |x''| + 6 q |x'|^3 + 18 q X |x'| |x''|)/mu

Relaxations that stop early are another matter: see `alignment`. Noise, fixed point and mismatch are
in `pbitstream.training.imperfections`.

References
----------
.. [1] "Symmetric equilibrium propagation", arXiv 2604.23806.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from pbitstream.training.energy import Parameters, energy_gradient
from pbitstream.training.rules import Rule, Start, cosine, estimate_gradient
from pbitstream.training.substrate import Batch, Settled, Substrate
from pbitstream.training.systems import Converged, System, flat

__all__ = ["BUDGETS", "FIT_BELOW", "NUDGES", "AlignmentRow", "Bias", "BoundRow", "Budget", "Memo",
           "Report", "alignment", "bias", "bounds", "idle"]

Values = NDArray[np.float64]
#: Called with (what is being done, how many are done, of how many).
Report: TypeAlias = Callable[[str, int, int], None]

#: Nudges of the bias, from where it is large to where rounding would soon show.
NUDGES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
SLOPED: tuple[Rule, ...] = ("one-sided", "symmetric")
#: The rules whose relaxations are measured.
MEASURED: tuple[Rule, ...] = ("one-sided", "one-sided-matched", "symmetric")
#: Slopes are fitted up to this nudge: at .3 higher orders bend the lines, to .97 and 1.96.
FIT_BELOW = 0.1
#: g is interpolated by a Chebyshev series of this degree over the largest nudge of a bound.
DEGREE, BOUND_NUDGES = 20, (0.1, 0.03, 0.01)


def idle(what: str, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Budget:
    """A nudge, and the steps of the free and of each nudged phase."""

    nudge: float
    free: int
    nudged: int


#: The table of relaxation budgets, at dt = 1/8.
BUDGETS = tuple(Budget(nudge, free, steps)
                for nudge in (0.02, 0.1) for free in (10, 20, 40) for steps in (10, 40))


@dataclass(frozen=True, eq=False)
class Bias:
    """Relative bias |estimate - truth| / |truth| at fixed points.

    Attributes
    ----------
    nudges
        Nudges, (n,).
    relative
        By rule, (systems, n).
    slopes
        By rule, (systems,): least-squares slopes of log bias over log nudge up to `FIT_BELOW`.
    slopes_all
        The same over all nudges.
    """

    nudges: Values
    relative: dict[str, Values]
    slopes: dict[str, Values]
    slopes_all: dict[str, Values]


def bias(
    systems: Sequence[System], nudges: Sequence[float] = NUDGES, report: Report = idle
) -> Bias:
    """Measure the bias of converged estimates against the nudge."""
    relative: dict[str, list[list[float]]] = {rule: [] for rule in SLOPED}
    for number, system in enumerate(systems):
        report("bias against nudge", number, len(systems))
        substrate = Memo(Converged())
        substrate.load(system.parameters)
        truth = flat(system.gradient, system.names)
        for rule in SLOPED:
            found = []
            for nudge in nudges:
                estimate = estimate_gradient(substrate, system.parameters, system.batch,
                                             nudge=nudge, free_steps=1, nudged_steps=1, rule=rule)
                off = flat(estimate.gradient, system.names) - truth
                found.append(float(np.linalg.norm(off) / np.linalg.norm(truth)))
            relative[rule].append(found)
    arrays = {rule: np.array(found) for rule, found in relative.items()}
    strengths = np.asarray(nudges)
    small = strengths <= FIT_BELOW
    slopes, slopes_all = (
        {rule: np.polyfit(np.log(strengths[part]), np.log(found[:, part]).T, 1)[0]
         for rule, found in arrays.items()}
        for part in (small, np.ones_like(small))
    )
    return Bias(strengths, arrays, slopes, slopes_all)


@dataclass(frozen=True)
class BoundRow:
    """Largest ratios of the measured bias to its bounds over systems; none exceeds 1.

    `measured` and `taylor` are means over systems of the bias and of Taylor's bound, relative to
    the true gradient; `tightest` is the largest measured / bound. `a_priori` is the largest ratio
    of the measured bias of dE/dh to the bound from the gap alone, symmetric rule only.
    """

    rule: str
    nudge: float
    measured: float
    taylor: float
    tightest: float
    a_priori: float | None


def bounds(
    systems: Sequence[System], nudges: Sequence[float] = BOUND_NUDGES, report: Report = idle
) -> list[BoundRow]:
    """Evaluate the bounds of the module's docstring; g comes from Newton's method at nodes."""
    found: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    for number, system in enumerate(systems):
        report("bias bounds", number, len(systems))
        for key, values in _bounds_of(system, nudges):
            found.setdefault(key, []).append(values)
    rows = []
    for (rule, b), values_of_systems in found.items():
        measured, bound, ratio = np.array(values_of_systems).T
        rows.append(BoundRow(rule, b, float(measured.mean()), float(bound.mean()),
                             float((measured / bound).max()),
                             float(ratio.max()) if rule == "symmetric" else None))
    return rows


def _bounds_of(
    system: System, nudges: Sequence[float]
) -> Iterator[tuple[tuple[str, float], tuple[float, float, float]]]:
    """Yield (rule, nudge) with bias, Taylor's bound, and bias of dE/dh over its a-priori bound."""
    names = system.names
    substrate = Converged()
    substrate.load(system.parameters)
    free = Settled(system.point[None], None)

    def at(nudge: float) -> Values:
        settled = substrate.settle(system.batch, nudge=nudge, steps=1, start=free, seed=0)
        return np.asarray(settled.x[-1])

    def g(nudge: float, parts: list[str]) -> Values:
        return flat(energy_gradient(system.parameters, at(nudge), system.batch.mix), parts)

    reach = max(nudges)
    nodes = chebyshev.chebpts1(DEGREE + 1)
    series = chebyshev.chebfit(nodes, np.stack([g(reach * s, names) for s in nodes]), DEGREE)
    truth = flat(system.gradient, names)
    size = float(np.linalg.norm(truth))
    for b in nudges:
        for rule, order, low, factor in (("one-sided", 2, 0.0, b / 2),
                                         ("symmetric", 3, -b, b * b / 6)):
            places = np.linspace(low, b, 41)
            derivative = chebyshev.chebder(series, order) / reach**order
            steepest = np.linalg.norm(chebyshev.chebval(places / reach, derivative), axis=0)
            span = b - low
            off = np.linalg.norm((g(b, names) - g(low, names)) / span - truth)
            ratio = np.nan
            if rule == "symmetric":
                off_h = (g(b, ["h"]) - g(-b, ["h"])) / span - system.gradient["h"]
                limit = factor * _third_derivative(system, [at(s) for s in places], b)
                ratio = float(np.linalg.norm(off_h)) / limit
            yield (rule, b), (float(off) / size, factor * float(steepest.max()) / size, ratio)


def _third_derivative(system: System, points: Iterable[Values], nudge: float) -> float:
    """Return the bound of |x'''| from the gap, for points on the way from -nudge to nudge."""
    p, free = system.parameters, system.parameters.free
    out = p.part(system.batch.output)
    j = p.coupling_matrix()[np.ix_(free, free)]
    mu = p.arrays["k2"][free].min() - np.linalg.eigvalsh(j)[-1] - nudge
    q = p.arrays["k4"][free].max()
    along = np.concatenate(list(points))
    c = np.linalg.norm(along[:, out] - system.batch.target, axis=1).max()
    widest = np.abs(along[:, free]).max()
    first = c / mu
    second = (2 * first + 6 * q * widest * first**2) / mu
    return float((3 * second + 6 * q * first**3 + 18 * q * widest * first * second) / mu)


class Memo:
    """A substrate that remembers relaxations, so that rules share their free phases.

    A repeated call returns the first one's result, which without it would be equal in every bit.
    """

    def __init__(self, substrate: Substrate) -> None:
        self.substrate = substrate
        self._kept: dict[tuple[object, ...], tuple[Settled, Batch, Settled | None]] = {}

    def load(self, parameters: Parameters) -> None:
        """Load, and forget what was relaxed before."""
        self._kept.clear()
        self.substrate.load(parameters)

    def applied(self, nudge: float) -> float:
        """Return what the substrate applies."""
        return self.substrate.applied(nudge)

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        """Relax, or return what the same call returned."""
        key = (id(batch), nudge, steps, id(start), seed)
        if key not in self._kept:
            settled = self.substrate.settle(batch, nudge=nudge, steps=steps, start=start, seed=seed)
            # Batch and start are kept alive, or their identities could be given out again.
            self._kept[key] = settled, batch, start
        return self._kept[key][0]


@dataclass(frozen=True)
class AlignmentRow:
    """Cosine of estimates with the true gradient: mean, extremes, share below 0."""

    nudge: float
    free: int
    nudged: int
    rule: Rule
    start: Start
    mean: float
    min: float
    max: float
    negative: float
    clips: int


def alignment(
    systems: Sequence[System],
    substrate: Substrate,
    budgets: Sequence[Budget] = BUDGETS,
    *,
    rules: Sequence[Rule] = MEASURED,
    starts: Sequence[Start] = ("warm", "cold"),
    report: Report = idle,
    what: str = "alignment",
) -> list[AlignmentRow]:
    """Measure how estimates from finite relaxations point along the true gradient.

    One-sided, the drift of an unfinished free phase is divided by the nudge; both other rules
    subtract phases that drift alike.

    Parameters
    ----------
    systems
        With their references; see `System.names` for what is compared.
    substrate
        Any; loads every system in turn.
    """
    cases = [(b, rule, start) for b in budgets for start in starts for rule in rules]
    found = np.empty((len(cases), len(systems)))
    clips = np.zeros(len(cases), np.int64)
    memo = Memo(substrate)
    for number, system in enumerate(systems):
        report(what, number, len(systems))
        memo.load(system.parameters)
        for place, (budget, rule, start) in enumerate(cases):
            estimate = estimate_gradient(
                memo, system.parameters, system.batch, nudge=budget.nudge,
                free_steps=budget.free, nudged_steps=budget.nudged, rule=rule, start=start,
            )
            found[place, number] = cosine(estimate.gradient, system.gradient, system.names)
            clips[place] += estimate.clips
    return [
        AlignmentRow(b.nudge, b.free, b.nudged, rule, start, float(row.mean()), float(row.min()),
                     float(row.max()), float((row < 0).mean()), int(count))
        for (b, rule, start), row, count in zip(cases, found, clips)
    ]

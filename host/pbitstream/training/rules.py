"""Equilibrium propagation: gradients of a cost from readouts of free and nudged relaxations.

With g(x) = dE/dtheta(x) at the states of a relaxation and b the nudge, E + b C::

    symmetric          (g(x_+b) - g(x_-b)) / 2b        bias O(b^2)
    one-sided          (g(x_+b) - g(x_0)) / b          bias O(b), and the free phase's drift over b
    one-sided-matched  (g(x_+b) - g(x_0')) / b         x_0' relaxed on, free, as long as x_+b

The rule ``implicit`` is the digital reference: it relaxes free and differentiates the fixed point,
which no device can do.

References
----------
.. [1] "Symmetric equilibrium propagation", arXiv 2604.23806.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.training.energy import (
    Gradient,
    Parameters,
    energy_gradient,
    true_gradient,
)
from pbitstream.training.substrate import Batch, Settled, Substrate

__all__ = ["RULES", "Estimate", "Rule", "Start", "cosine", "estimate_gradient"]

Rule: TypeAlias = Literal["symmetric", "one-sided", "one-sided-matched", "implicit"]
Start: TypeAlias = Literal["warm", "cold"]
RULES: tuple[Rule, ...] = ("symmetric", "one-sided", "one-sided-matched", "implicit")


@dataclass(frozen=True, eq=False)
class Estimate:
    """A gradient estimate, the free states it came from, the nudge applied and the cost.

    `cost` is the mean over samples of |x_out - y|^2 / 2 at the end of the free phase; `drift` the
    rms of dE/dx of free units there, which the one-sided rule divides by the nudge; `clips` counts
    clipped operations of all phases, `steps` the relaxation steps of a sample.
    """

    gradient: Gradient
    free: Settled
    nudge: float
    cost: float
    drift: float
    clips: int
    steps: int


def estimate_gradient(
    substrate: Substrate,
    parameters: Parameters,
    batch: Batch,
    *,
    nudge: float,
    free_steps: int,
    nudged_steps: int,
    rule: Rule = "symmetric",
    start: Start = "warm",
    seed: int = 0,
) -> Estimate:
    """Relax free and nudged and return the gradient of the mean cost; parameters are loaded.

    Parameters
    ----------
    start
        Nudged phases go on from the free phase's end (warm), or from a reset state (cold).
    seed
        Of the noise; warm phases continue the free phase's noise, so that the two nudged phases
        see the same one.
    """
    if rule not in RULES:
        raise SpecError(f"rule must be one of {', '.join(RULES)}, not {rule}")
    if not nudge > 0:
        raise SpecError(f"nudge must be positive, not {nudge}")
    wanted = (len(batch.clamp), parameters.modules[batch.output].dim)
    if batch.target.shape != wanted or not np.isfinite(batch.target).all():
        raise SpecError(f"targets must be finite and of shape {wanted}, not {batch.target.shape}")
    b = substrate.applied(nudge)

    def settle(strength: float, steps: int, begin: Settled | None) -> Settled:
        return substrate.settle(batch, nudge=strength, steps=steps, start=begin, seed=seed)

    free = settle(0.0, free_steps, None)
    if rule == "implicit":
        return _implicit(parameters, batch, free, free_steps)
    begin = free if start == "warm" else None
    plus = settle(b, nudged_steps, begin)
    if rule == "symmetric":
        other, span = settle(-b, nudged_steps, begin), 2 * b
    elif rule == "one-sided-matched":
        other, span = settle(0.0, nudged_steps, begin), b
    else:
        other, span = free, b
    found = _mean_difference(parameters, plus, other, batch.mix)
    phases = 1 if rule == "one-sided" else 2
    return Estimate(
        gradient={name: np.divide(value, span, dtype=np.float64) for name, value in found.items()},
        free=free,
        nudge=b,
        cost=mean_cost(parameters, batch, free),
        drift=free_drift(parameters, free, batch.mix),
        clips=free.clips + plus.clips + (other.clips if other is not free else 0),
        steps=free_steps + phases * nudged_steps,
    )


def _implicit(parameters: Parameters, batch: Batch, free: Settled, steps: int) -> Estimate:
    x = free.x[-1]
    slope = np.zeros_like(x)
    out = parameters.part(batch.output)
    slope[:, out] = x[:, out] - batch.target
    return Estimate(
        gradient=true_gradient(parameters, x, slope, batch.mix),
        free=free,
        nudge=1.0,
        cost=mean_cost(parameters, batch, free),
        drift=free_drift(parameters, free, batch.mix),
        clips=free.clips,
        steps=steps,
    )


def mean_cost(parameters: Parameters, batch: Batch, settled: Settled) -> float:
    """Return the mean over samples of |x_out - y|^2 / 2 at the end of a relaxation."""
    distance = settled.x[-1][:, parameters.part(batch.output)] - batch.target
    return float((distance**2).sum(axis=1).mean() / 2)


def free_drift(parameters: Parameters, settled: Settled, mix: NDArray[np.float64] | None) -> float:
    """Return the rms of dE/dx over free units at the end of a relaxation; 0 at a fixed point."""
    x = settled.compact[-1]
    k2, k4, h = (parameters.arrays[name].astype(x.dtype, copy=False) for name in ("k2", "k4", "h"))
    slope = (k2 + k4 * x * x) * x - h - parameters.field(x, mix)
    return float(np.sqrt((slope[:, parameters.free] ** 2).mean(dtype=np.float64)))


def cosine(a: Gradient, b: Gradient, names: list[str] | None = None) -> float:
    """Return the cosine of two gradients over all, or some, parameters."""
    names = sorted(a) if names is None else names
    u, v = (np.concatenate([g[name].ravel() for name in names]) for g in (a, b))
    return float(u @ v / (np.linalg.norm(u) * np.linalg.norm(v)))


def _mean_difference(
    parameters: Parameters, high: Settled, low: Settled, mix: NDArray[np.float64] | None
) -> Gradient:
    """Return g at the states of `high` less g at those of `low`, each the mean over segments."""
    if len(high.x) == len(low.x):
        return _mean([energy_gradient(parameters, x, mix, less=y)
                      for x, y in zip(high.compact, low.compact)])
    above, below = (_mean([energy_gradient(parameters, x, mix) for x in settled.x])
                    for settled in (high, low))
    return {name: above[name] - below[name] for name in above}


def _mean(parts: list[Gradient]) -> Gradient:
    if len(parts) == 1:
        return parts[0]
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}

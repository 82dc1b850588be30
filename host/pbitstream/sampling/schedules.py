"""Schedules of beta for annealing, and a range that suits a problem."""

# Keeps ArrayLike short in help().
from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError
from pbitstream.ising.problem import Problem

__all__ = ["SHAPES", "beta_range", "ladder", "per_sweep"]

Betas = NDArray[np.float64]

#: How beta rises from hot to cold.
SHAPES = ("geometric", "linear")
#: Hot: even the p-bit with the largest reach is against its field with this probability.
HOT = 1 / 3
#: Cold: a p-bit with the smallest field there can be is against it with this probability.
COLD = 0.01


def beta_range(problem: Problem) -> tuple[float, float]:
    """Return a hot and a cold beta for a problem.

    A p-bit in field I is against it with probability ``1 / (1 + exp(2 beta |I|))``. Hot makes that
    `HOT` at the largest reach ``|h_i| + sum_j |J_ij|``; cold makes it `COLD` at the smallest
    nonzero |h_i| or |J_ij|, which stands for the smallest field. A problem without any is flat:
    then both are those of |I| = 1.
    """
    reach = np.abs(problem.h).copy()
    for end in (problem.first, problem.second):
        np.add.at(reach, end, np.abs(problem.weight))
    numbers = np.abs(np.concatenate([problem.h, problem.weight]))
    numbers = numbers[numbers > 0]
    largest, smallest = (reach.max(), numbers.min()) if len(numbers) else (1.0, 1.0)
    hot, cold = (math.log(1 / share - 1) / 2 for share in (HOT, COLD))
    return float(hot / largest), float(cold / smallest)


def ladder(hot: float, cold: float, count: int, shape: str = "geometric") -> Betas:
    """Return `count` betas from hot to cold, ends included; one beta alone is the cold one.

    Raises
    ------
    SpecError
        If a beta is negative or not finite, `hot` is above `cold`, or 0 in a geometric ladder.
    """
    if shape not in SHAPES:
        raise SpecError(f"shape must be one of {', '.join(SHAPES)}, not {shape}")
    if not (0 <= hot <= cold < math.inf):
        raise SpecError("beta must rise from hot to cold, both at least 0, "
                        f"not {hot:g} to {cold:g}")
    if count < 1:
        raise SpecError(f"count must be at least 1, not {count}")
    if count == 1:
        return np.array([cold])
    if shape == "linear":
        return np.linspace(hot, cold, count)
    if hot == 0:
        raise SpecError("hot must be above 0 in a geometric ladder; take a linear one")
    return np.geomspace(hot, cold, count)


def per_sweep(table: ArrayLike, sweeps: int) -> Betas:
    """Return the beta of every sweep: a table of betas shares the sweeps as rows of settings do.

    Sweep t of n takes entry ``t * len(table) // n``; a table longer than the sweeps is refused.
    """
    betas = np.asarray(table, np.float64)
    if betas.ndim != 1 or not 1 <= len(betas) <= sweeps:
        raise SpecError(f"the table of betas must hold between 1 and {sweeps} numbers, one per "
                        f"sweep at most, not shape {betas.shape}")
    if not (np.isfinite(betas).all() and (betas >= 0).all()):
        raise SpecError("betas must be finite and not negative")
    return np.asarray(betas[np.arange(sweeps) * len(betas) // sweeps])

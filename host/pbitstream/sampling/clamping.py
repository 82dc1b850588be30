"""Holding some p-bits of a problem: what is left is a smaller problem with other biases."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.ising.problem import Problem

__all__ = ["Clamped", "clamp"]


@dataclass(frozen=True, eq=False)
class Clamped:
    """A problem with some p-bits held.

    Attributes
    ----------
    problem
        Of the free p-bits, with the energies of the whole.
    free
        int64: their indices in the whole problem.
    spins
        int8 (n,): the held values, 0 where free.
    """

    problem: Problem
    free: NDArray[np.int64]
    spins: NDArray[np.int8]

    def whole(self, spins: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return spins (..., n) of the whole problem from those of the free p-bits."""
        full = np.broadcast_to(self.spins, (*spins.shape[:-1], len(self.spins))).copy()
        full[..., self.free] = spins
        return full


def clamp(problem: Problem, held: Mapping[int, int]) -> Clamped:
    """Return the problem of the p-bits that are not held: ``h_i += sum_held J_ij m_j``.

    Raises
    ------
    SpecError
        If an index is outside, a value is not -1 or +1, or no p-bit stays free.
    """
    spins = np.zeros(problem.n, np.int8)
    for index, value in held.items():
        if not 0 <= index < problem.n:
            raise SpecError(f"a held p-bit must be between 0 and {problem.n - 1}, not {index}")
        if value not in (-1, 1):
            raise SpecError(f"p-bit {index} must be held at -1 or +1, not {value}")
        spins[index] = value
    free = np.flatnonzero(spins == 0)
    if not len(free):
        raise SpecError("at least one p-bit must stay free")
    h, offset = problem.h.copy(), problem.offset - float(problem.h @ spins)
    first, second, weight = problem.first, problem.second, problem.weight
    at_first, at_second = spins[first], spins[second]
    offset -= float(weight @ (at_first * at_second).astype(np.float64))
    # Where the other end is free, a held end's product is a bias there; a held one ignores it.
    np.add.at(h, first, weight * at_second)
    np.add.at(h, second, weight * at_first)
    kept = (at_first == 0) & (at_second == 0)
    place = np.cumsum(spins == 0) - 1
    described: dict[str, Any] = {"name": problem.name, "source": problem.source}
    if problem.labels is not None:
        described["labels"] = tuple(problem.labels[int(i)] for i in free)
    smaller = Problem(h[free], place[first[kept]], place[second[kept]], weight[kept], offset,
                      **described)
    return Clamped(smaller, free, spins)

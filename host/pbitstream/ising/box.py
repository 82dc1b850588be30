"""Three even colour classes of a periodic lattice with an odd side, found from its edges alone.

Two colours do not close around an odd side, and a greedy third one lies along seams, so that its
units have no regular neighbours. A walk of +-1 modulo 3 closes around any side of at least 3; the
sum of one walk along each axis is a proper colouring in which neighbouring rows repeat each other.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pbitstream.ising.problem import Problem

__all__ = ["box_colouring"]

Indices = NDArray[np.int64]


def box_colouring(problem: Problem) -> Indices | None:
    """Return three colours of a periodic box numbered by rows, None if the graph is none.

    The strides 1, L1, L1 L2, ... are the differences of numbers that more than half of all p-bits
    have an edge of, each a multiple of the one before. Cost: O(edges).
    """
    sides = _sides(problem)
    if not sides:
        return None
    colours = np.zeros(problem.n, np.int64)
    for walk, place in zip(map(_walk, sides), np.unravel_index(np.arange(problem.n), sides)):
        colours += walk[place]
    colours %= 3
    proper = bool((colours[problem.first] != colours[problem.second]).all())
    return colours if proper and len(np.unique(colours)) == 3 else None


def _sides(problem: Problem) -> tuple[int, ...]:
    """Return the sides of the box, the fastest last; none if strides do not divide each other."""
    counts = np.bincount(problem.second - problem.first)
    strides: list[int] = np.flatnonzero(2 * counts > problem.n).tolist()
    ends = [*strides, problem.n]
    if ends[0] != 1 or any(b % a for a, b in pairwise(ends)):
        return ()
    return tuple(b // a for a, b in pairwise(ends))[::-1]


def _walk(side: int) -> Indices:
    """Return a closed walk of +-1 modulo 3: 0 1 0 1 around an even side, else mostly 0 1 2."""
    back = side // 2 if side % 2 == 0 else -side % 3
    steps = np.ones(side, np.int64)
    if side % 2 == 0:
        steps[1::2] = -1
    else:
        # The sum of the steps, side - 2 back, is a multiple of 3.
        steps[side - back :] = -1
    return (np.cumsum(steps) - steps) % 3

"""Colour classes of a problem's graph: p-bits of one colour are updated together.

A colouring is an int64 array (n,) of colours 0 to k - 1, and proper if no coupling joins two p-bits
of one colour; only then does a synchronous update of a class sample the Boltzmann law.
"""

# Keeps ArrayLike short in help().
from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError
from pbitstream.ising.problem import Problem

__all__ = ["balanced_colouring", "check_colouring", "greedy_colouring", "neighbours"]

Indices = NDArray[np.int64]

#: Rounds of moves, or fewer if nothing moves.
ROUNDS = 64


def neighbours(problem: Problem) -> tuple[Indices, Indices]:
    """Return the graph as CSR: pointers (n + 1,), and neighbours ascending within each row."""
    row = np.concatenate([problem.first, problem.second])
    column = np.concatenate([problem.second, problem.first])
    pointers = np.zeros(problem.n + 1, np.int64)
    np.cumsum(np.bincount(row, minlength=problem.n), out=pointers[1:])
    return pointers, column[np.lexsort((column, row))]


def greedy_colouring(problem: Problem) -> Indices:
    """Return a proper colouring with few colours; two exactly if the graph is bipartite.

    DSATUR [1]_: colour next the p-bit whose neighbours have most colours already, of those the one
    with most neighbours, of those the first, and give it the least colour that no neighbour has.
    Cost: O((n + edges) log n).

    .. [1] D. Brelaz, New methods to color the vertices of a graph, CACM 22 (1979) 251.
    """
    pointers, columns = (array.tolist() for array in neighbours(problem))
    n = problem.n
    degree = [pointers[i + 1] - pointers[i] for i in range(n)]
    # The colours seen by a p-bit, as bits of an integer.
    seen = [0] * n
    colours = [-1] * n
    heap = [(0, -degree[i], i) for i in range(n)]
    heapq.heapify(heap)
    while heap:
        _, _, i = heapq.heappop(heap)
        if colours[i] >= 0:
            continue
        # The lowest bit that is 0.
        bit = ~seen[i] & (seen[i] + 1)
        colours[i] = bit.bit_length() - 1
        for j in columns[pointers[i] : pointers[i + 1]]:
            if colours[j] < 0 and not seen[j] & bit:
                seen[j] |= bit
                heapq.heappush(heap, (-seen[j].bit_count(), -degree[j], j))
    return np.array(colours, np.int64)


def balanced_colouring(problem: Problem, colouring: ArrayLike | None = None) -> Indices:
    """Return a proper colouring of as many colours whose classes are as equal as moves make them.

    From `colouring`, by default `greedy_colouring`: a p-bit of a class above the mean goes to the
    smallest class below it that none of its neighbours is in, and connected parts that use two
    colours swap them, as long as classes become more equal. A connected bipartite graph has but one
    colouring of two colours. Cost: O(edges) a round.
    """
    colours = (greedy_colouring(problem) if colouring is None
               else check_colouring(problem, colouring))
    pointers, columns = (array.tolist() for array in neighbours(problem))
    sizes = np.bincount(colours).tolist()
    mean = problem.n / len(sizes)
    given = colours.tolist()
    for _ in range(ROUNDS):
        moved = _move(given, sizes, mean, pointers, columns)
        moved += _swap(given, sizes, pointers, columns)
        if not moved:
            break
    return np.array(given, np.int64)


def check_colouring(problem: Problem, colouring: ArrayLike) -> Indices:
    """Return a colouring with colours 0 to k - 1 in their order; SpecError unless it is proper."""
    colours = np.asarray(colouring)
    if colours.shape != (problem.n,) or colours.dtype.kind not in "iu":
        raise SpecError(f"colouring must be whole numbers of shape ({problem.n},), not "
                        f"{colours.dtype} of shape {colours.shape}")
    same = colours[problem.first] == colours[problem.second]
    if same.any():
        at = int(same.argmax())
        first, second = problem.first[at], problem.second[at]
        raise SpecError(f"coupled p-bits must have different colours, not both {colours[first]} as "
                        f"{first} and {second} ({int(same.sum())} such couplings)")
    return np.unique(colours, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _move(colours: list[int], sizes: list[int], mean: float, pointers: list[int],
          columns: list[int]) -> int:
    """Move single p-bits from classes above the mean to ones at least two smaller; count them."""
    moved = 0
    for i, colour in enumerate(colours):
        if sizes[colour] <= mean:
            continue
        taken = {colours[j] for j in columns[pointers[i] : pointers[i + 1]]}
        allowed = [c for c in range(len(sizes)) if c not in taken and sizes[c] + 1 < sizes[colour]]
        if allowed:
            to = min(allowed, key=sizes.__getitem__)
            colours[i] = to
            sizes[colour] -= 1
            sizes[to] += 1
            moved += 1
    return moved


def _swap(colours: list[int], sizes: list[int], pointers: list[int], columns: list[int]) -> int:
    """Swap two colours on a connected part of their p-bits (a Kempe chain); count swaps.

    The largest class against the others: every part in which it outnumbers the other, by less than
    the classes differ, is swapped.
    """
    swapped = 0
    large = max(range(len(sizes)), key=sizes.__getitem__)
    for small in sorted(range(len(sizes)), key=sizes.__getitem__):
        visited = bytearray(len(colours))
        for start, colour in enumerate(colours):
            if sizes[large] - sizes[small] < 2:
                break
            if visited[start] or colour != large:
                continue
            part = [start]
            visited[start] = 1
            for i in part:
                for j in columns[pointers[i] : pointers[i + 1]]:
                    if not visited[j] and colours[j] in (large, small):
                        visited[j] = 1
                        part.append(j)
            excess = sum(1 if colours[i] == large else -1 for i in part)
            if 0 < excess < sizes[large] - sizes[small]:
                for i in part:
                    colours[i] = large + small - colours[i]
                sizes[large] -= excess
                sizes[small] += excess
                swapped += 1
    return swapped

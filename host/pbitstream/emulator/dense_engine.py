"""The emulator's engine for p-bits with dense banks: a plan whose dense couplings are sums kept."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator import dense_kernels as k
from pbitstream.emulator.compiled import Compiled
from pbitstream.emulator.dense import ROWS, pays
from pbitstream.emulator.plan import Plan, padded
from pbitstream.program import Program
from pbitstream.spec.words import SPIN

__all__ = ["Dense", "DensePlan"]


class DensePlan(Plan):
    """A plan whose dense couplings from free modules are tables of `relax_dense`.

    Attributes
    ----------
    ends, couplings, weights, low
        As the kernel wants them.
    lowest
        g of every coupling when all spins are down, uint16.
    """

    def __init__(self, program: Program) -> None:
        self._couplings: list[tuple[int, int, list[int]]] = []
        self._weights: list[NDArray[np.uint16]] = []
        self._low: list[NDArray[np.int32]] = []
        self._lowest: list[NDArray[np.uint16]] = []
        super().__init__(program)
        rows: list[list[int]] = []
        self.ends = np.zeros((len(self.modules), k.END_WORDS), np.int64)
        for first, last, side in ((k.PUSH_FIRST, k.PUSH_END, 0), (k.PULL_FIRST, k.PULL_END, 1)):
            for module, end in enumerate(self.ends):
                end[first] = len(rows)
                rows += [words for *sides, words in self._couplings if sides[side] == module]
                end[last] = len(rows)
        self.couplings = np.array(rows, np.int64).reshape(-1)
        self.weights = _joined(self._weights, np.uint16)
        self.low = _joined(self._low, np.int32)
        self.lowest = _joined(self._lowest, np.uint16)

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return a thread's scratch arrays, those of `relax_dense` last."""
        largest = max(module.dim for module in self.topology.modules)
        return (*super().scratch(), np.zeros(largest, np.int32), np.zeros(largest, np.int32))

    def _add_dense(self, matrix: NDArray[np.int16], source: int, target: int) -> None:
        if self.topology.modules[source].clamped or not pays(len(matrix)):
            super()._add_dense(matrix, source, target)
            return
        dim, columns = matrix.shape
        words = [0] * k.COUPLING_WORDS
        words[k.COUPLING_SUMS] = sum(map(len, self._low))
        words[k.COUPLING_ROWS] = rows = padded(dim, ROWS)
        words[k.COUPLING_TILES] = sum(map(len, self._weights))
        words[k.COUPLING_COLUMNS] = columns
        self._couplings.append((source, target, words))
        full = np.zeros((rows, columns), np.int16)
        full[:dim] = matrix
        tiles = full.reshape(-1, ROWS, columns).transpose(0, 2, 1)
        self._weights.append(np.ascontiguousarray(tiles).reshape(-1).view(np.uint16))
        above = np.maximum(full, 0).sum(axis=1, dtype=np.int64)
        below = -np.minimum(full, 0).sum(axis=1, dtype=np.int64)
        self._low.append((SPIN * (above + below)).astype(np.int32))
        self._lowest.append(below.astype(np.uint16))


class Dense(Compiled):
    """Runs calls of one program of p-bits; see `pbitstream.emulator.dense_kernels`."""

    plan: DensePlan

    def __init__(self, program: Program, threads: int) -> None:
        self.plan = DensePlan(program)
        self.threads = threads

    def _kernel(self, chains: int) -> Callable[..., None]:
        """Return the kernel of a call of so many chains: their sums start with all spins down."""
        plan = self.plan
        known = np.zeros(chains * plan.count, np.int8)
        sums = np.tile(plan.lowest, chains)
        return partial(k.relax_dense, plan.ends.reshape(-1), plan.couplings, plan.weights, plan.low,
                       known, sums)


def _joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """Return parts as one array, and let go of them."""
    whole = np.concatenate([np.zeros(0, dtype), *parts])
    parts.clear()
    return whole

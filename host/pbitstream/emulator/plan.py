"""A program laid out for the compiled kernel: flat tables, padded units.

`Plan` is to the kernel what a loaded image is to a board: everything about a program that does not
change between relaxations. Its layout is described in `pbitstream.emulator.kernels`.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator import kernels as k
from pbitstream.emulator.dense import dense_matrix, entries_of
from pbitstream.program import Program
from pbitstream.spec.sigmoid import THRESHOLD_BITS, sigmoid_table
from pbitstream.spec.topology import BandBank, LowRankBank
from pbitstream.tables import band_rows

__all__ = ["Plan", "padded", "zeros"]

#: Units of a module, and rows of a matrix, are padded to this; columns of a matrix to the next.
ROWS, COLUMNS = 16, 8
#: Bytes of a cache line, and of the widest vector.
LINE = 64


class Plan:
    """Flat tables of one program.

    Attributes
    ----------
    count
        Padded units U.
    place
        Padded place of every unit, (units,).
    held
        The same as an index: a slice where nothing is padded.
    modules, terms, phases, pool, index
        As the kernel wants them; `modules` without the codes that settings may change.
    inner
        Inner sizes of all modules' expansions, and room for the tile that overhangs the last.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.topology = program.topology
        self._pool: list[tuple[int, NDArray[np.int16]]] = []
        self._words = 0
        self._index: list[NDArray[np.int32]] = [_folded(sigmoid_table())]
        self._terms: list[list[int]] = []
        self.modules = np.zeros((len(self.topology.modules), k.MODULE_WORDS), np.int64)
        base = 0
        for row, module in zip(self.modules, self.topology.modules):
            row[k.MODULE_PBIT] = module.kind == "pbit"
            row[k.MODULE_BASE] = base
            row[k.MODULE_DIM] = module.dim
            row[k.MODULE_FREE] = not module.clamped
            base += padded(module.dim, ROWS)
        self.count = base
        self.place: NDArray[np.int64] = np.concatenate([
            np.arange(module.dim) + row[k.MODULE_BASE]
            for row, module in zip(self.modules, self.topology.modules)
        ])
        self.held = slice(None) if len(self.place) == base else self.place
        for index, module in enumerate(self.topology.modules):
            if not module.clamped:
                self._add_group(index, k.MODULE_CONSTANT, clamped=True)
                self._add_group(index, k.MODULE_VARYING, clamped=False)
        # The kernel reads whole vectors: leave room behind the last one.
        self._words += 2 * ROWS
        self.terms = np.array(self._terms, np.int64).reshape(-1)
        self.pool = zeros((self._words,), np.int16)
        for place, values in self._pool:
            self.pool[place : place + values.size].reshape(values.shape)[...] = values
        self.index = np.concatenate(self._index)
        del self._pool, self._index
        self.phases = np.array(
            [word for phase in self.topology.phases for word in (len(phase), *phase)], np.int64
        )
        inner = np.maximum(self.modules[:, k.MODULE_CONSTANT + k.GROUP_INNER],
                           self.modules[:, k.MODULE_VARYING + k.GROUP_INNER])
        self.modules[:, k.MODULE_U] = np.cumsum(inner) - inner
        self.inner = int(inner.sum()) + ROWS

    def header(self, chains: int, gains: NDArray[np.int16]) -> NDArray[np.int64]:
        """Return the header of a call with that many chains per input and these gains."""
        stride = gains[0].size if len(gains) > 1 else 0
        topology = self.topology
        return np.array([topology.field_fraction, topology.dt_shift, len(topology.phases),
                         len(topology.modules), chains, stride], np.int64)

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return a thread's scratch arrays f, constant, u, kicks, once and places."""
        sizes = ((self.count, np.int32), (self.count, np.int32), (self.inner, np.int16),
                 (self.count, np.int32), (k.CLIPS, np.int64), (1, np.int64))
        return tuple(zeros((k.BLOCK * size,), dtype) for size, dtype in sizes)

    def _put(self, values: NDArray[Any]) -> int:
        """Append int16 words to the pool and return their place."""
        place = self._words
        self._pool.append((place, values))
        self._words += padded(values.size, 2 * ROWS)
        return place

    def _add_group(self, target: int, group: int, *, clamped: bool) -> None:
        """Append the terms of a module whose sources are clamped, or those whose are free."""
        row = self.modules[target]
        row[group + k.GROUP_FIRST] = len(self._terms)
        expansions: list[NDArray[np.int16]] = []
        scattered: list[tuple[NDArray[Any], ...]] = []
        inner = 0
        for index, source, end, forward in self.topology.ends():
            if end != target or self.topology.modules[source].clamped != clamped:
                continue
            bank = self.topology.banks[index]
            if isinstance(bank, LowRankBank):
                self._add_low_rank(index, bank, source, inner, forward)
                near = self.program.tables[f"bank{index}.b" if forward else f"bank{index}.a"]
                expansions.append(near)
                inner += bank.rank
            elif isinstance(bank, BandBank):
                self._add_band(index, bank, source, target, forward)
            else:
                entries = entries_of(self.program, index, forward)
                dims = self.topology.modules[target].dim, self.topology.modules[source].dim
                matrix = dense_matrix(*entries, dims)
                if matrix is None:
                    rows, columns, weights = entries
                    scattered.append((rows, columns + self.modules[source, k.MODULE_BASE], weights))
                else:
                    self._add_dense(matrix, source, target)
        if scattered:
            self._add_sparse(target, *map(np.concatenate, zip(*scattered)))
        row[group + k.GROUP_END] = len(self._terms)
        if not clamped:
            own = self._terms[row[group + k.GROUP_FIRST] :]
            others = any(term[k.TERM_KIND] != k.LOW_RANK for term in own)
            row[k.MODULE_ADDS] = others or row[k.MODULE_PBIT]
        row[group + k.GROUP_INNER] = padded(inner, COLUMNS)
        if expansions:
            row[group + k.GROUP_TILES] = self._put(_tiles(np.concatenate(expansions, axis=1)))

    def _add_low_rank(self, index: int, bank: LowRankBank, source: int, inner: int,
                      forward: bool) -> None:
        far = self.program.tables[f"bank{index}.a" if forward else f"bank{index}.b"]
        shifts = bank.shifts(self.topology.field_fraction)
        term = [0] * k.TERM_WORDS
        term[k.TERM_KIND] = k.LOW_RANK
        term[k.TERM_LENGTH] = bank.rank
        term[k.TERM_SOURCE] = int(self.modules[source, k.MODULE_BASE])
        term[k.TERM_TARGET] = inner
        term[k.TERM_PLACE] = self._put(_tiles(far.T))
        term[k.TERM_INNER] = padded(len(far), COLUMNS)
        term[k.TERM_GAIN] = index * self.topology.max_rank
        term[k.TERM_R1], term[k.TERM_R2] = shifts[:2] if forward else shifts[2:]
        self._terms.append(term)

    def _add_band(self, index: int, bank: BandBank, source: int, target: int,
                  forward: bool) -> None:
        dim_s = self.topology.modules[bank.source].dim
        for offset, w in zip(bank.offsets, self.program.tables[f"bank{index}.w"]):
            low, high = band_rows(offset, len(w), dim_s)
            if low == high:
                continue
            read, written = (low + offset, low) if forward else (low, low + offset)
            term = [0] * k.TERM_WORDS
            term[k.TERM_KIND] = k.BAND
            term[k.TERM_LENGTH] = high - low
            term[k.TERM_SOURCE] = int(self.modules[source, k.MODULE_BASE]) + read
            term[k.TERM_TARGET] = int(self.modules[target, k.MODULE_BASE]) + written
            term[k.TERM_PLACE] = self._put(w[low:high])
            self._terms.append(term)

    def _add_dense(self, matrix: NDArray[np.int16], source: int, target: int) -> None:
        term = [0] * k.TERM_WORDS
        term[k.TERM_KIND] = k.DENSE
        term[k.TERM_LENGTH] = len(matrix)
        term[k.TERM_SOURCE] = int(self.modules[source, k.MODULE_BASE])
        term[k.TERM_TARGET] = int(self.modules[target, k.MODULE_BASE])
        term[k.TERM_PLACE] = self._put(_tiles(matrix))
        term[k.TERM_INNER] = padded(matrix.shape[1], COLUMNS)
        self._terms.append(term)

    def _add_sparse(self, target: int, rows: NDArray[np.int64], columns: NDArray[np.int64],
                    weights: NDArray[np.int16]) -> None:
        """Append the entries of all sparse banks into a module; columns are padded places."""
        lengths = np.bincount(rows)
        order = np.lexsort((columns, rows, lengths[rows]))
        stored = np.flatnonzero(lengths)
        stored = stored[np.argsort(lengths[stored], kind="stable")]
        term = [0] * k.TERM_WORDS
        term[k.TERM_KIND] = k.SPARSE
        term[k.TERM_LENGTH] = len(stored)
        term[k.TERM_TARGET] = int(self.modules[target, k.MODULE_BASE])
        term[k.TERM_PLACE] = self._put(weights[order])
        term[k.TERM_INDEX] = sum(map(len, self._index))
        pointers = np.concatenate([[0], np.cumsum(lengths[stored])])
        self._index += [part.astype(np.int32) for part in (stored, pointers, columns[order])]
        self._terms.append(term)


def zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return zeros that begin with a cache line, so that vectors lie in one line each."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(size + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    return np.asarray(room[start : start + size].view(dtype).reshape(shape))


def padded(n: int, multiple: int) -> int:
    """Return n rounded up to a multiple."""
    return -(-n // multiple) * multiple


def _tiles(matrix: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return a matrix in the kernel's tiles, zero-padded."""
    rows, columns = matrix.shape
    full = np.zeros((padded(rows, ROWS), padded(columns, COLUMNS)), np.int16)
    full[:rows, :columns] = matrix
    return full.reshape(len(full) // ROWS, ROWS, -1, 2).transpose(0, 2, 1, 3)


def _folded(thresholds: tuple[int, ...]) -> NDArray[np.int32]:
    """Return the thresholds of p from its least step to its greatest (numerics 6)."""
    above = np.array(thresholds, np.int32)
    return np.concatenate([(1 << THRESHOLD_BITS) - above[:0:-1], above]).astype(np.int32)

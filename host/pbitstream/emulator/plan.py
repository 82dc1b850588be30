"""A program laid out for the compiled kernel: flat tables, padded units.

`Plan` is to the kernel what a loaded image is to a board: everything about a program that does not
change between relaxations. Its layout is described in `pbitstream.emulator.kernels`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator import kernels as k
from pbitstream.program import Program
from pbitstream.spec.sigmoid import sigmoid_table
from pbitstream.spec.topology import BandBank, LowRankBank, SparseBank
from pbitstream.spec.words import MAX_RANK
from pbitstream.tables import band_rows, sparse_rows

__all__ = ["Plan"]

#: Units of a module, and rows of a matrix, are padded to this; columns of a matrix to the next.
ROWS, COLUMNS = 16, 8


class Plan:
    """Flat tables of one program.

    Attributes
    ----------
    count
        Padded units U.
    place
        Padded place of every unit, (units,).
    modules, terms, phases, pool, index
        As the kernel wants them; `modules` without the codes that settings may change.
    inner
        Largest inner size of a module's expansion.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.topology = program.topology
        self._pool: list[NDArray[np.int16]] = []
        self._index: list[NDArray[np.int32]] = [np.array(sigmoid_table(), np.int32)]
        self._terms: list[list[int]] = []
        self.modules = np.zeros((len(self.topology.modules), k.MODULE_WORDS), np.int64)
        base = 0
        for row, module in zip(self.modules, self.topology.modules):
            row[k.MODULE_PBIT] = module.kind == "pbit"
            row[k.MODULE_BASE] = base
            row[k.MODULE_DIM] = module.dim
            row[k.MODULE_FREE] = not module.clamped
            base += _padded(module.dim, ROWS)
        self.count = base
        self.place: NDArray[np.int64] = np.concatenate([
            np.arange(module.dim) + row[k.MODULE_BASE]
            for row, module in zip(self.modules, self.topology.modules)
        ])
        for index, module in enumerate(self.topology.modules):
            if not module.clamped:
                self._add_group(index, k.MODULE_CONSTANT, clamped=True)
                self._add_group(index, k.MODULE_VARYING, clamped=False)
        # The kernel reads whole vectors: leave room behind the last one.
        self._put(np.zeros(2 * ROWS))
        self.terms = np.array(self._terms, np.int64).reshape(-1)
        self.pool = np.concatenate(self._pool)
        self.index = np.concatenate(self._index)
        self.phases = np.array(
            [word for phase in self.topology.phases for word in (len(phase), *phase)], np.int64
        )
        inner = self.modules[:, [k.MODULE_CONSTANT + k.GROUP_INNER,
                                 k.MODULE_VARYING + k.GROUP_INNER]]
        self.inner = max(ROWS, int(inner.max()))

    def header(self, chains: int, gains: NDArray[np.int16]) -> NDArray[np.int64]:
        """Return the header of a call with that many chains per input and these gains."""
        stride = gains[0].size if len(gains) > 1 else 0
        topology = self.topology
        return np.array([topology.field_fraction, topology.dt_shift, len(topology.phases),
                         len(topology.modules), chains, stride], np.int64)

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return a thread's scratch arrays f, constant, u, z and once."""
        return (np.zeros(self.count, np.int32), np.zeros(self.count, np.int32),
                np.zeros(self.inner, np.int16), np.zeros(MAX_RANK, np.int32),
                np.zeros(k.CLIPS, np.int64))

    def _put(self, values: NDArray[Any]) -> int:
        """Append int16 words to the pool and return their place."""
        place = sum(map(len, self._pool))
        self._pool.append(np.ascontiguousarray(values, np.int16).reshape(-1))
        return place

    def _add_group(self, target: int, group: int, *, clamped: bool) -> None:
        """Append the terms of a module whose sources are clamped, or those whose are free."""
        row = self.modules[target]
        row[group + k.GROUP_FIRST] = len(self._terms)
        expansions: list[NDArray[np.int16]] = []
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
                self._add_sparse(index, bank, source, target, forward)
        row[group + k.GROUP_END] = len(self._terms)
        row[group + k.GROUP_INNER] = _padded(inner, COLUMNS)
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
        term[k.TERM_INNER] = _padded(len(far), COLUMNS)
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

    def _add_sparse(self, index: int, bank: SparseBank, source: int, target: int,
                    forward: bool) -> None:
        pointers, columns, weights = (
            self.program.tables[f"bank{index}.{name}"] for name in ("indptr", "indices", "weights")
        )
        dim = self.topology.modules[target].dim
        if not forward:
            rows = sparse_rows(pointers)
            order = np.argsort(columns, kind="stable")
            pointers = np.searchsorted(columns[order], np.arange(dim + 1))
            columns, weights = rows[order], weights[order]
        term = [0] * k.TERM_WORDS
        term[k.TERM_KIND] = k.SPARSE
        term[k.TERM_LENGTH] = dim
        term[k.TERM_SOURCE] = int(self.modules[source, k.MODULE_BASE])
        term[k.TERM_TARGET] = int(self.modules[target, k.MODULE_BASE])
        term[k.TERM_PLACE] = self._put(weights)
        term[k.TERM_INDEX] = sum(map(len, self._index))
        self._index += [pointers.astype(np.int32), columns.astype(np.int32)]
        self._terms.append(term)


def _padded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _tiles(matrix: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return a matrix in the kernel's tiles, zero-padded."""
    rows, columns = matrix.shape
    full = np.zeros((_padded(rows, ROWS), _padded(columns, COLUMNS)), np.int16)
    full[:rows, :columns] = matrix
    tiles = full.reshape(len(full) // ROWS, ROWS, -1, 2).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(tiles).reshape(-1)

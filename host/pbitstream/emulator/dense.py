"""Sparse banks with most of their weights stored, as the matrices that they nearly are."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.program import Program
from pbitstream.spec.topology import BandBank, SparseBank, Topology
from pbitstream.tables import sparse_rows

__all__ = ["ROWS", "crowded", "dense_matrix", "entries_of", "pays", "supports"]

#: A bank is dense if at least one weight in so many is stored: products of a matrix are an order
#: of magnitude faster than a walk over entries, and zeros cost no more memory than indices would.
FILL = 8
#: Weights per unit above which keeping sums beats the engines of 64 chains that add or count every
#: weight, while only a share of the spins turns.
CROWD = 256
#: Units of a tile of the engine of dense p-bits, to which a bank's are padded.
ROWS = 128


def supports(topology: Topology) -> bool:
    """Return whether `dense_engine.Dense` runs such programs, and faster than `Compiled`.

    All free units are p-bits, and most weights between them are those of dense, not tiny banks.
    """
    modules = topology.modules
    if any(module.kind != "pbit" for module in modules if not module.clamped):
        return False
    dense = others = 0
    for bank in topology.banks:
        ends = modules[bank.source], modules[bank.target]
        dims = [module.dim for module in ends]
        if any(module.clamped for module in ends):
            continue
        if isinstance(bank, BandBank):
            others += len(bank.offsets) * dims[1]
        elif isinstance(bank, SparseBank):
            if is_full(bank.entries, *dims) and pays(max(dims)):
                dense += bank.entries
            else:
                others += bank.entries
    return dense > others


def crowded(topology: Topology) -> bool:
    """Return whether units have so many weights that only look-ups beat chains one by one."""
    entries = sum(bank.entries for bank in topology.banks if isinstance(bank, SparseBank))
    return 2 * entries > CROWD * topology.units


def pays(rows: int) -> bool:
    """Return whether so many units fill enough of a tile."""
    return 2 * rows >= ROWS


def is_full(entries: int, *dims: int) -> bool:
    """Return whether a bank with so many entries is treated as a matrix."""
    return entries * FILL >= math.prod(dims)


def entries_of(
    program: Program, index: int, forward: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16]]:
    """Return row, column and weight of every entry of a sparse bank, rows being its target's."""
    pointers, columns, weights = (
        program.tables[f"bank{index}.{name}"] for name in ("indptr", "indices", "weights")
    )
    rows, columns = sparse_rows(pointers), columns.astype(np.int64)
    return (rows, columns, weights) if forward else (columns, rows, weights)


def dense_matrix(
    rows: NDArray[np.int64], columns: NDArray[np.int64], weights: NDArray[Any],
    shape: tuple[int, int],
) -> NDArray[np.int16] | None:
    """Return entries as a matrix, parallel ones added; None if they are few or leave int16."""
    if not is_full(len(weights), *shape):
        return None
    matrix = np.zeros(shape, np.int32)
    np.add.at(matrix, (rows, columns), weights)
    word = np.iinfo(np.int16)
    if matrix.min() < word.min or matrix.max() > word.max:
        return None
    return matrix.astype(np.int16)

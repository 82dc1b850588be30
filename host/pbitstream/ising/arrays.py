"""From what a caller or a file gives to checked arrays: numbers, indices, triplets, edges."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError

__all__ = ["asymmetry", "canonical_edges", "indices", "is_spins", "numbers", "summed", "triplets"]

#: Kinds of arrays that NumPy turns into float64 though they hold something else: complex numbers,
#: bytes, text, times.
NO_NUMBERS = "cSUMm"

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def numbers(name: str, values: ArrayLike) -> Values:
    """Return a float64 copy; SpecError unless all are finite real numbers."""
    try:
        array: NDArray[Any] = np.array(values)
        if array.dtype.kind not in NO_NUMBERS:
            array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise SpecError(f"{name} must be real numbers") from None
    if array.dtype.kind in NO_NUMBERS:
        raise SpecError(f"{name} must be real numbers, not of {array.dtype}")
    if not np.isfinite(array).all():
        raise SpecError(f"{name} must be finite, not {array[~np.isfinite(array)].flat[0]}")
    return array


def is_spins(values: NDArray[Any]) -> bool:
    """Whether all are the real numbers -1 or +1."""
    return values.dtype.kind in "biuf" and bool(((values == 1) | (values == -1)).all())


def indices(name: str, values: ArrayLike) -> Indices:
    """Return an int64 copy of shape (edges,); SpecError unless all are whole numbers."""
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise SpecError(f"{name} must be whole numbers of shape (edges,), "
                        f"not {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def canonical_edges(
    n: int, first: ArrayLike, second: ArrayLike, weight: ArrayLike
) -> tuple[Indices, Indices, Values]:
    """Return edges with first < second, ascending, none of weight 0; SpecError if they cannot be.

    Every end must lie in 0 to n - 1, no edge may be a loop, no pair may stand twice.
    """
    ends = indices("first", first), indices("second", second)
    value = numbers("weight", weight)
    if not ends[0].shape == ends[1].shape == value.shape:
        raise SpecError(f"first, second and weight must have one shape (edges,), not "
                        f"{ends[0].shape}, {ends[1].shape}, {value.shape}")
    for name, end in zip(("first", "second"), ends):
        outside = (end < 0) | (end >= n)
        if outside.any():
            raise SpecError(f"{name} must be between 0 and {n - 1}, not {end[outside][0]}")
    low, high = np.minimum(*ends), np.maximum(*ends)
    if (low == high).any():
        raise SpecError(f"an edge must join two p-bits, not {low[low == high][0]} to itself: "
                        "m^2 = 1, so it would be a constant")
    order = np.lexsort((high, low))
    low, high, value = low[order], high[order], value[order]
    again = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    if again.any():
        at = int(again.argmax())
        raise SpecError(f"a pair must be coupled once, not twice as {low[at]} and {high[at]}; "
                        "add the two weights if both are meant")
    kept = value != 0
    return low[kept], high[kept], value[kept]


def triplets(name: str, matrix: Any) -> tuple[int, Indices, Indices, Values]:
    """Return n and the (row, column, value) of what is not 0 in a square matrix.

    The matrix is dense, or sparse as of SciPy: anything with ``tocoo``; entries that a sparse one
    stores twice are summed, as SciPy does.
    """
    if not hasattr(matrix, "tocoo"):
        dense = numbers(name, matrix)
        _square(name, dense.shape)
        row, column = np.nonzero(dense)
        return len(dense), row, column, dense[row, column]
    sparse = matrix.tocoo()
    _square(name, sparse.shape)
    n = int(sparse.shape[0])
    return n, *summed(n, indices(name, sparse.row), indices(name, sparse.col),
                      numbers(name, sparse.data))


def summed(n: int, row: Indices, column: Indices, value: Values) -> tuple[Indices, Indices, Values]:
    """Return triplets by rows, those of one place summed, zeros left out."""
    keys, inverse = np.unique(row * n + column, return_inverse=True)
    total = np.zeros(len(keys))
    np.add.at(total, inverse, value)
    keys, total = keys[total != 0], total[total != 0]
    return keys // n, keys % n, total


def asymmetry(n: int, row: Indices, column: Indices, value: Values) -> tuple[int, int] | None:
    """Return the first (row, column) with row < column whose mirror differs, None without one.

    Triplets are by rows, each place once.
    """
    below = row > column
    rows, columns, _ = summed(n, np.minimum(row, column), np.maximum(row, column),
                              np.where(below, -value, value))
    off = rows != columns
    return (int(rows[off][0]), int(columns[off][0])) if off.any() else None


def _square(name: str, shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != shape[1]:
        raise SpecError(f"{name} must be a square matrix, not of shape {shape}")

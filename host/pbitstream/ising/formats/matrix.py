"""``.npz`` files of SciPy's sparse matrices: J, symmetric, ``E = -m^T J m / 2``.

Read by NumPy alone: the arrays of the CSR, CSC and COO formats, as ``scipy.sparse.save_npz`` writes
them. The diagonal must be 0.
"""

import io
import os
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import FileFormatError, SpecError
from pbitstream.ising.formats.lines import MAX_NODES
from pbitstream.ising.problem import Problem

__all__ = ["read_matrix"]


@dataclass(frozen=True, eq=False)
class _Triplets:
    """What `Problem.from_matrix` asks of a sparse matrix."""

    shape: tuple[int, ...]
    row: NDArray[Any]
    col: NDArray[Any]
    data: NDArray[Any]

    def tocoo(self) -> "_Triplets":
        return self


def read_matrix(path: str | os.PathLike[str], data: bytes, name: str) -> Problem:
    """Return the problem of a symmetric sparse matrix."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            matrix = _triplets({key: file[key] for key in file.files})
        return Problem.from_matrix(matrix, name=name, source=str(path))
    except SpecError as error:
        raise FileFormatError(f"{path}: {error}") from None
    except (ArithmeticError, EOFError, KeyError, OSError, RuntimeError, TypeError, ValueError,
            zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(f"{path}: no sparse matrix of SciPy: {error}") from error


def _triplets(arrays: dict[str, NDArray[Any]]) -> _Triplets:
    kind = arrays["format"].item()
    kind = kind.decode() if isinstance(kind, bytes) else kind
    shape = tuple(int(side) for side in arrays["shape"])
    if not 1 <= max(shape) <= MAX_NODES:
        raise ValueError(f"its side must be between 1 and {MAX_NODES}, not {max(shape)}")
    values = arrays["data"]
    if kind == "coo":
        # Newer versions of SciPy write one array of coordinates for arrays, two for matrices.
        row, column = (arrays["coords"] if "coords" in arrays else
                       (arrays["row"], arrays["col"]))
    elif kind in ("csr", "csc"):
        pointers, minor = arrays["indptr"].astype(np.int64), arrays["indices"]
        if len(pointers) != shape[kind == "csc"] + 1 or (np.diff(pointers) < 0).any() or (
                pointers[0] != 0 or pointers[-1] != len(minor)):
            raise ValueError("its pointers do not rise from 0 to its entries")
        major = np.repeat(np.arange(len(pointers) - 1), np.diff(pointers))
        row, column = (major, minor) if kind == "csr" else (minor, major)
    else:
        raise ValueError(f"its format must be csr, csc or coo, not {kind}")
    if not row.shape == column.shape == values.shape:
        raise ValueError("its arrays differ in length")
    for end, side in ((row, shape[0]), (column, shape[1])):
        if end.size and not (end.min() >= 0 and end.max() < side):
            raise ValueError(f"its indices must be between 0 and {side - 1}")
    return _Triplets(shape, row, column, values)

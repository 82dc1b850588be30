"""Arrays from files of users: NumPy's ``.npy``, and the sparse matrices of SciPy's ``.npz``.

Read by NumPy alone, whatever is wrong with a file being one kind of error.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import FileFormatError

__all__ = ["Triplets", "parse_sparse", "read_array"]

#: The layouts of ``scipy.sparse.save_npz`` that are read.
LAYOUTS = ("csr", "csc", "coo")


@dataclass(frozen=True, eq=False)
class Triplets:
    """A sparse matrix as entries, of which one place may have several that are summed.

    Its names are those of SciPy's ``coo_array``, of which it can take the place.
    """

    shape: tuple[int, int]
    row: NDArray[np.int64]
    col: NDArray[np.int64]
    data: NDArray[Any]

    def tocoo(self) -> "Triplets":
        """Return the matrix itself."""
        return self


def read_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Return the array of real numbers, booleans included, of a ``.npy`` file.

    Raises
    ------
    FileFormatError
        If the file is damaged or holds something else.
    OSError
        If it cannot be opened.
    """
    data = Path(path).read_bytes()
    with _damage(path, "not a NumPy file of real numbers"):
        array: Any = np.load(io.BytesIO(data), allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of several arrays")
        return _real(array)


def parse_sparse(path: str | os.PathLike[str], data: bytes, most: int) -> Triplets:
    """Return the matrix in the bytes of a file by ``scipy.sparse.save_npz``.

    FileFormatError if they are damaged, hold something else or a side is not within 1 to `most`;
    nothing as large as a side has been asked of memory then. `path` is for the message.
    """
    with _damage(path, "no sparse matrix of SciPy"):
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        layout = arrays["format"].item()
        layout = layout.decode() if isinstance(layout, bytes) else layout
        if layout not in LAYOUTS:
            raise ValueError(f"it must be stored as csr, csc or coo, not {layout}")
        rows, columns = (int(side) for side in _whole("shape", arrays["shape"]))
        for side in (rows, columns):
            if not 1 <= side <= most:
                raise ValueError(f"its sides must be between 1 and {most}, not {side}")
        row, column = _places(arrays, layout, rows, columns)
        values = _real(arrays["data"])
        if not row.shape == column.shape == values.shape or values.ndim != 1:
            raise ValueError("its arrays differ in length")
        for end, side in ((row, rows), (column, columns)):
            if end.size and not (end.min() >= 0 and end.max() < side):
                raise ValueError(f"its indices must be between 0 and {side - 1}")
        return Triplets((rows, columns), row, column, values)


@contextmanager
def _damage(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn what NumPy, ``zipfile`` and we raise of bad content into FileFormatError."""
    try:
        yield
    except KeyError as error:
        raise FileFormatError(f"{path}: {what}: it holds no {error}") from error
    except (ArithmeticError, AttributeError, EOFError, MemoryError, OSError, RuntimeError,
            TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise FileFormatError(f"{path}: {what}: {error}") from error


def _places(
    arrays: dict[str, NDArray[Any]], layout: str, rows: int, columns: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of every entry."""
    if layout == "coo":
        # Newer versions of SciPy write one array of coordinates for arrays, two for matrices.
        ends = arrays["coords"] if "coords" in arrays else (arrays["row"], arrays["col"])
        row, column = ends
        return _whole("row", row), _whole("col", column)
    pointers, minor = _whole("indptr", arrays["indptr"]), _whole("indices", arrays["indices"])
    steps = np.diff(pointers)
    if pointers.shape != ((rows if layout == "csr" else columns) + 1,) or (steps < 0).any() or (
            pointers[0] != 0 or pointers[-1] != len(minor)):
        raise ValueError("its pointers do not rise from 0 to its entries")
    major = np.repeat(np.arange(len(steps)), steps)
    return (major, minor) if layout == "csr" else (minor, major)


def _real(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it holds {array.dtype}, not real numbers")
    return array


def _whole(name: str, array: NDArray[Any]) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise ValueError(f"its {name} must be whole numbers, not {array.dtype}")
    return array.astype(np.int64)

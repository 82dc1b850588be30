"""Matrices and vectors from files, and a made-up problem to try."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import FileFormatError, SpecError
from pbitstream.linear.matrix import MAX_DIM

__all__ = ["example", "read_matrix", "read_vector"]

Values = NDArray[np.float64]

#: The layouts of scipy.sparse.save_npz that are read, with their arrays beside data and shape.
SPARSE = {"csr": ("indices", "indptr"), "csc": ("indices", "indptr"), "coo": ("row", "col")}


def read_matrix(path: str | os.PathLike[str]) -> Values:
    """Return the matrix of a .npy file, or of a .npz file by scipy.sparse.save_npz, dense.

    Raises
    ------
    FileFormatError
        If the file is damaged or holds something else.
    SpecError
        If the name ends in neither, or a sparse matrix is too large to be made dense.
    """
    ending = Path(path).suffix.lower()
    if ending == ".npy":
        return _array(path)
    if ending != ".npz":
        raise SpecError(f"{path}: a matrix must be a .npy file, or a .npz file of "
                        "scipy.sparse.save_npz")
    try:
        with np.load(path, allow_pickle=False) as stored:
            return _dense(path, {name: stored[name] for name in stored.files})
    except (EOFError, IndexError, KeyError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, (FileFormatError, SpecError)):
            raise
        raise FileFormatError(f"{path}: not a sparse matrix of scipy.sparse.save_npz: "
                              f"{error}") from error


def read_vector(path: str | os.PathLike[str]) -> Values:
    """Return the vector of a .npy file; errors as of `read_matrix`. A single column is one too."""
    if Path(path).suffix.lower() != ".npy":
        raise SpecError(f"{path}: a vector must be a .npy file")
    array = _array(path)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def example(dim: int, condition: float) -> tuple[Values, Values]:
    """Return A with eigenvalues from 1 to `condition`, evenly in the logarithm, and normal b.

    Eigenvectors are random, from a fixed seed.
    """
    if not 1 <= dim <= MAX_DIM:
        raise SpecError(f"example must be between 1 and {MAX_DIM}, not {dim}")
    if not 1 <= condition <= 1e12:
        raise SpecError(f"condition must be between 1 and 1e12, not {condition:g}")
    rng = np.random.default_rng(0)
    vectors, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    a = vectors * np.geomspace(1, condition, dim) @ vectors.T
    return (a + a.T) / 2, rng.standard_normal(dim)


def _array(path: str | os.PathLike[str]) -> Values:
    try:
        array: Any = np.load(path, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise FileFormatError(f"{path}: not a NumPy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise FileFormatError(f"{path}: not a NumPy file of one array")
    return array


def _dense(path: str | os.PathLike[str], stored: dict[str, NDArray[Any]]) -> Values:
    layout = stored["format"].item()
    layout = layout.decode() if isinstance(layout, bytes) else str(layout)
    if layout not in SPARSE:
        raise FileFormatError(f"{path}: a sparse matrix must be stored as "
                              f"{', '.join(SPARSE)}, not {layout}")
    rows, columns = (int(n) for n in stored["shape"])
    if max(rows, columns) > MAX_DIM:
        raise SpecError(f"A must have at most {MAX_DIM:,} rows, not {max(rows, columns):,}")
    first, second = (stored[name].astype(np.int64) for name in SPARSE[layout])
    if layout != "coo":
        major = np.repeat(np.arange(len(second) - 1), np.diff(second))
        first, second = (major, first) if layout == "csr" else (first, major)
    if min(first.min(initial=0), second.min(initial=0)) < 0:
        raise FileFormatError(f"{path}: a sparse matrix must not have negative indices")
    dense = np.zeros((rows, columns))
    np.add.at(dense, (first, second), stored["data"])
    return dense

"""Matrices and vectors from files, and a made-up problem to try."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pbitstream.array_files import parse_sparse, read_array
from pbitstream.errors import SpecError
from pbitstream.linear.matrix import MAX_DIM

__all__ = ["example", "read_matrix", "read_vector"]

Values = NDArray[np.float64]


def read_matrix(path: str | os.PathLike[str]) -> Values:
    """Return the matrix of a .npy file, or of a .npz file by scipy.sparse.save_npz, dense.

    Raises
    ------
    FileFormatError
        If the file is damaged, holds something else, or a sparse matrix too large to be made dense.
    SpecError
        If the name ends in neither.
    """
    ending = Path(path).suffix.lower()
    if ending == ".npy":
        return read_array(path)
    if ending != ".npz":
        raise SpecError(f"{path}: a matrix must be a .npy file, or a .npz file of "
                        "scipy.sparse.save_npz")
    sparse = parse_sparse(path, Path(path).read_bytes(), MAX_DIM)
    dense = np.zeros(sparse.shape)
    np.add.at(dense, (sparse.row, sparse.col), sparse.data)
    return dense


def read_vector(path: str | os.PathLike[str]) -> Values:
    """Return the vector of a .npy file; errors as of `read_matrix`. A single column is one too."""
    if Path(path).suffix.lower() != ".npy":
        raise SpecError(f"{path}: a vector must be a .npy file")
    array = read_array(path)
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

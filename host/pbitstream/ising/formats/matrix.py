"""``.npz`` files of SciPy's sparse matrices: J, symmetric, ``E = -m^T J m / 2``, diagonal 0."""

import os

from pbitstream.array_files import parse_sparse
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.ising.formats.lines import MAX_NODES
from pbitstream.ising.problem import Problem

__all__ = ["read_matrix"]


def read_matrix(path: str | os.PathLike[str], data: bytes, name: str) -> Problem:
    """Return the problem of a symmetric sparse matrix."""
    matrix = parse_sparse(path, data, MAX_NODES)
    try:
        return Problem.from_matrix(matrix, name=name, source=str(path))
    except SpecError as error:
        raise FileFormatError(f"{path}: {error}") from None

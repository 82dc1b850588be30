"""The matrix of a problem: checked, brought to unit diagonal, and diagonalised for predictions.

With D = diag(A) and S = D^-1/2 the scaled matrix is ``U = S A S``, whose diagonal is 1; then
``x = S y`` with ``U y = S b``, and ``(A^-1)_ii = S_i^2 (U^-1)_ii``. No other diagonal scaling has a
condition number smaller by more than a factor n [1]_.

References
----------
.. [1] A. van der Sluis, "Condition numbers and equilibration of matrices", Numer. Math. 14, 1969.
"""

# Keeps ArrayLike short in help().
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError

__all__ = ["MAX_DIM", "Scaled", "check_rhs", "scale_matrix"]

Values = NDArray[np.float64]

#: Predictions diagonalise A on the host, O(n^3): some ten seconds here.
MAX_DIM = 2048
#: Largest asymmetry, relative to the largest entry, that is taken for rounding of A.
ASYMMETRY = 1e-10


@dataclass(frozen=True, eq=False)
class Scaled:
    """``U = S A S = V diag(w) V^T``.

    Attributes
    ----------
    original, matrix
        A and U, (n, n).
    scale
        The diagonal of S, (n,).
    values, vectors
        w, ascending and positive, and V.
    condition
        Condition number of A itself; of U it is `scaled_condition`.
    """

    original: Values
    matrix: Values
    scale: Values
    values: Values
    vectors: Values
    condition: float

    @property
    def dim(self) -> int:
        """The number n of unknowns."""
        return len(self.scale)

    @property
    def scaled_condition(self) -> float:
        """Condition number of U, which decides the steps."""
        return float(self.values[-1] / self.values[0])

    def diagonal(self, of_mode: Values) -> Values:
        """Return the diagonal of f(U) from f of every eigenvalue, (n,); O(n^2)."""
        return np.asarray(self.vectors**2 @ of_mode)

    def apply(self, of_mode: Values, y: Values) -> Values:
        """Return f(U) y; O(n^2) per column."""
        return np.asarray(self.vectors @ (of_mode * (self.vectors.T @ y).T).T)


def scale_matrix(a: ArrayLike) -> Scaled:
    """Check A and return it at unit diagonal, diagonalised; O(n^3).

    Parameters
    ----------
    a : array, shape (n, n)
        Symmetric positive definite, n at most 2,048; a SciPy sparse matrix is made dense.

    Raises
    ------
    SpecError
        If A is not square, not finite, not symmetric or not positive definite.
    """
    matrix = _numbers("A", a)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise SpecError(f"A must have shape (n, n), not {matrix.shape}")
    if len(matrix) > MAX_DIM:
        raise SpecError(f"A must have at most {MAX_DIM:,} rows, not {len(matrix):,}")
    skew = float(np.abs(matrix - matrix.T).max())
    if skew > ASYMMETRY * np.abs(matrix).max():
        raise SpecError(f"A must be symmetric, not with entries that differ by {skew:.3g} from "
                        "their mirror images; a bank is symmetric, so pass (A + A.T) / 2 or solve "
                        "A.T A x = A.T b")
    diagonal = np.diag(matrix)
    if diagonal.min() <= 0:
        row = int(diagonal.argmin())
        raise SpecError(f"A must be positive definite, not with {diagonal[row]:.3g} on its "
                        f"diagonal at {row}")
    scale = 1 / np.sqrt(diagonal)
    unit = (matrix + matrix.T) / 2 * scale[:, None] * scale
    np.fill_diagonal(unit, 1.0)
    values, vectors = np.linalg.eigh(unit)
    # Below this an eigenvalue is rounding of float64.
    if values[0] <= len(unit) * np.finfo(float).eps * values[-1]:
        raise SpecError(f"A must be positive definite, not with the eigenvalue {values[0]:.3g} "
                        "(at unit diagonal); add a multiple of the identity")
    own = np.linalg.eigvalsh(matrix)
    condition = float(own[-1] / own[0]) if own[0] > 0 else np.inf
    return Scaled(matrix, unit, scale, values, vectors, condition)


def check_rhs(b: ArrayLike, dim: int) -> Values:
    """Return b as float64 of shape (n,); SpecError unless it is finite and not all zero."""
    rhs = _numbers("b", b)
    if rhs.shape != (dim,):
        raise SpecError(f"b must have shape ({dim},), as A has {dim} rows, not {rhs.shape}")
    if not rhs.any():
        raise SpecError("b must not be zero everywhere: then x is, and has no relative error")
    return rhs


def check_error(error: float) -> None:
    """Raise SpecError unless a wanted relative error is one."""
    if not 0 < error < 1:
        raise SpecError(f"error must be above 0 and below 1, not {error}")


def _numbers(name: str, values: Any) -> Values:
    if hasattr(values, "toarray"):
        values = values.toarray()
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise SpecError(f"{name} must be an array of real numbers, not of {array.dtype}")
    array = np.asarray(array, np.float64)
    if not np.isfinite(array).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
        raise SpecError(f"{name} must be finite, not {array[tuple(where)]} at {where}")
    return array

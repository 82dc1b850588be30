"""Thermodynamic linear algebra: A x = b and the diagonal of the inverse, on Langevin units."""

from pbitstream.linear.inverse import InverseDiagonal, inverse_diagonal
from pbitstream.linear.solve import Solution, solve

__all__ = ["InverseDiagonal", "Solution", "inverse_diagonal", "solve"]

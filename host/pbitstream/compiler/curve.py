"""Rank against error on rows that no bank was fitted on, for every rank at once.

The components of a bank are in order, so its first r of them are the bank of rank r, and
``|y - W_r^T x|^2 = |y|^2 - 2 sum_c p_c q_c + sum_cd p_c p_d (B^T B)_cd`` over c, d <= r with
``p = S A^T x`` and ``q = B^T y``: the error of all ranks in O(n D k).
"""

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.factors import Factors

__all__ = ["RankCurve"]

Values = NDArray[np.float64]


class RankCurve:
    """R² over the fit rows' mean of every rank of some factors, row by row."""

    def __init__(self, factors: Factors) -> None:
        self.factors = factors
        k = factors.rank
        self._products, self._agreement, self._total = np.zeros((k, k)), np.zeros(k), 0.0

    def add(self, x: Values, y: Values) -> None:
        """Take normalised rows x (n, D_s) and y (n, D_t)."""
        f = self.factors
        p = (x @ f.a) * f.gain
        self._products += p.T @ p
        self._agreement += (p * (y @ f.b)).sum(axis=0)
        self._total += float((y**2).sum())

    def r2(self) -> Values:
        """Return R² of ranks 1 .. k, (k,)."""
        energy = self._products * (self.factors.b.T @ self.factors.b)
        # Sums over the leading r x r blocks.
        blocks = np.diagonal(energy.cumsum(axis=0).cumsum(axis=1))
        return np.asarray((2 * self._agreement.cumsum() - blocks) / self._total)

"""Second moments of layers from a stream of activations, in memory that no row adds to.

For layers a and b the covariance ``(1/n) sum (a - mean a)(b - mean b)^T``: the Gram matrix of a
layer with itself, the cross-Gram of two. Batches are centred on their own means and merged by the
update of Chan, Golub and LeVeque [1]_, so that a large mean costs no digits.

References
----------
.. [1] T. Chan, G. Golub, R. LeVeque, "Algorithms for computing the sample variance", The American
   Statistician 37, 1983.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import check_batch
from pbitstream.errors import SpecError

__all__ = ["Gram"]

Values = NDArray[np.float64]


class Gram:
    """Means, variances, ranges and chosen covariances of layers.

    Parameters
    ----------
    layers
        Layers whose means, variances and ranges are kept, O(D) each.
    pairs
        Pairs whose covariance is kept, O(D_a D_b) each; (a, a) is the Gram matrix of a.

    Notes
    -----
    Cost of a batch: n D_a D_b multiplications per pair. Memory does not grow with the rows.
    """

    def __init__(self, layers: Sequence[str], pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.layers = tuple(layers)
        self.pairs = tuple(dict.fromkeys(tuple(sorted(pair)) for pair in pairs))
        self.rows = 0
        self._mean: dict[str, Values] = {}
        self._square: dict[str, Values] = {}
        self._low: dict[str, Values] = {}
        self._high: dict[str, Values] = {}
        self._products: dict[tuple[str, ...], Values] = {}

    def add(self, batch: Mapping[str, NDArray[np.floating]]) -> None:
        """Take a batch of activations (n, units) by layer.

        Raises
        ------
        SpecError
            If a layer is missing, changes its width or is not finite; the message names it.
        """
        values = check_batch(batch, self.layers)
        for layer, array in values.items():
            if self.rows and array.shape[1] != len(self._mean[layer]):
                raise SpecError(f"layer {layer} must keep its {len(self._mean[layer])} units, "
                                f"not change to {array.shape[1]}")
        added = len(next(iter(values.values())))
        if added == 0:
            return
        total = self.rows + added
        # Weight of the step between the two means.
        weight = self.rows * added / total
        steps, centred = {}, {}
        for layer, array in values.items():
            mean = array.mean(axis=0)
            centred[layer] = array - mean
            steps[layer] = mean - self._mean.get(layer, 0.0)
            square = (centred[layer] ** 2).sum(axis=0) + weight * steps[layer] ** 2
            low, high = array.min(axis=0), array.max(axis=0)
            if self.rows:
                self._mean[layer] += steps[layer] * (added / total)
                self._square[layer] += square
                np.minimum(self._low[layer], low, out=self._low[layer])
                np.maximum(self._high[layer], high, out=self._high[layer])
            else:
                self._mean[layer], self._square[layer] = mean, square
                self._low[layer], self._high[layer] = low, high
        for a, b in self.pairs:
            product = centred[a].T @ centred[b]
            if self.rows:
                product += np.outer(weight * steps[a], steps[b])
                self._products[a, b] += product
            else:
                self._products[a, b] = product
        self.rows = total

    def check(self, rank: int) -> None:
        """Raise SpecError unless there are enough rows to fit a bank of this rank."""
        if self.rows <= rank:
            raise SpecError(f"rows must be more than the rank, {rank}, not {self.rows}; give more "
                            "data or a smaller rank")

    def mean(self, layer: str) -> Values:
        """Return the mean activation of a layer, (units,)."""
        return self._mean[layer]

    def variance(self, layer: str) -> Values:
        """Return the variance of every unit of a layer, (units,)."""
        return self._square[layer] / self.rows

    def largest(self, layer: str) -> float:
        """Return the largest distance of an activation of the layer from its unit's mean."""
        mean = self._mean[layer]
        return float(np.maximum(self._high[layer] - mean, mean - self._low[layer]).max())

    def covariance(self, a: str, b: str) -> Values:
        """Return the covariance (units of a, units of b) of a pair that was asked for."""
        if (a, b) in self._products:
            return self._products[a, b] / self.rows
        return self._products[b, a].T / self.rows

"""Activations made on the fly, with a decaying spectrum and a known map between layers.

Of each pair of layers: ``x = Z diag(i^-decay) V^T + e`` and ``y = x W + e'`` with V Gaussian, W of
low rank, e and e' white; means are added. Rows follow from the seed and their number alone, so a
stream of any length is never held.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Batch, Part, Skip

__all__ = ["SyntheticSource"]

Values = NDArray[np.float64]

#: Directions that vary beyond the white part, exponent of their decay, size of the white parts.
DIRECTIONS, DECAY, WHITE = 96, 0.7, 0.05
#: Rank of the true map.
TRUE_RANK = 24


class SyntheticSource:
    """Pairs of layers ``e0:d0``, ``e1:d1``, ... of `dim` units each.

    Parameters
    ----------
    dim
        Units of every layer.
    pairs
        Pairs of layers, independent of each other.
    rows
        Rows of the part ``fit``; the other parts have a tenth of them.
    batch
        Rows of one batch.
    shape
        Of every layer, flat by default.
    """

    features: Values | None = None
    repeat = 1

    def __init__(
        self, dim: int, *, pairs: int = 1, rows: int = 4096, batch: int = 1000, seed: int = 0,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.dim, self.rows, self.batch, self.seed = dim, rows, batch, seed
        self.skips = [Skip(f"e{pair}", f"d{pair}") for pair in range(pairs)]
        self.shapes: Mapping[str, tuple[int, ...]] = {
            name: shape or (dim,) for skip in self.skips for name in skip
        }
        rng = np.random.default_rng(seed)
        size = np.arange(1, DIRECTIONS + 1) ** -DECAY
        self._directions, self._maps = [], []
        for _ in range(pairs):
            spread = rng.standard_normal((DIRECTIONS, dim)).astype(np.float32)
            self._directions.append(spread * size[:, None].astype(np.float32))
            left = rng.standard_normal((dim, TRUE_RANK)) / np.sqrt(dim)
            right = rng.standard_normal((TRUE_RANK, dim)) / np.sqrt(TRUE_RANK)
            self._maps.append((left.astype(np.float32), right.astype(np.float32)))

    def batches(self, layers: Sequence[str], part: Part) -> Iterator[Batch]:
        """Yield float32 activations of all layers."""
        total = self.rows if part == "fit" else max(1, self.rows // 10)
        for number, first in enumerate(range(0, total, self.batch)):
            count = min(self.batch, total - first)
            rng = np.random.default_rng((self.seed, ("fit", "held-out", "test").index(part),
                                         number))
            made: dict[str, NDArray[np.float32]] = {}
            for (source, target), spread, (left, right) in zip(self.skips, self._directions,
                                                               self._maps):
                z = rng.standard_normal((count, DIRECTIONS), np.float32)
                x = z @ spread
                x += np.float32(WHITE) * rng.standard_normal(x.shape, np.float32)
                y = (x @ left) @ right
                y += np.float32(WHITE) * rng.standard_normal(y.shape, np.float32)
                made[source], made[target] = x + np.float32(1.0), y - np.float32(2.0)
            yield Batch(made)

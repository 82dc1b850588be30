"""A bounded random sample of the rows of a source, the same for the same rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Batch

__all__ = ["Sample"]

Values = NDArray[np.float64]

#: Bytes and rows that a sample may hold.
MOST_BYTES, MOST_ROWS = 256 << 20, 20_000


class Sample:
    """Each row that is added with the same probability, which falls when the sample is full.

    Rows are drawn, not taken at even distances: those of one image follow each other time by time.

    Parameters
    ----------
    layers
        Layers to keep.
    rows, limit
        It never holds more rows than `rows`, nor more bytes than `limit`.
    """

    def __init__(
        self, layers: Sequence[str], *, rows: int = MOST_ROWS, limit: int = MOST_BYTES
    ) -> None:
        self.names = tuple(layers)
        self._share, self._rows, self._limit = 1.0, rows, limit
        self._rng = np.random.default_rng(0)
        self._kept: list[tuple[Batch, Values]] = []

    def add(self, batch: Batch) -> None:
        """Take a batch."""
        keys = self._rng.random(len(batch))
        self._keep(batch, keys)
        width = sum(batch.layers[name].shape[1] for name in self.names)
        width += 0 if batch.inputs is None else batch.inputs.shape[1]
        most = max(1, min(self._rows, self._limit // (8 * width)))
        while sum(len(keys) for _, keys in self._kept) > most:
            self._share /= 2
            kept, self._kept = self._kept, []
            for part, own in kept:
                self._keep(part, own)

    @property
    def batch(self) -> Batch:
        """The sampled rows."""
        parts = [part for part, _ in self._kept]
        first = parts[0]
        return Batch(
            {name: np.concatenate([part.layers[name] for part in parts]) for name in self.names},
            None if first.inputs is None else np.concatenate(
                [part.inputs for part in parts if part.inputs is not None]),
            None if first.rows is None else np.concatenate(
                [part.rows for part in parts if part.rows is not None]),
        )

    def _keep(self, batch: Batch, keys: Values) -> None:
        which = np.flatnonzero(keys < self._share)
        if len(which):
            part = Batch(
                {name: np.asarray(batch.layers[name], np.float64)[which] for name in self.names},
                None if batch.inputs is None else np.asarray(batch.inputs, np.float64)[which],
                None if batch.rows is None else batch.rows[which],
            )
            self._kept.append((part, keys[which]))

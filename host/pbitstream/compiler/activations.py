"""What a compiler reads of a U-Net: batches of activations at named layers, and their skips.

A layer's activations are rows of one flat vector, channels x rows x columns for a feature map. A
source can be read several times; nothing here ever holds all of its rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError

__all__ = ["Batch", "Part", "Skip", "Source", "check_batch", "check_skips", "parse_skip", "units"]

Values = NDArray[np.float64]
#: What a source may yield; whoever computes widens it to float64.
Raw = NDArray[np.floating]

#: Rows to fit on, rows to draw curves and make choices on, rows to judge the result on, once.
Part: TypeAlias = Literal["fit", "held-out", "test"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some rows of activations.

    Attributes
    ----------
    layers
        Activations (n, units) by layer.
    inputs
        What a conditioning net sees of each row, (n, inputs) within +-8, or None.
    rows
        Rows of the source's feature table, (n,), or None without one.
    """

    layers: Mapping[str, Raw]
    inputs: Values | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.layers.values())))


class Skip(NamedTuple):
    """A bank to be fitted: the layer it reads and the layer it drives."""

    source: str
    target: str


class Source(Protocol):
    """A U-Net with the data to run it on.

    Attributes
    ----------
    shapes
        (channels, rows, columns) or (units,) of every layer that can be named.
    features
        Table (rows, columns) that a conditioning net sees beside the inputs, or None.
    repeat
        Consecutive rows that belong to one image; a shuffled control moves by so many.
    """

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of every layer."""
        ...

    @property
    def features(self) -> Values | None:
        """Return the feature table."""
        ...

    @property
    def repeat(self) -> int:
        """Return how many consecutive rows belong to one image."""
        ...

    def batches(self, layers: Sequence[str], part: Part) -> Iterator[Batch]:
        """Yield the rows of a part at some layers, the same rows at every call."""
        ...


def units(shape: tuple[int, ...]) -> int:
    """Return the number of units of a layer."""
    return int(np.prod(shape))


def parse_skip(text: str) -> Skip:
    """Return the skip that ``ENCODER:DECODER`` names."""
    source, colon, target = text.partition(":")
    if not (source and colon and target):
        raise SpecError(f"skip must be ENCODER:DECODER, such as e1:d1, not {text!r}")
    return Skip(source, target)


def check_skips(skips: Sequence[Skip], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise SpecError unless the skips name known layers, each pair once and in one direction."""
    if not skips:
        raise SpecError("skip must name at least one pair ENCODER:DECODER")
    seen = set()
    for source, target in skips:
        for layer in (source, target):
            if layer not in shapes:
                known = ", ".join(list(shapes)[:12]) + (", ..." if len(shapes) > 12 else "")
                raise SpecError(f"skip {source}:{target}: the U-Net has no layer {layer}; "
                                f"it has {known}")
        if source == target:
            raise SpecError(f"skip {source}:{target} must join two layers")
        pair = frozenset((source, target))
        if pair in seen:
            raise SpecError(f"skip {source}:{target} is given twice; a bank acts in both "
                            "directions")
        seen.add(pair)


def check_batch(batch: Mapping[str, Raw], layers: Sequence[str]) -> dict[str, Values]:
    """Return the named layers of a batch in float64; SpecError names a layer that cannot be used.

    Each must be there, have one row per sample, and be finite.
    """
    found = {}
    for layer in layers:
        if layer not in batch:
            raise SpecError(f"the activations have no layer {layer}; they have "
                            f"{', '.join(batch)}")
        values = np.asarray(batch[layer], np.float64)
        if values.ndim != 2:
            raise SpecError(f"activations of layer {layer} must have shape (rows, units), "
                            f"not {values.shape}")
        # One sum tells whether anything is wrong; where is looked up only then.
        if not np.isfinite(values.sum()):
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(bad):
                raise SpecError(f"activations of layer {layer} must be finite; {len(bad)} of "
                                f"{len(values)} rows of a batch are not, the first is row {bad[0]}")
        found[layer] = values
    lengths = {len(values) for values in found.values()}
    if len(lengths) > 1:
        raise SpecError(f"layers of a batch must have equally many rows, not {sorted(lengths)}")
    return found

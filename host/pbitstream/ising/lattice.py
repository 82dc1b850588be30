"""Regular structure: couplings of two colour classes as shifted diagonals, or as a sparse matrix.

With the p-bits of a class numbered in ascending order, an edge of a lattice joins unit i of one
class to unit i + o of another, and few distinct offsets o cover all edges: 9 those of a torus with
four neighbours and an even number of columns, however it is numbered by rows. Then the edges are a
band: one weight per unit and offset, and shifts where a sparse matrix has gathers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.spec.words import MAX_OFFSET
from pbitstream.tables import band_rows

__all__ = ["Couplings", "Pair", "couplings", "find_bands"]

Values = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Bands are taken while their words are at most so many times the edges: on the compiled engine a
#: gather takes as long as 8 to 30 words of a band, on NumPy's 2.5 (one chain) to 80.
GATHER_COST = 6
#: More offsets than this are no lattice: a dense block has as many as both its sides together.
MAX_BANDS = 128


@dataclass(frozen=True, eq=False)
class Pair:
    """Edges between two classes: unit `row` of `target`, unit `column` of `source`, and weight.

    `source` and `target` are classes; the target is the smaller one. Edges ascend by row, then
    column.
    """

    source: int
    target: int
    row: Indices
    column: Indices
    weight: Values


@dataclass(frozen=True, eq=False)
class Couplings:
    """The edges of a pair: `bands`, offset -> one weight per unit of the target, and the `rest`.

    `words` is the length of all bands together, `reason` says why there are none, or why edges
    are left.
    """

    bands: dict[int, Values]
    rest: Pair
    words: int
    reason: str


def couplings(
    colours: Indices, place: Indices, sizes: Indices, first: Indices, second: Indices,
    weight: Values,
) -> list[Pair]:
    """Return the edges of a properly coloured graph by pairs of classes.

    `place` is the number of every p-bit within its class. Cost: O(edges log edges).
    """
    if len(weight) == 0:
        return []
    # Fewer units of the target mean fewer words.
    size = sizes[colours]
    key = np.stack([size, -colours])
    swap = (key[0, first] < key[0, second]) | (
        (key[0, first] == key[0, second]) & (key[1, first] < key[1, second]))
    target, source = np.where(swap, first, second), np.where(swap, second, first)
    pair = colours[source] * len(sizes) + colours[target]
    order = np.lexsort((place[source], place[target], pair))
    found = []
    for part in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1):
        s, t = source[part], target[part]
        found.append(Pair(int(colours[s[0]]), int(colours[t[0]]), place[t], place[s], weight[part]))
    return found


def find_bands(pair: Pair, dim_s: int, dim_t: int) -> Couplings:
    """Return the edges of a pair as bands if few offsets cover them, else all as the rest.

    Offsets of 4,096 and more, which no bank takes, are left as the rest. The others become bands
    if, over those offsets, the units that have a neighbour within the module are at most
    `GATHER_COST` times the edges, and the offsets at most `MAX_BANDS`.
    """
    offset = pair.column - pair.row
    near = np.abs(offset) < MAX_OFFSET
    offsets = np.unique(offset[near])
    rows = [band_rows(int(o), dim_t, dim_s) for o in offsets]
    words = sum(high - low for low, high in rows)
    edges = int(near.sum())
    if edges == 0 or len(offsets) > MAX_BANDS or words > GATHER_COST * edges:
        return Couplings({}, pair, 0, f"{len(np.unique(offset)):,} offsets")
    table = np.zeros((len(offsets), dim_t))
    table[np.searchsorted(offsets, offset[near]), pair.row[near]] = pair.weight[near]
    far = ~near
    rest = Pair(pair.source, pair.target, pair.row[far], pair.column[far], pair.weight[far])
    reason = f"offsets of {MAX_OFFSET:,} and more" if far.any() else ""
    return Couplings({int(o): row for o, row in zip(offsets, table)}, rest, words, reason)

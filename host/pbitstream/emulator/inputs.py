"""Who adds what to the sums of the bit-sliced kernels: a program's edges as they read them.

Weights are in levels. Inputs with a bit of a weight stand in multiples of four, filled up with such
that add nothing. `pbitstream.emulator.bitsliced` and `pbitstream.emulator.wide` describe the
layouts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator.pbit_plan import BLOCK, PbitPlan
from pbitstream.emulator.sums import MORE, MOST

__all__ = ["LANES", "Inputs", "WideInputs", "inputs_of", "wide_inputs_of"]

Integers = NDArray[np.int64]

#: Bits of the units of a block.
LANES = 1 << np.arange(BLOCK)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of every block of eight units."""

    first: Integers
    places: NDArray[np.int32]
    flips: NDArray[np.uint8]
    present: NDArray[np.uint8]
    gathered: Integers
    sources: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class WideInputs:
    """Inputs of every unit, in the order of update."""

    inputs: NDArray[np.uint16]
    turns: NDArray[np.uint64]


def inputs_of(plan: PbitPlan, weights: Integers, digits: int) -> Inputs:
    """Return the inputs of every block, for weights in levels."""
    blocks = plan.size // BLOCK
    target, source = plan.place[plan.targets], plan.place[plan.sources]
    block, lane = target // BLOCK, target % BLOCK
    rank = _rank(plan.targets)
    # Neighbours of eight units stand side by side in a band; if they rarely do, gather them.
    shift = source - target
    runs = np.bincount(_distinct(block, shift)[0], minlength=blocks)
    most = np.zeros(blocks, np.int64)
    np.maximum.at(most, block, rank + 1)
    gathers = runs > 2 * most
    home, number, which = _distinct(block, np.where(gathers[block], rank, shift))
    gathered = np.concatenate([[0], np.cumsum(np.where(gathers, BLOCK * most, 0))])
    places = np.where(gathers[home], plan.size + BLOCK * number, BLOCK * home + number)
    sources = np.zeros(gathered[-1], np.int32)
    far = gathers[block]
    sources[gathered[block[far]] + BLOCK * rank[far] + lane[far]] = source[far]
    flips = np.bincount(which, (weights < 0) << lane, len(places)).astype(np.uint8)
    bits = np.abs(weights) >> np.arange(digits)[:, None] & 1
    present = np.stack([np.bincount(which, bit << lane, len(places)) for bit in bits])
    digit, entry = np.nonzero(present)
    order = np.lexsort((entry, digit, home[entry]))
    digit, entry = digit[order], entry[order]
    slot = home[entry] * digits + digit
    counts = np.bincount(slot, minlength=blocks * digits)
    first = np.concatenate([[0], np.cumsum(-(-counts // 4) * 4)])
    at = first[slot] + _rank(slot)
    table = np.zeros((3, first[-1]), np.int64)
    table[:, at] = places[entry], flips[entry], present[digit, entry]
    return Inputs(first, table[0].astype(np.int32), table[1].astype(np.uint8),
                  table[2].astype(np.uint8), gathered, sources)


def wide_inputs_of(plan: PbitPlan, weights: Integers, digits: int) -> WideInputs:
    """Return the inputs of every unit, for weights in levels; of 65,536 units at most."""
    rank = np.zeros(plan.size, np.int64)
    rank[plan.visits] = np.arange(len(plan.visits))
    digit, edge = np.nonzero(np.abs(weights) >> np.arange(digits)[:, None] & 1)
    slot = rank[plan.place[plan.targets[edge]]] * digits + digit
    order = np.lexsort((weights[edge] < 0, slot))
    slot, edge = slot[order], edge[order]
    slots = len(plan.visits) * digits
    counts = np.bincount(slot, minlength=slots)
    negative = np.bincount(slot[weights[edge] < 0], minlength=slots)
    # Two numbers stand before every bit of a weight up to the highest of the unit's.
    highest = np.zeros(len(plan.visits), np.int64)
    np.maximum.at(highest, slot // digits, slot % digits)
    further = highest.repeat(digits) - np.tile(np.arange(digits), len(plan.visits))
    room = -(-counts // 4) * 4
    assert room.max() <= MOST, "a field has fewer levels"
    ends = np.cumsum(np.where(further < 0, 0, 2 + room))
    heads = ends - room - 2
    table = np.zeros(ends[-1], np.uint16)
    headed = further >= 0
    table[heads[headed]] = (room | MORE * (further > 0))[headed]
    table[heads[headed] + 1] = (room - negative)[headed]
    # Place 0 holds no unit and stays zero: what fills up comes first, upright.
    fill = (room - counts)[slot]
    table[heads[slot] + 2 + fill + _rank(slot)] = plan.place[plan.sources[edge]]
    turns = np.repeat(np.array([0, -1], np.int64), MOST).view(np.uint64)
    return WideInputs(table, turns)


def _distinct(blocks: Integers, numbers: Integers) -> tuple[Integers, Integers, Integers]:
    """Return the distinct pairs, by block and number, and which of them every pair is."""
    low = int(numbers.min(initial=0))
    span = int(numbers.max(initial=0)) - low + 1
    keys, which = np.unique(blocks * span + numbers - low, return_inverse=True)
    return keys // span, keys % span + low, which.reshape(-1)


def _rank(sorted_keys: Integers) -> Integers:
    """Return how many equal keys stand before each."""
    return np.arange(len(sorted_keys)) - np.searchsorted(sorted_keys, sorted_keys)

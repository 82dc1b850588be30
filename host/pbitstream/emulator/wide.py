"""The bit-sliced kernel for many chains: one unit of 512 chains in every plane.

What `pbitstream.emulator.bitsliced` does, for eight groups of 64 chains at once. All of a plane has
the same weights, so its inputs need no masks, begin with a cache line, and may stand anywhere: no
lattice is better than another.

Tables, all one-dimensional but `modules`::

    modules     int64    rows in the order of update: columns FREE_*, then SLICED_*
    inputs      uint16   as `pbitstream.emulator.sums.advance_and_sum` reads them
    turns       uint64   as it does
    start       uint8    per unit, the digits of its first sum, 0 or 255
    thresholds  uint16   per row of the schedule: U of every level of every module
    rows        int64    per row of the schedule: burn-in and window

Units stand in `inputs` and `start` in the order of update: module by module, stream by stream, rows
ascending. `position` is as in the twin. Of a group: words [units][8], noise as planes [129][64][8],
counters. Scratch of a thread: the rest; `homes` are of single streams.
"""

from pbitstream.emulator import decisions, sums
from pbitstream.emulator.bitsliced import (
    BLOCK,
    GROUP,
    LEAF,
    SLICED_CARRY,
    SLICED_THREE,
    SLICED_THRESHOLDS,
    name_leaves,
)
from pbitstream.emulator.chain_words import FREE_DIM, FREE_PLACE, inner, outer, record, settle
from pbitstream.spec.noise import FIELD_BITS, FIELDS, STREAMS

__all__ = ["WIDTH", "relax_wide_group"]

#: Words of a unit, each of 64 chains.
WIDTH = BLOCK


@inner
def update_wide(modules, k, inputs, cursor, turns, start, unit, leaves, table, words, noise,
                numbers, functions, homes, digits):
    """Update module k (numerics 6 and 7); return the cursor and unit behind its last."""
    base, dim, carry = modules[k, FREE_PLACE], modules[k, FREE_DIM], modules[k, SLICED_CARRY]
    low = modules[k, SLICED_THRESHOLDS] * FIELD_BITS // LEAF
    for stream in range(min(STREAMS, dim)):
        for i in range(stream, dim, GROUP):
            rows = min(FIELDS, (dim - i + STREAMS - 1) // STREAMS)
            old, at = homes[stream], homes[STREAMS]
            homes[stream], homes[STREAMS] = at, old
            cursor = sums.advance_and_sum(noise, old, at, rows, words, inputs, cursor,
                                          turns, start, unit * len(digits), carry, numbers, digits)
            unit += rows
            if rows > 1 and modules[k, SLICED_THREE]:
                decisions.decide_three_levels(noise, at, numbers, table, k * FIELD_BITS * 2, words,
                                              (base + i) * WIDTH, STREAMS * WIDTH, rows, digits)
            else:
                decisions.decide(noise, at, numbers, leaves, low, functions, words,
                                 (base + i) * WIDTH, STREAMS * WIDTH, rows, digits)
    return cursor, unit


@outer
def relax_wide_group(modules, inputs, turns, start, thresholds, rows, position, budget, words,
                     noise, counters, history, leaves, table, numbers, functions, homes, size,
                     counted, digits):
    """Relax a group of 512 chains by at most `budget` steps of its schedule (numerics 8)."""
    levels = len(thresholds) // (len(rows) // 2)
    kept = 0
    while budget > 0 and position[0] < len(rows) // 2:
        row, done = position[0], position[1]
        burn_in = rows[2 * row]
        steps = burn_in + rows[2 * row + 1]
        name_leaves(modules, thresholds, row * levels, leaves, table, digits)
        last = min(steps, done + budget)
        budget -= last - done
        while done < last:
            cursor, unit = 0, 0
            for k in range(len(modules)):
                cursor, unit = update_wide(modules, k, inputs, cursor, turns, start, unit, leaves,
                                           table, words, noise, numbers, functions, homes, digits)
            if done >= burn_in:
                kept = record(words, history, kept, size, counters, counted)
            done += 1
        position[0], position[1] = (row + 1, 0) if done == steps else (row, done)
    settle(history, kept, size, counters, counted)

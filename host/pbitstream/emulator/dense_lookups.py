"""The kernel of dense p-bits, 64 chains side by side: fields are sums that spins look up.

Free units are counted in the order of update; five in a row are a group, and the spins of a group
in one chain a number below 32. What a group adds to a unit's field is looked up by its number::

    g_i = sum_{j up} W_ij + sum_j max(-W_ij, 0)      f_i = 8192 g_i + constant_i - 4096 sum_j |W_ij|

The loader's bound on a field keeps sum |W| below 2^16, so g fits uint16 and its arithmetic wraps
without harm. As F - 10 <= 13, ``y = (g << (23 - F)) + rhu(f(g = 0), F - 10)``. Everything after
that is the twin of `pbitstream.emulator.lanes`, but that a y may be clipped.

Four units of a module are a tile, and what is left of a module tiles of one unit each. Tables of a
program, all one-dimensional but `modules`::

    modules  int64   rows in the order of update, columns FREE_*
    tiles    int64   rows of TILE_WORDS: entries of a tile, and the place of its sums
    groups   int32   the group of every entry
    sums     uint16  [entry][unit of the tile][32]
    low      uint16  sum_j max(-W_ij, 0) of every unit
    reach    uint16  sum_j |W_ij|
    start    int32   y of every unit when g = 0
    beta     int64   per row of the schedule, of every module
    rows     int64   per row of the schedule: burn-in and window
    table    uint16  thresholds by signed index, the first and the last MARGIN times more

`position` holds the row of the schedule and its steps that are done. Of a group of chains: words,
noise [128][64], counters, clipped int64[64]. Scratch of a thread: numbers uint16 [group][64], and
g, index and thresholds of a tile.
"""

import numpy as np

from pbitstream.emulator.chain_words import (
    CHAINS,
    FREE_DIM,
    FREE_PLACE,
    inner,
    outer,
    record,
    settle,
)
from pbitstream.emulator.dense_vectors import SPINS, UNITS, add_sums, decide, find_indices
from pbitstream.emulator.vectors import view
from pbitstream.spec.noise import FIELD_BITS, FIELDS, STREAMS
from pbitstream.spec.sigmoid import THRESHOLD_STEP_BITS, THRESHOLDS
from pbitstream.spec.words import BETA, PBIT_INPUT

__all__ = ["MARGIN", "TILE_WORDS", "number_spins", "relax_group"]

TILE_FIRST, TILE_END, TILE_PLACE, TILE_WORDS = range(4)

i64, u64 = np.int64, np.uint64
STEP = PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS
LAST_THRESHOLD = THRESHOLDS - 1
#: From this product on, the index is the last.
HIGHEST = LAST_THRESHOLD << STEP
#: The first y of such a product may be so much further: beta is at most two steps.
MARGIN = 2
HALF = (1 << (STEP - 1)) + ((LAST_THRESHOLD + MARGIN) << STEP)
HIGH_Y, LOW_Y = PBIT_INPUT.highest, PBIT_INPUT.lowest


@outer
def number_spins(modules, words, numbers):
    """Write the spins in words as numbers of groups."""
    numbers[:] = 0
    unit = 0
    for k in range(len(modules)):
        for i in range(modules[k, FREE_DIM]):
            word, bit = words[modules[k, FREE_PLACE] + i], u64(unit % SPINS)
            for c in range(CHAINS):
                numbers[unit // SPINS * CHAINS + c] |= ((word >> u64(c)) & u64(1)) << bit
            unit += 1


@inner
def look_up(index, table, thresholds):
    """``thresholds = table[index]``."""
    for c in range(len(index)):
        thresholds[c] = table[u64(index[c])]


@inner
def count_clips(g, up, start, clipped):
    """Count the chains whose y leaves its 18 bits."""
    for c in range(CHAINS):
        y = (i64(g[c]) << up) + start
        clipped[c] += (y < LOW_Y) | (y > HIGH_Y)


@outer
def relax_group(modules, tiles, groups, sums, low, reach, up, start, beta, rows, table, position,
                budget, words, noise, counters, history, clipped, numbers, g, index, thresholds,
                size, counted):
    """Relax a group of 64 chains by at most `budget` steps of its schedule (numerics 8)."""
    kept = 0
    while budget > 0 and position[0] < len(rows) // 2:
        row, done = position[0], position[1]
        burn_in = rows[2 * row]
        steps = burn_in + rows[2 * row + 1]
        last = min(steps, done + budget)
        budget -= last - done
        while done < last:
            tile = unit = 0
            for k in range(len(modules)):
                base, dim = modules[k, FREE_PLACE], modules[k, FREE_DIM]
                own_beta = beta[row * len(modules) + k]
                enough = (HIGHEST + own_beta - 1) // own_beta if own_beta else HIGH_Y + 1
                least, most = max(-enough, i64(LOW_Y)), min(enough, i64(HIGH_Y))
                i = 0
                while i < dim:
                    units = i64(UNITS if dim - i >= UNITS else 1)
                    at = tile * TILE_WORDS
                    add_sums(units, low, unit, numbers, groups, tiles[at + TILE_FIRST],
                             tiles[at + TILE_END], sums, tiles[at + TILE_PLACE], g)
                    tile += 1
                    for t in range(units):
                        own_g, y = view(g, t * CHAINS, CHAINS), i64(start[unit + t])
                        find_indices(own_g, i64(up), y, least, most, own_beta, i64(HALF), i64(STEP),
                                     view(index, t * CHAINS, CHAINS))
                        if y < LOW_Y or y + (i64(reach[unit + t]) << up) > HIGH_Y:
                            count_clips(own_g, up, y, clipped)
                    look_up(view(index, 0, units * CHAINS), table, thresholds)
                    for t in range(units):
                        quarter = i // STREAMS % FIELDS
                        decide(view(noise, i % STREAMS * CHAINS, 0), i64(quarter == 0),
                               u64(quarter * FIELD_BITS), view(thresholds, t * CHAINS, 0),
                               view(numbers, unit // SPINS * CHAINS, 0), i64(1) << (unit % SPINS),
                               words, base + i)
                        unit += 1
                        i += 1
            if done >= burn_in:
                kept = record(words, history, kept, size, counters, counted)
            done += 1
        position[0], position[1] = (row + 1, 0) if done == steps else (row, done)
    settle(history, kept, size, counters, counted)

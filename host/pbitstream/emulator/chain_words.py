"""Chains in groups: 64 spins of a unit in a word, a bit per chain.

What the kernels of p-bits in groups share: groups into words and back, and window sums. A unit has
`width` words in a row, each of 64 chains. Words of a group hold the free modules one behind
another, each from a multiple of eight units on; columns `FREE_*` of a table of modules say where.
Lanes without a chain hold zeros, and zero noise, which stays zero.
"""

import numpy as np
from numba import njit

from pbitstream.emulator import planes
from pbitstream.emulator.vectors import view
from pbitstream.spec.noise import GOLDEN, MIX_MULTIPLIERS, MIX_SHIFTS, STREAMS

__all__ = ["CHAINS", "FREE_DIM", "FREE_PLACE", "FREE_UNIT", "FREE_WORDS", "HISTORY", "NEAR",
           "fill", "inner", "outer", "record", "settle", "spill"]

#: Chains of a word, and steps of a window that are kept before they are added up.
CHAINS = 64
HISTORY = 7
#: Units whose words, counters and sums stay in a near cache.
NEAR = 256
#: Columns of a table of free modules: place of the first unit, dim, first unit; a kernel's follow.
FREE_PLACE, FREE_DIM, FREE_UNIT, FREE_WORDS = range(4)

# As in `pbitstream.emulator.kernels`: every array is the caller's.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True,
            "_nrt": False}
outer = njit(**_OPTIONS)
inner = njit(**_OPTIONS, no_cpython_wrapper=True)

i64, u64 = np.int64, np.uint64
ONE = u64(1)
GOLDEN_WORD = u64(GOLDEN)
MIX_1, MIX_2, MIX_3 = (u64(shift) for shift in MIX_SHIFTS)
TIMES_1, TIMES_2 = (u64(multiplier) for multiplier in MIX_MULTIPLIERS)


@inner
def mix(z):
    """Return splitmix64's finaliser of a word (numerics 7)."""
    z = (z ^ (z >> MIX_1)) * TIMES_1
    z = (z ^ (z >> MIX_2)) * TIMES_2
    return z ^ (z >> MIX_3)


@inner
def draw_spins(words, streams, row, lane):
    """Put the reset spins of a row of units (numerics 7) into a lane."""
    for i in range(len(words)):
        words[i] |= (mix(streams[i] + row) & ONE) << lane


@inner
def gather(words, spins, lane):
    """Put spins into a lane."""
    for i in range(len(words)):
        words[i] |= u64(spins[i]) << lane


@outer
def fill(modules, count, seed, first_chain, fresh, units, noise, first, end, words, width, near):
    """Put the spins of chains `first` to `end` - 1, of `count` units each, into words.

    With `fresh` they are those of a reset, and the streams' first states are written to `noise`;
    `seed` is mixed already. `near` has room for `NEAR` words.
    """
    words[:] = 0
    for start in range(first, end, CHAINS):
        word, last = (start - first) // CHAINS, min(start + CHAINS, end)
        if fresh:
            for chain in range(start, last):
                number = u64(first_chain + chain) * u64(STREAMS) + ONE
                for s in range(STREAMS):
                    state = mix(seed + GOLDEN_WORD * (number + u64(s)))
                    noise[chain * STREAMS + s] = state if state else GOLDEN_WORD
        for k in range(len(modules)):
            dim = modules[k, FREE_DIM]
            for low in range(0, dim, NEAR):
                n = min(dim - low, NEAR)
                place = (modules[k, FREE_PLACE] + low) * width + word
                for i in range(n):
                    near[i] = 0
                for chain in range(start, last):
                    lane = u64(chain - start)
                    if fresh:
                        for row in range(0, n, STREAMS):
                            draw_spins(view(near, row, min(STREAMS, n - row)),
                                       view(noise, chain * STREAMS, STREAMS),
                                       u64((low + row) // STREAMS), lane)
                    else:
                        gather(view(near, 0, n),
                               view(units, chain * count + modules[k, FREE_UNIT] + low, n), lane)
                for i in range(n):
                    words[place + i * width] = near[i]


@outer
def spill(modules, count, words, counters, size, digits, steps, first, end, units, sums, width,
          near):
    """Write the spins and window sums of chains `first` to `end` - 1; the reverse of `fill`.

    A sum is twice the ones that were counted, less the `steps` of the window. `near` has room for
    `NEAR` words of spins and of every digit.
    """
    for start in range(first, end, CHAINS):
        word = (start - first) // CHAINS
        for k in range(len(modules)):
            dim = modules[k, FREE_DIM]
            for low in range(0, dim, NEAR):
                n = min(dim - low, NEAR)
                place = (modules[k, FREE_PLACE] + low) * width + word
                for i in range(n):
                    near[i] = words[place + i * width]
                    for q in range(digits):
                        near[(q + 1) * NEAR + i] = counters[q * size + place + i * width]
                for chain in range(start, min(start + CHAINS, end)):
                    lane, unit = u64(chain - start), chain * count + modules[k, FREE_UNIT] + low
                    of_units, of_sums = view(units, unit, n), view(sums, unit, n)
                    spins = view(near, 0, n)
                    for i in range(n):
                        of_units[i] = (spins[i] >> lane) & ONE
                        of_sums[i] = -steps
                    for q in range(digits):
                        ones = view(near, (q + 1) * NEAR, n)
                        for i in range(n):
                            of_sums[i] += i64((ones[i] >> lane) & ONE) << (q + 1)


@inner
def record(words, history, kept, size, counters, digits):
    """Keep the spins of a step; the seventh adds all to the counters. Return how many are kept."""
    for i in range(size):
        history[kept * size + i] = words[i]
    kept += 1
    return settle(history, kept, size, counters, digits) if kept == HISTORY else kept


@inner
def settle(history, kept, size, counters, digits):
    """Add what is kept to the counters, numbers of `digits` >= 3 planes; return 0."""
    for i in range(kept * size, HISTORY * size):
        history[i] = 0
    for i in range(0, size, 8):
        planes.tally(history, i, size, counters, i, size, digits)
    return 0

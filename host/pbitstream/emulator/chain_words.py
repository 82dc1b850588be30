"""Chains in groups of 64: the spins of a unit in one word, a bit per chain.

What the kernels of p-bits in groups share: groups into words and back, and window sums. The words
of a group hold the free modules one behind another, each from a multiple of eight on; columns
`FREE_*` of a table of modules say where. Lanes without a chain hold zeros, and zero noise, which
stays zero.
"""

import numpy as np
from numba import njit

from pbitstream.emulator import planes
from pbitstream.spec.noise import GOLDEN, MIX_MULTIPLIERS, MIX_SHIFTS, STREAMS

__all__ = ["CHAINS", "FREE_DIM", "FREE_PLACE", "FREE_UNIT", "FREE_WORDS", "HISTORY", "fill",
           "inner", "outer", "record", "settle", "spill"]

#: Chains of a group, and steps of a window that are kept before they are added up.
CHAINS = 64
HISTORY = 7
#: Units whose sums stay in the nearest cache.
NEAR = 1024
#: Columns of a table of free modules: first word, dim, first unit; a kernel's own follow.
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


@outer
def fill(modules, count, seed, first_chain, fresh, units, noise, first, end, words):
    """Put the spins of chains `first` to `end` - 1, of `count` units each, into words.

    With `fresh` they are those of a reset, and the streams' first states are written to `noise`;
    `seed` is mixed already.
    """
    words[:] = 0
    for chain in range(first, end):
        lane, stream = u64(chain - first), chain * STREAMS
        if fresh:
            start = u64(first_chain + chain) * u64(STREAMS) + ONE
            for s in range(STREAMS):
                word = mix(seed + GOLDEN_WORD * (start + u64(s)))
                noise[stream + s] = word if word else GOLDEN_WORD
        for k in range(len(modules)):
            place, dim = modules[k, FREE_PLACE], modules[k, FREE_DIM]
            unit = chain * count + modules[k, FREE_UNIT]
            if fresh:
                for low in range(0, dim, STREAMS):
                    row = u64(low // STREAMS)
                    for i in range(min(STREAMS, dim - low)):
                        words[place + low + i] |= (mix(noise[stream + i] + row) & ONE) << lane
            else:
                for i in range(dim):
                    words[place + i] |= u64(units[unit + i]) << lane


@outer
def spill(modules, count, words, counters, size, digits, steps, first, end, units, sums):
    """Write the spins and window sums of chains `first` to `end` - 1; the reverse of `fill`.

    A sum is twice the ones that were counted, less the `steps` of the window.
    """
    for chain in range(first, end):
        lane = u64(chain - first)
        for k in range(len(modules)):
            place, dim = modules[k, FREE_PLACE], modules[k, FREE_DIM]
            unit = chain * count + modules[k, FREE_UNIT]
            for low in range(0, dim, NEAR):
                high = min(dim, low + NEAR)
                for i in range(low, high):
                    units[unit + i] = (words[place + i] >> lane) & ONE
                    sums[unit + i] = -steps
                for q in range(digits):
                    for i in range(low, high):
                        bit = (counters[q * size + place + i] >> lane) & ONE
                        sums[unit + i] += i64(bit) << (q + 1)


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

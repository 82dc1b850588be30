"""The bit-sliced kernel: p-bits whose fields take few values, 64 chains in every word.

One logical operation on a plane serves 8 units of 64 chains; `pbitstream.emulator.wide` is the twin
for calls of many chains. The noise is that of every other kernel: 64 planes are the words of 8
streams of 64 chains, and an update compares 16 of them with the thresholds of all levels a field
can have, one operation per bit and threshold.

A level is a field in units of the program's own step: n = field / unit for the unit that divides
every weight and bias, or n/2 where all n of a module are even, or (n-1)/2 where all are odd. If
thresholds are odd-symmetric (they are, unless half a step is rounded up) the kernel looks up
magnitudes and inverts the noise where the field is negative; else the plan adds so much to every
level that none is negative.

Tables (`pbitstream.emulator.levels` builds them), all one-dimensional but `modules`::

    modules     int64    rows in the order of update: columns FREE_*, then SLICED_*
    first       int64    per block of 8 words and bit of a weight, its first input; and the end
    places      int32    first of the eight words of an input
    flips       uint8    bit l: unit l reads the word inverted
    present     uint8    bit l: unit l has this input with this bit of its weight
    start       uint8    per block, the bits of eight first sums
    gathered    int64    per block, the first word to gather behind the spins; and the end
    sources     int32    words to gather
    thresholds  uint16   per row of the schedule: U of every level of every module
    rows        int64    per row of the schedule: burn-in and window

`position` holds the row of the schedule and its steps that are done. Of a group: words (spins,
then gathered ones), noise as planes [17][64][8], counters. Scratch of a thread: the rest; `homes`
says where in the noise each block of eight streams begins, and at last the free block, which its
next word is written to.
"""

import numpy as np

from pbitstream.emulator import decisions, planes, sums
from pbitstream.emulator.chain_words import (
    CHAINS,
    FREE_DIM,
    FREE_PLACE,
    FREE_WORDS,
    inner,
    outer,
    record,
    settle,
)
from pbitstream.emulator.vectors import view
from pbitstream.spec.noise import FIELD_BITS, FIELDS, STREAMS

__all__ = ["BLOCK", "GROUP", "LEAF", "SLICED_CARRY", "SLICED_THREE", "SLICED_THRESHOLDS",
           "SLICED_WORDS", "STREAM_BLOCK", "name_leaves", "relax_group", "slice_noise"]

#: Place of the first threshold, whether there are three levels, -1 to carry a sign.
SLICED_THRESHOLDS, SLICED_THREE, SLICED_CARRY, SLICED_WORDS = range(FREE_WORDS, FREE_WORDS + 4)
BLOCK = 8
WORD_BITS = FIELDS * FIELD_BITS
#: Units that the four fields of 128 words serve, and words of the planes of 64 bits.
GROUP = FIELDS * STREAMS
STREAM_BLOCK = BLOCK * WORD_BITS
#: Levels that a leaf of `decide` tells apart.
LEAF = 8

u64 = np.uint64
ONE = u64(1)


@inner
def transpose(words):
    """Transpose eight 64 x 64 matrices of bits side by side, [64][8] words."""
    width, mask = 32, u64(0x00000000FFFFFFFF)
    while width:
        for k in range(WORD_BITS):
            if k & width == 0:
                for lane in range(BLOCK):
                    i, j = k * BLOCK + lane, (k + width) * BLOCK + lane
                    swapped = ((words[i] >> u64(width)) ^ words[j]) & mask
                    words[j] ^= swapped
                    words[i] ^= swapped << u64(width)
        width >>= 1
        mask ^= mask << u64(width)


@outer
def slice_noise(noise, first, end, planes_of, homes, width, back):
    """Turn the words of chains `first` to `end` - 1 into planes, or planes `back` into words.

    A plane has `width` words of a stream, each of 64 chains: 1 or 8.
    """
    free = len(homes) - 1
    if not back:
        planes_of[:] = 0
        for block in range(len(homes)):
            homes[block] = block * STREAM_BLOCK
    for block in range(free):
        words = view(planes_of, homes[free if back else block], STREAM_BLOCK)
        if back:
            for i in range(STREAM_BLOCK):
                words[i] = planes_of[homes[block] + i]
            transpose(words)
        for lane in range(BLOCK):
            stream = (block * BLOCK + lane) // width
            low = first + lane % width * CHAINS
            for chain in range(low, min(low + CHAINS, end)):
                place = (chain - low) * BLOCK + lane
                if back:
                    noise[chain * STREAMS + stream] = words[place]
                else:
                    words[place] = noise[chain * STREAMS + stream]
        if not back:
            transpose(words)


@inner
def name_leaves(modules, thresholds, at, leaves, table, digits):
    """Turn thresholds U into what `decide` and `decide_three_levels` read."""
    levels = 1 << (len(digits) - 1)
    for k in range(len(modules)):
        low = modules[k, SLICED_THRESHOLDS]
        for bit in range(FIELD_BITS):
            for leaf in range(0, levels, LEAF):
                name = u64(0)
                for t in range(LEAF):
                    one = u64(thresholds[at + low + leaf + t]) >> u64(bit) & ONE
                    name |= one << u64(t)
                leaves[(low * FIELD_BITS + bit * levels + leaf) // LEAF] = name
            for t in range(2):
                one = u64(thresholds[at + low + 1 + t]) >> u64(bit) & ONE
                table[(k * FIELD_BITS + bit) * 2 + t] = u64(0) - one


@inner
def update(modules, k, first, places, flips, present, start, gathered, sources, leaves, table,
           words, noise, numbers, functions, homes, size, digits):
    """Update module k (numerics 6 and 7)."""
    base, dim, carry = modules[k, FREE_PLACE], modules[k, FREE_DIM], modules[k, SLICED_CARRY]
    low = modules[k, SLICED_THRESHOLDS] * FIELD_BITS // LEAF
    count = len(digits)
    free = len(homes) - 1
    for stream in range(0, min(STREAMS, dim), BLOCK):
        block = stream // BLOCK
        for i in range(stream, dim, GROUP):
            old, at = homes[block], homes[free]
            homes[block], homes[free] = at, old
            planes.advance(noise, old, at)
            rows = min(FIELDS, (dim - i + STREAMS - 1) // STREAMS)
            for row in range(rows):
                part = (base + i + row * STREAMS) // BLOCK
                source = gathered[part]
                for word in range(gathered[part + 1] - source):
                    words[size + word] = words[sources[source + word]]
                sums.field(words, places, flips, present, first, part * count, start,
                           part * count, carry, numbers, row * count * BLOCK, digits)
            if rows > 1 and modules[k, SLICED_THREE]:
                decisions.decide_three_levels(noise, at, numbers, table, k * FIELD_BITS * 2, words,
                                              base + i, STREAMS, rows, digits)
            else:
                decisions.decide(noise, at, numbers, leaves, low, functions, words, base + i,
                                 STREAMS, rows, digits)
            # Streams without a unit do not advance: a block at the end of a row may have some.
            if dim - i < BLOCK:
                for word in range(STREAM_BLOCK):
                    if word % BLOCK >= dim - i:
                        noise[at + word] = noise[old + word]


@outer
def relax_group(modules, first, places, flips, present, start, gathered, sources, thresholds, rows,
                position, budget, words, noise, counters, history, leaves, table, numbers,
                functions, homes, size, counted, digits):
    """Relax a group of 64 chains by at most `budget` steps of its schedule (numerics 8)."""
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
            for k in range(len(modules)):
                update(modules, k, first, places, flips, present, start, gathered, sources, leaves,
                       table, words, noise, numbers, functions, homes, size, digits)
            if done >= burn_in:
                kept = record(words, history, kept, size, counters, counted)
            done += 1
        position[0], position[1] = (row + 1, 0) if done == steps else (row, done)
    settle(history, kept, size, counters, counted)

"""The kernel of p-bits with any weights: 64 chains side by side, a number in every lane.

What `pbitstream.emulator.bitsliced` does for fields of few values, for all others: spins are bits
of words, fields int32, and a table of 2,047 thresholds, by signed index, is looked up.

Tables of a program, all one-dimensional but `modules`::

    modules  int64   rows in the order of update, columns FREE_*
    first    int64   first edge into every word; the end of the last
    sources  int32   words that edges come from
    weights  int32   twice the weight
    start    int32   the field of every word when all spins are -1
    beta     int64   per row of the schedule, of every module
    rows     int64   per row of the schedule: burn-in and window

`position` holds the row of the schedule and its steps that are done. Of a group: words, noise
[128][64], counters. Scratch of a thread: the rest.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.emulator.chain_words import (
    CHAINS,
    FREE_DIM,
    FREE_PLACE,
    inner,
    outer,
    record,
    settle,
)
from pbitstream.emulator.kernels import draw
from pbitstream.emulator.vectors import view
from pbitstream.spec.noise import FIELD_BITS, FIELDS, STREAMS
from pbitstream.spec.sigmoid import THRESHOLD_STEP_BITS, THRESHOLDS
from pbitstream.spec.words import BETA, PBIT_INPUT

__all__ = ["relax_group", "turn_noise"]

#: Units that the four fields of 128 words serve.
GROUP = FIELDS * STREAMS
#: Lanes of a vector of int32, and of one of noise words.
WIDE, WORDS = 16, 8

i64, u64 = np.int64, np.uint64
STEP = PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS
STEP_HALF = 1 << (STEP - 1)
LAST_THRESHOLD = THRESHOLDS - 1
#: From this product on, the index is the last.
HIGHEST = LAST_THRESHOLD << STEP
LARGEST_INPUT = 1 << (PBIT_INPUT.bits - 1)
INPUT_FRACTION = PBIT_INPUT.fraction


@intrinsic
def lane_field(typing, words, sources, weights, low, high, start, f):
    """``f = start + sum of the weights`` of edges `low` to `high` - 1 whose spin is up."""
    signature = types.void(words, sources, weights, low, high, start, f)

    def generate(context, b, signature, args):
        lanes = ir.VectorType(ir.IntType(32), WIDE)
        bits = ir.IntType(WIDE)

        def data(k):
            return context.make_array(signature.args[k])(context, b, args[k]).data

        def splat(value):
            one = b.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.IntType(32)(0))
            return b.shuffle_vector(one, one, ir.Constant(lanes, [0] * WIDE))

        first = splat(b.trunc(args[5], ir.IntType(32)))
        parts = range(CHAINS // WIDE)
        total = [cgutils.alloca_once_value(b, first) for _ in parts]
        with cgutils.for_range_slice(b, args[3], args[4], ir.IntType(64)(1), inc=True) as (e, _):
            place = b.sext(b.load(b.gep(data(1), [e])), ir.IntType(64))
            word = b.bitcast(b.gep(data(0), [place]), bits.as_pointer())
            weight = splat(b.load(b.gep(data(2), [e])))
            for k in parts:
                up = b.load(b.gep(word, [ir.IntType(64)(k)]), align=2)
                mask = b.bitcast(up, ir.VectorType(ir.IntType(1), WIDE))
                added = b.select(mask, weight, ir.Constant(lanes, [0] * WIDE))
                b.store(b.add(b.load(total[k]), added), total[k])
        target = b.bitcast(data(6), lanes.as_pointer())
        for k in parts:
            b.store(b.load(total[k]), b.gep(target, [ir.IntType(64)(k)]), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def lane_index(typing, f, shift, beta, largest, index):
    """``index = 1023 + j`` or ``1023 - j`` for y of either sign: j = min(rhu(beta |y|), 1023).

    y = rhu(f, shift). Beyond `largest` j does not grow, so that beta |y| fits int32.
    """
    signature = types.void(f, shift, beta, largest, index)

    def generate(context, b, signature, args):
        lanes = ir.VectorType(ir.IntType(32), WIDE)

        def pointer(k):
            data = context.make_array(signature.args[k])(context, b, args[k]).data
            return b.bitcast(data, lanes.as_pointer())

        def splat(value):
            if isinstance(value, int):
                return ir.Constant(lanes, [value] * WIDE)
            word = b.trunc(value, ir.IntType(32))
            one = b.insert_element(ir.Constant(lanes, ir.Undefined), word, ir.IntType(32)(0))
            return b.shuffle_vector(one, one, splat(0))

        def smaller(x, y):
            return b.select(b.icmp_signed("<", x, y), x, y)

        shift, beta, largest = (splat(args[k]) for k in (1, 2, 3))
        for k in range(CHAINS // WIDE):
            n = ir.IntType(64)(k)
            field = b.load(b.gep(pointer(0), [n]), align=4)
            # Half up without the addition that could overflow: the bit below the cut is the carry.
            carry = b.and_(b.ashr(field, b.sub(shift, splat(1))), splat(1))
            y = b.add(b.ashr(field, shift), carry)
            negative = b.icmp_signed("<", y, splat(0))
            size = smaller(b.select(negative, b.neg(y), y), largest)
            j = b.ashr(b.add(b.mul(size, beta), splat(STEP_HALF)), splat(STEP))
            j = smaller(j, splat(LAST_THRESHOLD))
            signed = b.select(negative, b.neg(j), j)
            b.store(b.add(signed, splat(LAST_THRESHOLD)), b.gep(pointer(4), [n]), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def lane_spins(typing, noise, at, shift, thresholds, words, place):
    """Put into a word the bits ``field of noise < threshold`` of 64 chains."""
    signature = types.void(noise, at, shift, thresholds, words, place)

    def generate(context, b, signature, args):
        wide, half = (ir.VectorType(ir.IntType(n), WORDS) for n in (64, FIELD_BITS))
        byte = ir.IntType(8)

        def pointer(k, start, kind):
            data = context.make_array(signature.args[k])(context, b, args[k]).data
            return b.bitcast(b.gep(data, [start]), kind.as_pointer())

        zero = ir.IntType(64)(0)
        source, u = pointer(0, args[1], wide), pointer(3, zero, half)
        target = pointer(4, args[5], byte)
        one = b.insert_element(ir.Constant(wide, ir.Undefined), args[2], ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WORDS), [0] * WORDS)
        shift = b.shuffle_vector(one, one, mask)
        for k in range(CHAINS // WORDS):
            n = ir.IntType(64)(k)
            w = b.trunc(b.lshr(b.load(b.gep(source, [n]), align=8), shift), half)
            up = b.icmp_unsigned("<", w, b.load(b.gep(u, [n]), align=2))
            b.store(b.bitcast(up, byte), b.gep(target, [n]))
        return context.get_dummy_value()

    return signature, generate


@outer
def turn_noise(noise, first, end, lanes, back):
    """Put the words of chains `first` to `end` - 1 side by side, or `back`."""
    if not back:
        lanes[:] = 0
    for chain in range(first, end):
        for s in range(STREAMS):
            if back:
                noise[chain * STREAMS + s] = lanes[s * CHAINS + chain - first]
            else:
                lanes[s * CHAINS + chain - first] = noise[chain * STREAMS + s]


@inner
def look_up(f, fraction, beta, table, index, thresholds):
    """Put U of 64 fields into `thresholds` (numerics 6); no y is clipped, the plan has seen."""
    largest = i64(LARGEST_INPUT)
    if beta > 0:
        largest = min(largest, (HIGHEST + beta - 1) // beta)
    lane_index(f, fraction - INPUT_FRACTION, beta, largest, index)
    for c in range(CHAINS):
        thresholds[c] = table[index[c]]


@outer
def relax_group(modules, first, sources, weights, start, beta, rows, table, fraction, position,
                budget, words, noise, counters, history, f, index, thresholds, size, counted):
    """Relax a group of 64 chains by at most `budget` steps of its schedule (numerics 8)."""
    kept = 0
    while budget > 0 and position[0] < len(rows) // 2:
        row, done = position[0], position[1]
        burn_in = rows[2 * row]
        steps = burn_in + rows[2 * row + 1]
        last = min(steps, done + budget)
        budget -= last - done
        while done < last:
            for k in range(len(modules)):
                base, dim = modules[k, FREE_PLACE], modules[k, FREE_DIM]
                for stream in range(min(STREAMS, dim)):
                    at = stream * CHAINS
                    for low in range(stream, dim, GROUP):
                        draw(view(noise, at, CHAINS))
                        for quarter in range(FIELDS):
                            i = low + quarter * STREAMS
                            if i >= dim:
                                break
                            place = base + i
                            lane_field(words, sources, weights, first[place], first[place + 1],
                                       i64(start[place]), f)
                            look_up(f, fraction, beta[row * len(modules) + k], table, index,
                                    thresholds)
                            lane_spins(noise, at, u64(quarter * FIELD_BITS), thresholds, words,
                                       place)
            if done >= burn_in:
                kept = record(words, history, kept, size, counters, counted)
            done += 1
        position[0], position[1] = (row + 1, 0) if done == steps else (row, done)
    settle(history, kept, size, counters, counted)

"""Vector code of the bit-sliced kernels: ``m = sign ^ ((w ^ sign) < U[level])`` of p-bits.

U depends on the level alone, so bit b of U is a function of the level's bits, the same for all
units of a module. Bits of the noise rise, so that ``below = majority(~w_b, U_b, below)`` compares.
Four rows of planes, whose noise is one word's four fields, are decided together.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.emulator.planes import (
    BYTE,
    NOTHING,
    PLANE,
    WORD,
    address,
    choose,
    has_ternary,
    load,
    majority,
    splat,
    store,
    ternary,
)
from pbitstream.spec.noise import FIELD_BITS, FIELDS

__all__ = ["decide", "decide_three_levels"]

#: Digits of a level of eight, with its sign.
EIGHT_LEVELS = 4


def _bits(b):
    """Return a loop over the bits of a field of the noise."""
    return cgutils.for_range_slice(b, WORD(0), WORD(FIELD_BITS), WORD(1), inc=True)


def _place(b, target, row, step):
    return b.bitcast(b.gep(target, [b.mul(step, row)]), PLANE.as_pointer())


@intrinsic
def decide(typing, noise, at, numbers, leaves, leaves_at, functions, words, words_at, step, rows,
           planes):
    """Decide `rows` planes, `step` words apart, against the threshold of every level.

    ``leaves[leaves_at:]`` names, for every bit of U and every eight levels, one of the 256
    functions of the level's lowest three bits.
    """
    signature = types.void(noise, at, numbers, leaves, leaves_at, functions, words, words_at, step,
                           rows, planes)
    count = planes.count

    def generate(context, b, signature, args):
        w = address(context, b, signature, args, 0, args[1])
        n = address(context, b, signature, args, 2, WORD(0))
        names = address(context, b, signature, args, 3, args[4], BYTE)
        f = address(context, b, signature, args, 5, WORD(0))
        target = address(context, b, signature, args, 6, args[7], WORD)
        step, rows = args[8:10]

        def one_by_one():
            with cgutils.for_range_slice(b, WORD(0), rows, WORD(1), inc=True) as (row, _):
                noise_at = b.gep(w, [b.mul(row, WORD(FIELD_BITS))])
                number_at = b.gep(n, [b.mul(row, WORD(count))])
                _decide_one(context, b, noise_at, number_at, names, f, _place(b, target, row, step),
                            count)

        if count != EIGHT_LEVELS or not has_ternary(context):
            one_by_one()
        else:
            with b.if_else(b.icmp_signed(">", rows, WORD(1))) as (several, single):
                with several:
                    _decide_four(context, b, w, n, names, target, step, rows)
                with single:
                    one_by_one()
        return context.get_dummy_value()

    return signature, generate


def _decide_one(context, b, w, n, names, f, target, count):
    """Decide a plane by a tree of choices, its leaves from 16 planes: functions of two bits."""
    *level, sign = (load(b, n, q) for q in range(count))
    corners = [b.and_(high, low) for high in (b.not_(level[1]), level[1])
               for low in (b.not_(level[0]), level[0])]
    for function in range(16):
        value = NOTHING
        for k in range(4):
            if function >> k & 1:
                value = b.or_(value, corners[k])
        store(b, value, f, function)
    below = cgutils.alloca_once(b, PLANE)
    b.store(NOTHING, below)
    last = WORD(1 << (count - EIGHT_LEVELS))
    with _bits(b) as (bit, _):
        row = b.gep(names, [b.mul(bit, last)])

        def threshold(leaf, q):
            if q == 2:
                name = b.load(b.gep(row, [WORD(leaf)]))
                low, high = b.and_(name, BYTE(15)), b.lshr(name, BYTE(4))
                return choose(b, level[2], load(b, f, b.zext(high, WORD)),
                              load(b, f, b.zext(low, WORD)))
            half = 1 << (q - 3)
            return choose(b, level[q], threshold(leaf + half, q - 1), threshold(leaf, q - 1))

        inverse = b.xor(b.not_(load(b, w, bit)), sign)
        u = threshold(0, count - 2)
        b.store(majority(context, b, inverse, u, b.load(below)), below)
    store(b, b.xor(b.load(below), sign), target, 0)


def _decide_four(context, b, w, n, names, target, step, rows):
    """Decide four planes of eight levels, of which the first `rows` are stored.

    A bit of U is one instruction a plane, of 256 that a switch holds; the next bit is the next case
    of it, the same in every call until the schedule's next row.
    """
    numbers = [[load(b, n, EIGHT_LEVELS * row + q) for q in range(EIGHT_LEVELS)]
               for row in range(FIELDS)]
    below = [cgutils.alloca_once(b, PLANE) for _ in range(FIELDS)]
    levels = [[cgutils.alloca_once(b, PLANE) for _ in range(3)] for _ in range(FIELDS)]
    for under, level, (*digits, _) in zip(below, levels, numbers):
        b.store(NOTHING, under)
        for digit, plane in zip(digits, level):
            b.store(digit, plane)
    # No instruction at all: planes that a compiler knew not to change it would try to combine in
    # advance, all functions of them before the loop.
    opaque = ir.InlineAsm(ir.FunctionType(PLANE, [PLANE]), "", "=v,0", side_effect=True)
    with _bits(b) as (bit, _):
        for plane in (plane for level in levels for plane in level):
            b.store(b.call(opaque, [b.load(plane)]), plane)
        loaded = [[b.load(plane) for plane in level] for level in levels]
        name = b.load(b.gep(names, [bit]))
        join, never = b.append_basic_block("join"), b.append_basic_block("never")
        switch = b.switch(name, never)
        b.position_at_end(never)
        b.unreachable()
        cases = []
        for function in range(256):
            case = b.append_basic_block("function")
            switch.add_case(BYTE(function), case)
            b.position_at_end(case)
            cases.append((case, [ternary(context, b, function, high, middle, low)
                                 for low, middle, high in loaded]))
            b.branch(join)
        b.position_at_end(join)
        thresholds = [b.phi(PLANE) for _ in range(FIELDS)]
        for case, values in cases:
            for u, value in zip(thresholds, values):
                u.add_incoming(value, case)
        for row, (u, under, (*_, sign)) in enumerate(zip(thresholds, below, numbers)):
            noise_bit = load(b, w, b.add(bit, WORD(FIELD_BITS * row)))
            inverse = b.xor(b.not_(noise_bit), sign)
            b.store(majority(context, b, inverse, u, b.load(under)), under)
    _store_rows(b, below, [sign for *_, sign in numbers], target, step, rows)


def _store_rows(b, ups, signs, target, step, rows):
    """Store the first `rows` of four decisions, inverted where the sign is negative."""
    for row, (up, sign) in enumerate(zip(ups, signs)):
        with b.if_then(b.icmp_signed(">", rows, WORD(row))):
            store(b, b.xor(b.load(up), sign), _place(b, target, WORD(row), step), 0)


@intrinsic
def decide_three_levels(typing, noise, at, numbers, table, table_at, words, words_at, step, rows,
                        planes):
    """`decide` with levels 0, 1 and 2 only.

    U[0] is one half, so that its compare is the top bit; `table` holds for every bit the thresholds
    of levels 1 and 2, all ones or all zeros.
    """
    signature = types.void(noise, at, numbers, table, table_at, words, words_at, step, rows, planes)
    count = planes.count

    def generate(context, b, signature, args):
        w = address(context, b, signature, args, 0, args[1])
        n = address(context, b, signature, args, 2, WORD(0))
        u = address(context, b, signature, args, 3, args[4], WORD)
        target = address(context, b, signature, args, 5, args[6], WORD)
        signs = [load(b, n, (row + 1) * count - 1) for row in range(FIELDS)]
        below = [[cgutils.alloca_once_value(b, NOTHING) for _ in range(2)] for _ in range(FIELDS)]
        with _bits(b) as (bit, _):
            pair = b.gep(u, [b.mul(bit, WORD(2))])
            thresholds = [splat(b, b.load(b.gep(pair, [WORD(t)]))) for t in range(2)]
            for row in range(FIELDS):
                noise_bit = load(b, w, b.add(bit, WORD(FIELD_BITS * row)))
                inverse = b.xor(b.not_(noise_bit), signs[row])
                for threshold, under in zip(thresholds, below[row]):
                    b.store(majority(context, b, inverse, threshold, b.load(under)), under)
        for row in range(FIELDS):
            ones, twos = (load(b, n, row * count + q) for q in range(2))
            top = load(b, w, FIELD_BITS * (row + 1) - 1)
            up = choose(b, ones, b.load(below[row][0]), b.xor(b.not_(top), signs[row]))
            b.store(choose(b, twos, b.load(below[row][1]), up), below[row][0])
        _store_rows(b, [first for first, _ in below], signs, target, args[7], args[8])
        return context.get_dummy_value()

    return signature, generate

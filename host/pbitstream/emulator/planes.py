"""Vector code of the bit-sliced kernel: planes of 8 units times 64 chains, in LLVM's own vectors.

A plane is eight 64-bit words in a row: bit c of word l belongs to unit i + l of chain c. A number
per unit and chain is a list of planes, bit b of the number in plane b, so that one logical
operation works on 512 chains' units at once. Nothing here is particular to a machine but the
majority of three bits, which AVX-512 computes in one instruction.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.spec.noise import FIELD_BITS, FIELDS, XORSHIFT

__all__ = ["advance", "decide", "decide_three_levels", "field", "tally"]

WORD = ir.IntType(64)
PLANE = ir.VectorType(WORD, 8)
BYTE = ir.IntType(8)
LANE = ir.VectorType(ir.IntType(1), 8)
NOTHING = ir.Constant(PLANE, [0] * 8)
WORD_BITS = FIELDS * FIELD_BITS
#: Planes start at any word.
ALIGN = 8


def _pointer(context, b, signature, args, number, start, kind=PLANE):
    """Return the address of element `start` of an array argument."""
    data = context.make_array(signature.args[number])(context, b, args[number]).data
    return b.bitcast(b.gep(data, [start]), kind.as_pointer())


def _index(i):
    return WORD(i) if isinstance(i, int) else i


def _load(b, pointer, i):
    return b.load(b.gep(pointer, [_index(i)]), align=ALIGN)


def _store(b, value, pointer, i):
    b.store(value, b.gep(pointer, [_index(i)]), align=ALIGN)


def _splat(b, word):
    """Return a plane of eight times the same word."""
    one = b.insert_element(ir.Constant(PLANE, ir.Undefined), word, ir.IntType(32)(0))
    return b.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8))


def _spread(b, byte):
    """Return a plane whose word l is bit l of a byte, 64 times."""
    return b.sext(b.bitcast(byte, LANE), PLANE)


def _choose(b, condition, one, other):
    return b.or_(b.and_(condition, one), b.and_(b.not_(condition), other))


def _majority(context, b, x, y, z):
    """Return the carry of three bits: 1 where at least two are."""
    if "+avx512f" not in context.codegen().magic_tuple()[2]:
        return _choose(b, b.xor(x, y), z, x)
    kind = ir.FunctionType(PLANE, [PLANE, PLANE, PLANE, ir.IntType(32)])
    ternary = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.pternlog.q.512")
    return b.call(ternary, [x, y, z, ir.IntType(32)(0xE8)])


@intrinsic
def advance(typing, noise, at, again):
    """Advance 8 streams of 64 chains by one word: xorshift64 on the 64 planes at ``noise[at:]``.

    A shift of the word is another plane's place, so only the exclusive ors remain. Planes fall from
    the highest to the lowest, each stored when nothing below needs its old value. `again` equals
    `at`; a compiler that knew would keep more planes than there are registers.
    """
    signature = types.void(noise, at, again)

    def generate(context, b, signature, args):
        source = _pointer(context, b, signature, args, 0, args[1])
        target = _pointer(context, b, signature, args, 0, args[2])
        left, right, left_again = XORSHIFT
        first, second = {}, {}

        def shifted_left(i):
            if i not in first:
                first[i] = _load(b, source, i)
                if i >= left:
                    first[i] = b.xor(first[i], _load(b, source, i - left))
            return first[i]

        def shifted_right(i):
            if i not in second:
                second[i] = shifted_left(i)
                if i + right < WORD_BITS:
                    second[i] = b.xor(second[i], shifted_left(i + right))
            return second[i]

        for i in reversed(range(WORD_BITS)):
            word = shifted_right(i)
            if i >= left_again:
                word = b.xor(word, shifted_right(i - left_again))
            _store(b, word, target, i)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def field(typing, words, places, flips, present, first, at, start, start_at, carry, out, out_at,
          planes):
    """Sum the inputs of 8 units into ``out[out_at:]``: planes of the level, then of the sign.

    The sum starts from the constants in the bytes at `start` and adds, for every bit q of a weight,
    the inputs ``first[at + q]`` to ``first[at + q + 1] - 1``, a multiple of four: the words at
    their places, inverted where `flips` says and left out where `present` does not. It is a two's
    complement number of ``len(planes)`` bits; a negative one is inverted, and made the magnitude
    by adding 1 if `carry` is -1 rather than 0.
    """
    signature = types.void(words, places, flips, present, first, at, start, start_at, carry, out,
                           out_at, planes)
    count = planes.count

    def generate(context, b, signature, args):
        words_at, places_at, flips_at, present_at = (
            context.make_array(signature.args[k])(context, b, args[k]).data for k in range(4)
        )
        ends = _pointer(context, b, signature, args, 4, args[5], WORD)
        starts = _pointer(context, b, signature, args, 6, args[7], BYTE)
        target = _pointer(context, b, signature, args, 9, args[10])
        total = [cgutils.alloca_once(b, PLANE) for _ in range(count)]
        for q in range(count):
            b.store(_spread(b, b.load(b.gep(starts, [WORD(q)]))), total[q])

        def read(i):
            place = b.sext(b.load(b.gep(places_at, [i])), WORD)
            word = b.load(b.bitcast(b.gep(words_at, [place]), PLANE.as_pointer()), align=ALIGN)
            flipped = b.xor(word, _spread(b, b.load(b.gep(flips_at, [i]))))
            return b.and_(flipped, _spread(b, b.load(b.gep(present_at, [i]))))

        def add(q, x, y):
            """Add two planes to plane q of the total; return the carry."""
            a = b.load(total[q])
            b.store(b.xor(b.xor(a, x), y), total[q])
            return _majority(context, b, a, x, y)

        for q in range(count):
            low, high = (b.load(b.gep(ends, [WORD(k)])) for k in (q, q + 1))
            with cgutils.for_range_slice(b, low, high, WORD(4), inc=True) as (e, _):
                inputs = [read(b.add(e, WORD(k))) for k in range(4)]
                carries = [add(q, *pair) for pair in (inputs[:2], inputs[2:])]
                carried = add(q + 1, *carries) if q + 1 < count else None
                for k in range(q + 2, count):
                    a = b.load(total[k])
                    b.store(b.xor(a, carried), total[k])
                    carried = b.and_(a, carried)
        sign = b.load(total[count - 1])
        carried = b.and_(sign, _splat(b, args[8]))
        for q in range(count - 1):
            a = b.xor(b.load(total[q]), sign)
            _store(b, b.xor(a, carried), target, q)
            carried = b.and_(a, carried)
        _store(b, sign, target, count - 1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def decide(typing, noise, at, numbers, numbers_at, leaves, leaves_at, functions, words, words_at,
           planes):
    """``m = sign ^ ((w ^ sign) < U[level])`` for 8 units, against the threshold of every level.

    Bit b of U is a function of the level's bits: a tree of choices by all bits but the lowest two,
    whose leaves ``leaves[leaves_at:]`` name one of the 16 functions of those two. Bits rise, so
    that ``below = majority(~w_b, U_b, below)`` compares.
    """
    signature = types.void(noise, at, numbers, numbers_at, leaves, leaves_at, functions, words,
                           words_at, planes)
    count = planes.count

    def generate(context, b, signature, args):
        w = _pointer(context, b, signature, args, 0, args[1])
        n = _pointer(context, b, signature, args, 2, args[3])
        names = _pointer(context, b, signature, args, 4, args[5], BYTE)
        f = _pointer(context, b, signature, args, 6, WORD(0))
        target = _pointer(context, b, signature, args, 7, args[8])
        *level, sign = (_load(b, n, q) for q in range(count))
        corners = [b.and_(high, low) for high in (b.not_(level[1]), level[1])
                   for low in (b.not_(level[0]), level[0])]
        for function in range(16):
            value = NOTHING
            for k in range(4):
                if function >> k & 1:
                    value = b.or_(value, corners[k])
            _store(b, value, f, function)
        below = cgutils.alloca_once_value(b, NOTHING)
        last = WORD(1 << (count - 3))

        with cgutils.for_range_slice(b, WORD(0), WORD(FIELD_BITS), WORD(1), inc=True) as (bit, _):
            row = b.gep(names, [b.mul(bit, last)])

            def choose(leaf, q):
                if q < 2:
                    name = b.load(b.gep(row, [WORD(leaf)]))
                    return _load(b, f, b.zext(name, WORD))
                half = 1 << (q - 2)
                return _choose(b, level[q], choose(leaf + half, q - 1), choose(leaf, q - 1))

            threshold = choose(0, count - 2)
            inverse = b.xor(b.not_(_load(b, w, bit)), sign)
            b.store(_majority(context, b, inverse, threshold, b.load(below)), below)
        _store(b, b.xor(b.load(below), sign), target, 0)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def decide_three_levels(typing, noise, at, numbers, numbers_at, table, table_at, words, words_at,
                        step, planes):
    """`decide` for four rows of 8 units, `step` words apart, with levels 0, 1 and 2 only.

    U[0] is one half, so that its compare is the top bit; `table` holds for every bit the thresholds
    of levels 1 and 2, all ones or all zeros.
    """
    signature = types.void(noise, at, numbers, numbers_at, table, table_at, words, words_at, step,
                           planes)
    count = planes.count

    def generate(context, b, signature, args):
        w = _pointer(context, b, signature, args, 0, args[1])
        n = _pointer(context, b, signature, args, 2, args[3])
        u = _pointer(context, b, signature, args, 4, args[5], WORD)
        signs = [_load(b, n, (r + 1) * count - 1) for r in range(FIELDS)]
        below = [[cgutils.alloca_once_value(b, NOTHING) for _ in range(2)] for _ in range(FIELDS)]
        with cgutils.for_range_slice(b, WORD(0), WORD(FIELD_BITS), WORD(1), inc=True) as (bit, _):
            row = b.gep(u, [b.mul(bit, WORD(2))])
            thresholds = [_splat(b, b.load(b.gep(row, [WORD(t)]))) for t in range(2)]
            for r in range(FIELDS):
                noise_bit = _load(b, w, b.add(bit, WORD(FIELD_BITS * r)))
                inverse = b.xor(b.not_(noise_bit), signs[r])
                for threshold, under in zip(thresholds, below[r]):
                    b.store(_majority(context, b, inverse, threshold, b.load(under)), under)
        for r in range(FIELDS):
            ones, twos = (_load(b, n, r * count + q) for q in range(2))
            top = _load(b, w, FIELD_BITS * (r + 1) - 1)
            up = _choose(b, ones, b.load(below[r][0]), b.xor(b.not_(top), signs[r]))
            up = _choose(b, twos, b.load(below[r][1]), up)
            place = b.add(args[7], b.mul(args[8], WORD(r)))
            _store(b, b.xor(up, signs[r]), _pointer(context, b, signature, args, 6, place), 0)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def tally(typing, history, at, stride, counters, counters_at, counters_stride, planes):
    """Add seven planes, `stride` words apart, to a number of `planes` >= 3 planes."""
    signature = types.void(history, at, stride, counters, counters_at, counters_stride, planes)

    def generate(context, b, signature, args):
        source = _pointer(context, b, signature, args, 0, args[1], WORD)
        target = _pointer(context, b, signature, args, 3, args[4], WORD)

        def place(pointer, stride, k):
            word = b.gep(pointer, [b.mul(stride, _index(k))])
            return b.bitcast(word, PLANE.as_pointer())

        def add(x, y, z):
            return b.xor(b.xor(x, y), z), _majority(context, b, x, y, z)

        x = [b.load(place(source, args[2], k), align=ALIGN) for k in range(7)]
        ones, first = add(x[0], x[1], x[2])
        ones, second = add(ones, x[3], x[4])
        ones, third = add(ones, x[5], x[6])
        twos, fours = add(first, second, third)
        carry = cgutils.alloca_once_value(b, NOTHING)
        for q, digit in enumerate((ones, twos, fours)):
            counter = place(target, args[5], q)
            total, carried = add(b.load(counter, align=ALIGN), digit, b.load(carry))
            b.store(total, counter, align=ALIGN)
            b.store(carried, carry)
        with cgutils.for_range_slice(b, WORD(3), args[6], WORD(1), inc=True) as (q, _):
            counter = place(target, args[5], q)
            total, carried = b.load(counter, align=ALIGN), b.load(carry)
            b.store(b.xor(total, carried), counter, align=ALIGN)
            b.store(b.and_(total, carried), carry)
        return context.get_dummy_value()

    return signature, generate

"""Vector code of the bit-sliced kernels: planes of 512 bits, in LLVM's own vectors.

A plane is eight 64-bit words in a row. In a narrow plane bit c of word l belongs to unit i + l of
chain c; a wide plane is all of unit i, and its word l of chains 64 l to 64 l + 63. A number per
unit and chain is a list of planes, bit b of the number in plane b, so that one logical operation
works on 512 of them at once. Nothing is particular to a machine but the functions of three bits
that AVX-512 computes in one instruction.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.spec.noise import FIELD_BITS, FIELDS, XORSHIFT

__all__ = ["BYTE", "NOTHING", "PLANE", "WORD", "address", "advance", "advance_quarters", "choose",
           "has_ternary", "load", "majority", "splat", "spread", "store", "tally", "ternary"]

WORD = ir.IntType(64)
PLANE = ir.VectorType(WORD, 8)
BYTE = ir.IntType(8)
LANE = ir.VectorType(ir.IntType(1), 8)
NOTHING = ir.Constant(PLANE, [0] * 8)
WORD_BITS = FIELDS * FIELD_BITS
#: Planes start at any word.
ALIGN = 8
MAJORITY = 0xE8


def address(context, b, signature, args, number, start, kind=PLANE):
    """Return the address of element `start` of an array argument."""
    data = context.make_array(signature.args[number])(context, b, args[number]).data
    return b.bitcast(b.gep(data, [start]), kind.as_pointer())


def _index(i):
    return WORD(i) if isinstance(i, int) else i


def load(b, pointer, i):
    """Return plane i of those at a pointer."""
    return b.load(b.gep(pointer, [_index(i)]), align=ALIGN)


def store(b, value, pointer, i):
    """Store plane i of those at a pointer."""
    b.store(value, b.gep(pointer, [_index(i)]), align=ALIGN)


def splat(b, word):
    """Return a plane of eight times the same word."""
    one = b.insert_element(ir.Constant(PLANE, ir.Undefined), word, ir.IntType(32)(0))
    return b.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8))


def spread(b, byte):
    """Return a plane whose word l is bit l of a byte, 64 times."""
    return b.sext(b.bitcast(byte, LANE), PLANE)


def choose(b, condition, one, other):
    """Return one plane's bits where a condition holds, else the other's."""
    return b.or_(b.and_(condition, one), b.and_(b.not_(condition), other))


def has_ternary(context):
    """Return whether the machine computes any function of three bits at once."""
    return "+avx512f" in context.codegen().magic_tuple()[2]


def ternary(context, b, function, x, y, z):
    """Return a function of three bits: bit 4 x + 2 y + z of its number."""
    kind = ir.FunctionType(PLANE, [PLANE, PLANE, PLANE, ir.IntType(32)])
    instruction = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.avx512.pternlog.q.512")
    return b.call(instruction, [x, y, z, ir.IntType(32)(function)])


def majority(context, b, x, y, z):
    """Return the carry of three bits: 1 where at least two are."""
    if has_ternary(context):
        return ternary(context, b, MAJORITY, x, y, z)
    return choose(b, b.xor(x, y), z, x)


def _waits(stride):
    """Return how many steps one plane waits for another, by shift, if `stride` is `STRIDE`."""
    inverse = pow(stride, -1, WORD_BITS)
    return [min(shift * inverse % WORD_BITS, -shift * inverse % WORD_BITS) for shift in XORSHIFT]


#: Plane ``STRIDE t mod 64`` is advanced at step t. The planes that are combined lie 13, 7 and 17
#: apart but 9, 5 and 3 steps, the fewest that there are, so that they can wait in registers.
STRIDE = min(range(1, WORD_BITS, 2), key=lambda stride: sum(_waits(stride)))
PATIENCE = max(_waits(STRIDE))


def advance_quarters(b, source, target):
    """Advance 64 planes by one word of xorshift64, and yield after every sixteenth.

    A shift of the word is another plane's place, so only the exclusive ors remain. What has waited
    longer than `PATIENCE` is made again: source and target are different planes.
    """
    left, right, left_again = XORSHIFT

    def kept(make):
        # By plane, the step at which it was made and what was made.
        values = {}

        def made(i):
            if i not in values or step - values[i][0] > PATIENCE:
                values[i] = step, make(i)
            return values[i][1]

        return made

    word = kept(lambda i: load(b, source, i))
    shifted_left = kept(lambda i: b.xor(word(i), word(i - left)) if i >= left else word(i))
    shifted_right = kept(lambda i: b.xor(shifted_left(i), shifted_left(i + right))
                         if i + right < WORD_BITS else shifted_left(i))
    for step in range(WORD_BITS):
        i = STRIDE * step % WORD_BITS
        advanced = shifted_right(i)
        if i >= left_again:
            advanced = b.xor(advanced, shifted_right(i - left_again))
        store(b, advanced, target, i)
        if step % FIELD_BITS == FIELD_BITS - 1:
            yield


@intrinsic
def advance(typing, noise, at, to):
    """Advance the 64 planes at ``noise[at:]`` by one word, and put them to ``noise[to:]``."""
    signature = types.void(noise, at, to)

    def generate(context, b, signature, args):
        source, target = (address(context, b, signature, args, 0, args[k]) for k in (1, 2))
        for _ in advance_quarters(b, source, target):
            pass
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def tally(typing, history, at, stride, counters, counters_at, counters_stride, planes):
    """Add seven planes, `stride` words apart, to a number of `planes` >= 3 planes."""
    signature = types.void(history, at, stride, counters, counters_at, counters_stride, planes)

    def generate(context, b, signature, args):
        source = address(context, b, signature, args, 0, args[1], WORD)
        target = address(context, b, signature, args, 3, args[4], WORD)

        def place(pointer, stride, k):
            word = b.gep(pointer, [b.mul(stride, _index(k))])
            return b.bitcast(word, PLANE.as_pointer())

        def add(x, y, z):
            return b.xor(b.xor(x, y), z), majority(context, b, x, y, z)

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

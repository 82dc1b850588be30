"""Vector code of the kernel of dense p-bits in groups: sums looked up, 64 chains side by side.

Five spins of a chain are a number below 32, which picks one of the 32 sums that their weights can
have. AVX-512 picks for 32 chains in one instruction; elsewhere it is done lane by lane, so that the
bits are the same and only the speed is not.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from pbitstream.emulator.chain_words import CHAINS
from pbitstream.spec.noise import FIELDS, XORSHIFT

__all__ = ["SPINS", "SUMS", "UNITS", "add_sums", "decide", "find_indices", "picks_fast"]

#: Spins of a number, and the sums that it picks from: as many as a vector has lanes.
SPINS = 5
SUMS = 1 << SPINS
#: Units whose fields are summed side by side: their sums stay in registers.
UNITS = 4

HALF, WIDE, WORD = (ir.IntType(bits) for bits in (16, 32, 64))
HALVES = ir.VectorType(HALF, SUMS)
#: Vectors of 64 chains, and the lanes of those of fields and of noise.
PARTS = CHAINS // SUMS
FIELD = ir.VectorType(WIDE, 16)
NOISE = ir.VectorType(WORD, 8)
LINE = 64


def picks_fast() -> bool:
    """Return whether the processor that is compiled for picks for 32 chains at once."""
    features: str = cpu_target.target_context.codegen().magic_tuple()[-1]
    return "+avx512bw" in features.split(",")


def _data(context, b, signature, args, number, start):
    """Return the address of element `start` of an array argument."""
    data = context.make_array(signature.args[number])(context, b, args[number]).data
    return b.gep(data, [start])


def _vector(b, pointer, kind, number):
    """Return the address of vector `number` from an address on."""
    return b.gep(b.bitcast(pointer, kind.as_pointer()), [WORD(number)])


def _splat(b, value, kind):
    """Return a vector of the same value, truncated to its lanes."""
    if value.type.width > kind.element.width:
        value = b.trunc(value, kind.element)
    one = b.insert_element(ir.Constant(kind, ir.Undefined), value, WIDE(0))
    return b.shuffle_vector(one, one, _lanes([0] * kind.count))


def _lanes(numbers):
    return ir.Constant(ir.VectorType(WIDE, len(numbers)), list(numbers))


def _pick(b, sums, numbers):
    """Return ``sums[numbers]``, numbers below 32."""
    if picks_fast():
        kind = ir.FunctionType(HALVES, [HALVES, HALVES])
        name = "llvm.x86.avx512.permvar.hi.512"
        return b.call(cgutils.get_or_insert_function(b.module, kind, name), [sums, numbers])
    picked = ir.Constant(HALVES, ir.Undefined)
    for lane in range(SUMS):
        number = b.extract_element(numbers, WIDE(lane))
        picked = b.insert_element(picked, b.extract_element(sums, number), WIDE(lane))
    return picked


@intrinsic
def add_sums(typing, units, low, unit, numbers, groups, first, end, sums, place, g):
    """``g[t] = low[unit + t] + sum_e sums[e, t, numbers[groups[e]]]``, first <= e < end.

    Of `units` units t, four or one, and 64 chains; sums[first] is at `place`, numbers are
    [group][64], g is [t][64], all uint16, and sums wrap.
    """
    signature = types.void(units, low, unit, numbers, groups, first, end, sums, place, g)

    def generate(context, b, signature, args):
        def at(number, start):
            return _data(context, b, signature, args, number, start)

        def side_by_side(count):
            totals = []
            for t in range(count):
                start = _splat(b, b.load(at(1, b.add(args[2], WORD(t)))), HALVES)
                totals.append([cgutils.alloca_once_value(b, start) for _ in range(PARTS)])
            entry = cgutils.alloca_once_value(b, _vector(b, at(7, args[8]), HALVES, 0))
            with cgutils.for_range_slice(b, args[5], args[6], WORD(1), inc=True) as (e, _):
                group = b.zext(b.load(at(4, e)), WORD)
                spins = at(3, b.mul(group, WORD(CHAINS)))
                spins = [b.load(_vector(b, spins, HALVES, n), align=LINE) for n in range(PARTS)]
                tables = b.load(entry)
                for t in range(count):
                    table = b.load(b.gep(tables, [WORD(t)]), align=LINE)
                    for total, part in zip(totals[t], spins):
                        b.store(b.add(b.load(total), _pick(b, table, part)), total)
                b.store(b.gep(tables, [WORD(count)]), entry)
            out = at(9, WORD(0))
            for t, parts in enumerate(totals):
                for n, total in enumerate(parts):
                    b.store(b.load(total), _vector(b, out, HALVES, PARTS * t + n), align=LINE)

        with b.if_else(b.icmp_signed("==", args[0], WORD(UNITS))) as (several, alone):
            with several:
                side_by_side(UNITS)
            with alone:
                side_by_side(1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def find_indices(typing, g, up, start, least, most, beta, half, step, index):
    """``index = (beta y + half - (y < 0)) >> step`` of 64 chains, y = (g << up) + start.

    y is held to least..most, between which the product fits int32.
    """
    signature = types.void(g, up, start, least, most, beta, half, step, index)

    def generate(context, b, signature, args):
        zero = WORD(0)
        source, out = (_data(context, b, signature, args, n, zero) for n in (0, 8))
        up, start, least, most, beta, half, step = (_splat(b, args[n], FIELD) for n in range(1, 8))
        for n in range(CHAINS // FIELD.count):
            g = b.load(_vector(b, source, ir.VectorType(HALF, FIELD.count), n), align=LINE // 2)
            y = b.add(b.shl(b.zext(g, FIELD), up), start)
            y = b.select(b.icmp_signed("<", y, least), least, y)
            y = b.select(b.icmp_signed("<", most, y), most, y)
            negative = b.ashr(y, ir.Constant(FIELD, [31] * FIELD.count))
            j = b.ashr(b.add(b.mul(y, beta), b.add(half, negative)), step)
            b.store(j, _vector(b, out, FIELD, n), align=LINE)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def decide(typing, noise, draws, shift, thresholds, numbers, bit, words, place):
    """Turn a unit up in the chains whose field of noise, at `shift`, is below the threshold.

    Draw the next words first if `draws`. The spins go into ``words[place]``, and as `bit` into the
    numbers of the unit's group.
    """
    signature = types.void(noise, draws, shift, thresholds, numbers, bit, words, place)

    def generate(context, b, signature, args):
        zero = WORD(0)
        source, limits, own = (_data(context, b, signature, args, n, zero) for n in (0, 3, 4))
        target = _data(context, b, signature, args, 6, args[7])
        shift, bit = _splat(b, args[2], NOISE), _splat(b, args[5], HALVES)

        def advance(pointer):
            word = b.load(pointer, align=LINE)
            for bits, move in zip(XORSHIFT, (b.shl, b.lshr, b.shl)):
                word = b.xor(word, move(word, ir.Constant(NOISE, [bits] * NOISE.count)))
            b.store(word, pointer, align=LINE)

        def fields(first, count):
            """Return the fields of `count` vectors of words in one."""
            if count == 1:
                word = b.load(_vector(b, source, NOISE, first), align=LINE)
                return b.bitcast(b.lshr(word, shift), HALVES)
            parts = fields(first, count // 2), fields(first + count // 2, count // 2)
            if count == 2:
                return b.shuffle_vector(*parts, _lanes(range(0, 2 * SUMS, FIELDS)))
            return b.shuffle_vector(*parts, _lanes(range(SUMS)))

        with b.if_then(b.icmp_signed("!=", args[1], zero)):
            for n in range(CHAINS // NOISE.count):
                advance(_vector(b, source, NOISE, n))
        each = CHAINS // NOISE.count // PARTS
        for n in range(PARTS):
            limit = b.load(_vector(b, limits, HALVES, n), align=LINE)
            up = b.icmp_unsigned("<", fields(each * n, each), limit)
            b.store(b.bitcast(up, WIDE), _vector(b, target, WIDE, n))
            pointer = _vector(b, own, HALVES, n)
            others = b.and_(b.load(pointer, align=LINE), b.not_(bit))
            turned = b.select(up, bit, ir.Constant(HALVES, [0] * SUMS))
            b.store(b.or_(others, turned), pointer, align=LINE)
        return context.get_dummy_value()

    return signature, generate

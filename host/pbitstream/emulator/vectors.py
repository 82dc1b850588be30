"""The vector code of the compiled kernels: what numba's plain loops do not become by themselves.

Only `multiply` says how many lanes it takes, in LLVM's portable vectors. The rest are words that
numba lacks: it computes in int64, and LLVM takes that back to int32, and so to vectors twice as
wide, for everything but shifts.
"""

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["SHARING", "address", "left", "multiply", "right", "view"]

#: Chains that share a tile once it is loaded: as many sums as leave room in the vector registers,
#: of which AVX-512 has 32 and others have the room of 8.
SHARING = 8 if get_host_cpu_features().get("avx512f") else 4


@intrinsic
def view(typing, array, start, length):
    """``array[start : start + length]``, unchecked; far cheaper to compile than a slice."""
    signature = array(array, start, length)

    def generate(context, b, signature, args):
        source = context.make_array(array)(context, b, args[0])
        out = context.make_array(array)(context, b)
        context.populate_array(
            out, data=b.gep(source.data, [args[1]]), shape=cgutils.pack_array(b, [args[2]]),
            strides=source.strides, itemsize=source.itemsize, meminfo=None,
        )
        return out._getvalue()

    return signature, generate


@intrinsic
def right(typing, value, bits):
    """``value >> bits`` of int32, 0 <= bits < 32."""
    signature = types.int32(types.int32, types.int32)
    return signature, lambda context, b, signature, args: b.ashr(*args)


@intrinsic
def left(typing, value, bits):
    """``value << bits`` of int32, 0 <= bits < 32."""
    signature = types.int32(types.int32, types.int32)
    return signature, lambda context, b, signature, args: b.shl(*args)


@intrinsic
def address(typing, array, at):
    """Return where ``array[at]`` lies; a function of addresses is called with far fewer words."""
    signature = types.int64(array, at)

    def generate(context, b, signature, args):
        data = context.make_array(array)(context, b, args[0]).data
        return b.ptrtoint(b.gep(data, [args[1]]), ir.IntType(64))

    return signature, generate


@intrinsic
def multiply(typing, z, z_step, add, m, rows, v, v_step, n, chains):
    """Do the work of `pbitstream.emulator.kernels.project`.

    Sixteen rows times one pair of inputs at a time: on x86 the multiply-and-add of even and odd
    lanes becomes vpmaddwd or vpdpwssd, three times as fast as what plain loops are compiled to.
    `SHARING` chains, or four partial sums of one, hide its latency.
    """
    signature = types.void(z, z_step, add, m, rows, v, v_step, n, chains)

    def generate(context, b, signature, args):
        halves, words, wide = (
            ir.VectorType(ir.IntType(bits), count) for bits, count in ((16, 32), (32, 16), (32, 32))
        )
        z, z_step, add, m, rows, v, v_step, n, chains = args
        index, zero = n.type, ir.Constant(words, None)

        def row_of(start, chain, step, size, kind):
            return b.inttoptr(b.add(start, b.mul(index(size), b.mul(chain, step))),
                              kind.as_pointer())

        def lanes(vector, picks):
            return b.shuffle_vector(vector, vector, ir.Constant(words, list(picks)))

        def accumulate(total, tile, pair):
            first = ir.Constant(words, ir.Undefined)
            spread = lanes(b.insert_element(first, pair, ir.IntType(32)(0)), [0] * 16)
            product = b.mul(b.sext(tile, wide), b.sext(b.bitcast(spread, halves), wide))
            even, odd = lanes(product, range(0, 32, 2)), lanes(product, range(1, 32, 2))
            b.store(b.add(b.load(total), b.add(even, odd)), total)

        def sixteen(row, chain, count, parts):
            """Sixteen rows of `count` chains, the sum of each in so many parts."""
            own = [b.add(chain, index(c)) for c in range(count)]
            to = [b.gep(row_of(z, c, z_step, 4, words.element), [row]) for c in own]
            to = [b.bitcast(pointer, words.as_pointer()) for pointer in to]
            pairs = [row_of(v, c, v_step, 2, words.element) for c in own]
            tile = row_of(m, row, n, 2, halves)
            sums = [[cgutils.alloca_once(b, words) for _ in range(parts)] for _ in own]
            keep = b.icmp_signed("!=", add, index(0))
            for pointer, (total, *others) in zip(to, sums):
                b.store(b.select(keep, b.load(pointer, align=4), zero), total)
                for other in others:
                    b.store(zero, other)
            last = b.ashr(n, index(1))
            with cgutils.for_range_slice(b, index(0), last, index(parts), inc=True) as (p, _):
                for part in range(parts):
                    q = b.add(p, index(part))
                    weights = b.load(b.gep(tile, [q]), align=2)
                    for pointer, totals in zip(pairs, sums):
                        accumulate(totals[part], weights, b.load(b.gep(pointer, [q]), align=2))
            for pointer, totals in zip(to, sums):
                whole = b.load(totals[0])
                for other in totals[1:]:
                    whole = b.add(whole, b.load(other))
                b.store(whole, pointer, align=4)

        shared = b.and_(chains, index(-SHARING))
        with cgutils.for_range_slice(b, index(0), rows, index(16), inc=True) as (row, _):
            with cgutils.for_range_slice(b, index(0), shared, index(SHARING), inc=True) as (c, _):
                sixteen(row, c, SHARING, 1)
            with cgutils.for_range_slice(b, shared, chains, index(1), inc=True) as (c, _):
                sixteen(row, c, 1, 4)
        return context.get_dummy_value()

    return signature, generate

"""The vector code of the compiled kernels: what numba's plain loops do not become by themselves.

`expand`, `project` and `move` work on sixteen units at a time, in LLVM's portable vectors. The
rest are words that numba lacks: it computes in int64, and LLVM takes that back to int32, and so to
vectors twice as wide, for everything but shifts.

Sixteen rows of a matrix times one pair of inputs are one step of a product: on x86 the
multiply-and-add of even and odd lanes becomes vpmaddwd or vpdpwssd, three times as fast as what
plain loops are compiled to. `SHARING` chains, or four partial sums of one, hide its latency; and
what is made of sixteen sums is made before they leave the registers.
"""

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.spec.words import EXPOSED, K2, K4, STATE, X2

__all__ = ["SHARING", "address", "expand", "move", "project", "right", "view"]

#: Chains that share a tile once it is loaded: as many sums as leave room in the vector registers,
#: of which AVX-512 has 32 and others have the room of 8.
SHARING = 8 if get_host_cpu_features().get("avx512f") else 4
LANES = 16
#: Roundings of the exposed state, of X squared and of k4 x2, and what is added before them.
EXPOSE = STATE.fraction - EXPOSED.fraction
SQUARE = 2 * EXPOSED.fraction - X2.fraction
QUARTIC = K4.fraction + X2.fraction - K2.fraction
EXPOSE_HALF, SQUARE_HALF, QUARTIC_HALF = (1 << (n - 1) for n in (EXPOSE, SQUARE, QUARTIC))
#: kappa x24 is split into kappa (x24 >> 8) and kappa (x24 & 255), which fit int32.
SPLIT = 8
LOW_PART = (1 << SPLIT) - 1
#: A field this large, before the step, drives any state to its rail.
RAILED = 1 << 30
WORDS, HALVES, PAIRS, WIDE = (
    ir.VectorType(ir.IntType(bits), lanes)
    for bits, lanes in ((32, LANES), (16, LANES), (16, 2 * LANES), (32, 2 * LANES))
)


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
def address(typing, array, at):
    """Return where ``array[at]`` lies; a function of addresses is called with far fewer words."""
    signature = types.int64(array, at)

    def generate(context, b, signature, args):
        data = context.make_array(array)(context, b, args[0]).data
        return b.ptrtoint(b.gep(data, [args[1]]), ir.IntType(64))

    return signature, generate


class Sixteen:
    """Sixteen int32 words in registers, with the operators of plain integers."""

    def __init__(self, b, value):
        self.b, self.value = b, value

    @classmethod
    def spread(cls, b, word):
        """Return sixteen times an int32 word of the program, or a constant of ours."""
        if isinstance(word, int):
            return cls(b, ir.Constant(WORDS, [word] * LANES))
        first = b.insert_element(ir.Constant(WORDS, ir.Undefined), word, ir.IntType(32)(0))
        return cls(b, b.shuffle_vector(first, first, ir.Constant(WORDS, [0] * LANES)))

    @classmethod
    def load(cls, b, place, kind=WORDS):
        """Return what stands at an address, as int32 (`WORDS`) or int16 (`HALVES`)."""
        size = kind.element.width // 8
        value = b.load(b.inttoptr(place, kind.as_pointer()), align=size)
        return cls(b, value if kind is WORDS else b.sext(value, WORDS))

    def store(self, place, kind=WORDS):
        """Write the words to an address."""
        value = self.value if kind is WORDS else self.b.trunc(self.value, kind)
        self.b.store(value, self.b.inttoptr(place, kind.as_pointer()),
                     align=kind.element.width // 8)

    def _with(self, operation, other):
        other = other if isinstance(other, Sixteen) else self.spread(self.b, other)
        return Sixteen(self.b, operation(self.value, other.value))

    def __add__(self, other):
        return self._with(self.b.add, other)

    def __sub__(self, other):
        return self._with(self.b.sub, other)

    def __mul__(self, other):
        return self._with(self.b.mul, other)

    def __and__(self, other):
        return self._with(self.b.and_, other)

    def __lshift__(self, other):
        return self._with(self.b.shl, other)

    def __rshift__(self, other):
        return self._with(self.b.ashr, other)

    def clip(self, low, high):
        """Return the words held to between two limits; None is no limit."""
        b, value = self.b, self.value
        for sign, limit in ((">", high), ("<", low)):
            if limit is not None:
                end = self.spread(b, limit).value
                value = b.select(b.icmp_signed(sign, value, end), end, value)
        return Sixteen(b, value)

    def differ(self, other):
        """Return, as int64, how many words are not those of another."""
        bits = self.b.bitcast(self.b.icmp_signed("!=", self.value, other.value), ir.IntType(LANES))
        return self.b.zext(self.b.ctpop(bits), ir.IntType(64))


def multiply(b, m, rows, v, v_step, n, chains, start, finish):
    """Form ``start(row, c) + M v_c[:n]`` for sixteen rows at a time, and `finish` it.

    Of all chains c, whose v_c lie `v_step` words apart; `start` and `finish` are given row and
    chain. `rows` is rounded up to 16s, n is a multiple of 8; m and v are addresses.
    """
    index, zero = n.type, ir.Constant(WORDS, None)

    def lanes(vector, picks):
        return b.shuffle_vector(vector, vector, ir.Constant(WORDS, list(picks)))

    def accumulate(total, tile, pair):
        spread = b.bitcast(Sixteen.spread(b, pair).value, PAIRS)
        product = b.mul(b.sext(tile, WIDE), b.sext(spread, WIDE))
        even, odd = lanes(product, range(0, 32, 2)), lanes(product, range(1, 32, 2))
        b.store(b.add(b.load(total), b.add(even, odd)), total)

    def sixteen(row, chain, count, parts):
        """Do sixteen rows of `count` chains, the sum of each in so many parts."""
        own = [b.add(chain, index(c)) for c in range(count)]
        pairs = [b.inttoptr(b.add(v, b.shl(b.mul(c, v_step), index(1))),
                            WORDS.element.as_pointer()) for c in own]
        tile = b.inttoptr(b.add(m, b.shl(b.mul(row, n), index(1))), PAIRS.as_pointer())
        sums = [[cgutils.alloca_once(b, WORDS) for _ in range(parts)] for _ in own]
        for c, (total, *others) in zip(own, sums):
            b.store(start(row, c).value, total)
            for other in others:
                b.store(zero, other)
        last = b.ashr(n, index(1))
        with cgutils.for_range_slice(b, index(0), last, index(parts), inc=True) as (p, _):
            for part in range(parts):
                q = b.add(p, index(part))
                weights = b.load(b.gep(tile, [q]), align=2)
                for pointer, totals in zip(pairs, sums):
                    accumulate(totals[part], weights, b.load(b.gep(pointer, [q]), align=2))
        for c, totals in zip(own, sums):
            whole = b.load(totals[0])
            for other in totals[1:]:
                whole = b.add(whole, b.load(other))
            finish(row, c, Sixteen(b, whole))

    shared = b.and_(chains, index(-SHARING))
    with cgutils.for_range_slice(b, index(0), rows, index(LANES), inc=True) as (row, _):
        with cgutils.for_range_slice(b, index(0), shared, index(SHARING), inc=True) as (c, _):
            sixteen(row, c, SHARING, 1)
        with cgutils.for_range_slice(b, shared, chains, index(1), inc=True) as (c, _):
            sixteen(row, c, 1, 4)


def count(b, clips, at, *numbers):
    """Add numbers to the words from ``clips[at]`` on, of int64 words at an address."""
    for n, number in enumerate(numbers):
        pointer = b.add(clips, b.shl(b.add(at, at.type(n)), at.type(3)))
        pointer = b.inttoptr(pointer, at.type.as_pointer())
        b.store(b.add(b.load(pointer), number), pointer)


@intrinsic
def expand(typing, f, f_step, m, rows, u, u_step, n, chains):
    """``f_c[:rows] += M u_c[:n]`` of all chains c, by addresses; see `multiply`."""
    signature = types.void(f, f_step, m, rows, u, u_step, n, chains)

    def generate(context, b, signature, args):
        f, f_step, m, rows, u, u_step, n, chains = args

        def place(row, chain):
            return b.add(f, b.shl(b.add(b.mul(chain, f_step), row), f.type(2)))

        multiply(b, m, rows, u, u_step, n, chains,
                 lambda row, chain: Sixteen.load(b, place(row, chain)),
                 lambda row, chain, total: total.store(place(row, chain)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def project(typing, u, u_step, m, rows, x, x_step, n, chains, gains, places, r1, r2, clips,
            clips_step):
    """``u_c[:rows] = sat16(rhu(S_c sat16(rhu(M x_c[:n], r1)), r2))`` of all chains c (numerics 2).

    By addresses; see `multiply`. S_c begins `places[c]` words behind `gains`. Clips of z and of u
    are added to the two words of a chain at `clips`.
    """
    signature = types.void(u, u_step, m, rows, x, x_step, n, chains, gains, places, r1, r2, clips,
                           clips_step)

    def generate(context, b, signature, args):
        (u, u_step, m, rows, x, x_step, n, chains, gains, places, r1, r2, clips,
         clips_step) = args
        index, word = n.type, ir.IntType(32)
        half1, half2 = (b.trunc(b.ashr(b.shl(index(1), r), index(1)), word) for r in (r1, r2))
        r1, r2 = b.trunc(r1, word), b.trunc(r2, word)
        low, high = EXPOSED.lowest, EXPOSED.highest

        def finish(row, chain, total):
            own = b.load(b.inttoptr(b.add(places, b.shl(chain, index(3))), index.as_pointer()))
            s = Sixteen.load(b, b.add(gains, b.shl(b.add(own, row), index(1))), HALVES)
            whole = total >> r1
            z = whole.clip(low, high)
            scaled = (s * z + half2) >> r2
            kept = scaled.clip(low, high)
            kept.store(b.add(u, b.shl(b.add(b.mul(chain, u_step), row), index(1))), HALVES)
            count(b, clips, b.mul(chain, clips_step), whole.differ(z), scaled.differ(kept))

        multiply(b, m, rows, x, x_step, n, chains, lambda row, chain: Sixteen.spread(b, half1),
                 finish)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def move(typing, x24, x, f, step, k2, k4, kicks, kicks_step, m, rows, u, u_step, n, chains, align,
         fall, down, up, clips, clips_step):
    """Update x24_c[:rows] and x_c[:rows] in the field ``f_c + M u_c[:n]`` of all chains c.

    By addresses; see `multiply`. Rows of x24, x and f of a chain lie `step` words behind those of
    the one before. Clips of kappa and of x24 are added to the two words of a chain at `clips`.

    All in int32 (numerics 5): with `fall` = 10 + s, ``rhu(D, fall) = (f >> down << up) + ((low -
    kappa (x24 >> 8)) >> (fall - 8))``, where `align` = 30 - F, down - up = fall - align, one of
    them 0, and low is the rest of f and of kappa x24. It is exact for every f: the first term, if
    too large for int32 sums, is held to what railed x24 anyway.
    """
    signature = types.void(x24, x, f, step, k2, k4, kicks, kicks_step, m, rows, u, u_step, n,
                           chains, align, fall, down, up, clips, clips_step)

    def generate(context, b, signature, args):
        (x24, x, f, step, k2, k4, kicks, kicks_step, m, rows, u, u_step, n, chains, *shifts, clips,
         clips_step) = args
        index, one = n.type, ir.IntType(32)(1)
        align, fall, down, up = (b.trunc(shift, one.type) for shift in shifts)
        rest, half = b.sub(b.shl(one, down), one), b.shl(one, b.sub(fall, one))
        last, most = b.sub(fall, one.type(SPLIT)), b.ashr(one.type(RAILED), up)
        least = b.neg(most)

        def place(array, row, chain, apart=step, size=2):
            return b.add(array, b.shl(b.add(b.mul(chain, apart), row), index(size)))

        def finish(row, chain, pull):
            shared = index(0)
            stiff, quartic = (Sixteen.load(b, place(array, row, chain, shared))
                              for array in (k2, k4))
            state = Sixteen.load(b, place(x24, row, chain))
            kick = Sixteen.load(b, place(kicks, row, chain, kicks_step))
            exposed = Sixteen.load(b, place(x, row, chain, size=1), HALVES)
            x2 = exposed * exposed + SQUARE_HALF >> SQUARE
            stiffness = stiff + (quartic * x2 + QUARTIC_HALF >> QUARTIC)
            kappa = stiffness.clip(None, K2.highest)
            low = ((pull & rest) << align) + half - kappa * (state & LOW_PART)
            drift = (low >> SPLIT) - kappa * (state >> SPLIT) >> last
            after = state + ((pull >> down).clip(least, most) << up) + drift + kick
            kept = after.clip(STATE.lowest, STATE.highest)
            kept.store(place(x24, row, chain))
            seen = (kept + EXPOSE_HALF >> EXPOSE).clip(None, EXPOSED.highest)
            seen.store(place(x, row, chain, size=1), HALVES)
            count(b, clips, b.mul(chain, clips_step), stiffness.differ(kappa), after.differ(kept))

        multiply(b, m, rows, u, u_step, n, chains,
                 lambda row, chain: Sixteen.load(b, place(f, row, chain)), finish)
        return context.get_dummy_value()

    return signature, generate

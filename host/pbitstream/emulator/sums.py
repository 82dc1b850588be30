"""Vector code of the bit-sliced kernels: a unit's inputs added up to its level.

A sum is a two's complement number of as many planes as a level has digits. It starts from
constants, and takes, for every bit q of a weight, the inputs with that bit, four at a time.
"""

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from pbitstream.emulator.planes import (
    BYTE,
    NOTHING,
    PLANE,
    WORD,
    address,
    advance_quarters,
    load,
    majority,
    splat,
    spread,
    store,
)
from pbitstream.spec.noise import FIELDS

__all__ = ["MORE", "MOST", "advance_and_sum", "field"]

#: Addends of one bit of a unit's weights, at most; beside their count, that another bit follows.
MOST, MORE = 256, 1 << 15


class _Sum:
    """A sum of planes while code for it is generated."""

    def __init__(self, context, b, count):
        self.context, self.b = context, b
        self.planes = [cgutils.alloca_once_value(b, NOTHING) for _ in range(count)]

    def start(self, starts):
        """Start from a byte for every plane."""
        b = self.b
        for q, plane in enumerate(self.planes):
            b.store(spread(b, b.load(b.gep(starts, [WORD(q)]))), plane)

    def _add(self, q, x, y):
        """Add two planes to plane q; return the carry."""
        b, plane = self.b, self.planes[q]
        a = b.load(plane)
        b.store(b.xor(b.xor(a, x), y), plane)
        return majority(self.context, b, a, x, y)

    def add_four(self, q, addends):
        """Add four planes, 2^q each."""
        b = self.b
        carries = [self._add(q, *pair) for pair in (addends[:2], addends[2:])]
        if q + 1 == len(self.planes):
            return
        carried = self._add(q + 1, *carries)
        for plane in self.planes[q + 2 :]:
            a = b.load(plane)
            b.store(b.xor(a, carried), plane)
            carried = b.and_(a, carried)

    def store_level(self, carry, target):
        """Store the planes of the level and then of the sign.

        A negative sum is inverted, and made the magnitude by adding 1 if `carry` is -1, not 0.
        """
        b = self.b
        *digits, sign = (b.load(plane) for plane in self.planes)
        carried = b.and_(sign, splat(b, carry))
        for q, digit in enumerate(digits):
            a = b.xor(digit, sign)
            store(b, b.xor(a, carried), target, q)
            carried = b.and_(a, carried)
        store(b, sign, target, len(digits))


@intrinsic
def field(typing, words, places, flips, present, first, at, start, start_at, carry, out, out_at,
          planes):
    """Sum the inputs of 8 units into ``out[out_at:]``: planes of the level, then of the sign.

    Inputs with bit q of the weight are ``first[at + q]`` to ``first[at + q + 1] - 1``, a multiple
    of four: narrow planes at their places, inverted where `flips` says and left out where `present`
    does not.
    """
    signature = types.void(words, places, flips, present, first, at, start, start_at, carry, out,
                           out_at, planes)
    count = planes.count

    def generate(context, b, signature, args):
        words_at, places_at, flips_at, present_at = (
            context.make_array(signature.args[k])(context, b, args[k]).data for k in range(4)
        )
        ends = address(context, b, signature, args, 4, args[5], WORD)
        total = _Sum(context, b, count)
        total.start(address(context, b, signature, args, 6, args[7], BYTE))

        def read(i):
            place = b.sext(b.load(b.gep(places_at, [i])), WORD)
            word = load(b, b.bitcast(b.gep(words_at, [place]), PLANE.as_pointer()), 0)
            flipped = b.xor(word, spread(b, b.load(b.gep(flips_at, [i]))))
            return b.and_(flipped, spread(b, b.load(b.gep(present_at, [i]))))

        for q in range(count):
            low, high = (b.load(b.gep(ends, [WORD(k)])) for k in (q, q + 1))
            with cgutils.for_range_slice(b, low, high, WORD(4), inc=True) as (e, _):
                total.add_four(q, [read(b.add(e, WORD(k))) for k in range(4)])
        total.store_level(args[8], address(context, b, signature, args, 9, args[10]))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def advance_and_sum(typing, noise, at, to, rows, words, inputs, cursor, turns, start, start_at,
                    carry, out, planes):
    """Advance a stream of wide planes by one word; meanwhile, sum the inputs of `rows` <= 4 units.

    A machine stores a plane in the time of four logical operations, so a quarter of the stream is
    advanced between a unit's last input and its level: they overlap best so. The levels of four
    units go to `out`, each its planes and the sign; `start` has a byte for each of them.

    ``inputs[cursor:]`` holds for every unit and bit of a weight two numbers, and then planes, a
    multiple of four: the upright ones, and those to invert. The first number counts the planes, and
    has `MORE` added if the next higher bit of a weight follows; the second counts the upright ones.
    ``turns`` has `MOST` zeros and then as many words of ones. Return the cursor behind the last
    unit's planes.
    """
    signature = types.int64(noise, at, to, rows, words, inputs, cursor, turns, start, start_at,
                            carry, out, planes)
    count = planes.count

    def generate(context, b, signature, args):
        source, target = (address(context, b, signature, args, 0, args[k]) for k in (1, 2))
        inputs_at, turns_at = (
            context.make_array(signature.args[k])(context, b, args[k]).data for k in (5, 7)
        )
        planes_at = address(context, b, signature, args, 4, WORD(0))
        starts = address(context, b, signature, args, 8, args[9], BYTE)
        out = address(context, b, signature, args, 11, WORD(0))
        cursor = cgutils.alloca_once_value(b, args[6])

        def add_inputs(total, q):
            head, upright = (
                b.zext(b.load(b.gep(inputs_at, [b.add(b.load(cursor), WORD(k))])), WORD)
                for k in range(2)
            )
            low = b.add(b.load(cursor), WORD(2))
            high = b.add(low, b.and_(head, WORD(MORE - 1)))
            turn = b.gep(turns_at, [b.sub(b.sub(WORD(MOST), upright), low)])

            def read(i):
                word = load(b, planes_at, b.zext(b.load(b.gep(inputs_at, [i])), WORD))
                return b.xor(word, splat(b, b.load(b.gep(turn, [i]))))

            with cgutils.for_range_slice(b, low, high, WORD(4), inc=True) as (e, _):
                total.add_four(q, [read(b.add(e, WORD(k))) for k in range(4)])
            b.store(high, cursor)
            if q + 1 < count:
                with b.if_then(b.icmp_unsigned("!=", b.and_(head, WORD(MORE)), WORD(0))):
                    add_inputs(total, q + 1)

        quarters = advance_quarters(b, source, target)
        for row in range(FIELDS):
            total = _Sum(context, b, count)
            with b.if_then(b.icmp_signed(">", args[3], WORD(row))):
                total.start(b.gep(starts, [WORD(row * count)]))
                add_inputs(total, 0)
            next(quarters)
            total.store_level(args[10], b.gep(out, [WORD(row * count)]))
        return b.load(cursor)

    return signature, generate

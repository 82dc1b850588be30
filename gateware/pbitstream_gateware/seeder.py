"""Seeds of a chain: the first word of every noise stream, and the reset spins of p-bits."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from pbitstream.spec.noise import GOLDEN, MIX_MULTIPLIERS, MIX_SHIFTS, STREAMS
from pbitstream.spec.words import MAX_BOARD_DIM, MAX_CHAINS
from pbitstream_gateware.noise import STREAM_BITS

__all__ = ["SEED_CYCLES", "SPIN_CYCLES", "SPIN_ROWS", "WORD_CYCLES", "Multiplier", "Seeder"]

#: Rows of 128 p-bits that an image can have at most.
SPIN_ROWS = MAX_BOARD_DIM // STREAMS
#: Bits of a state that are multiplied per cycle.
DIGIT = 16
DIGITS = STREAM_BITS // DIGIT
#: Cycles of a multiplication, of a word and of a spin, which take two, and of the three before.
PRODUCT_CYCLES = DIGITS + 2
SPIN_CYCLES = 2 * PRODUCT_CYCLES + 1
WORD_CYCLES = 2 * PRODUCT_CYCLES + 2
SEED_CYCLES = 3 * PRODUCT_CYCLES


class Multiplier(wiring.Component):
    """Multiply words by constants mod 2^64, digit by digit from the top.

    Parameters
    ----------
    factors
        The constants.

    Members
    -------
    start, value, factor
        Begin: a word, and which of the constants. Abandons what is under way.
    done, product
        One cycle with the product; a new start may come in it.

    Timing
    ------
    `done` comes PRODUCT_CYCLES after `start`. Four multipliers of 16 x 16 bits with registered
    products, then two additions of 64 bits per cycle.
    """

    def __init__(self, factors: tuple[int, ...]) -> None:
        self.factors = factors
        super().__init__({
            "start": In(1),
            "value": In(STREAM_BITS),
            "factor": In(range(len(factors))),
            "done": Out(1),
            "product": Out(STREAM_BITS),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        value, factor = Signal.like(self.value), Signal.like(self.factor)
        # Bit n is set n + 1 cycles after the start; each digit is multiplied, then added.
        stage = Signal(PRODUCT_CYCLES)
        m.d.sync += stage.eq(Cat(self.start, Mux(self.start, 0, stage[:-1])))
        m.d.comb += self.done.eq(stage[-1])

        constant = Signal(STREAM_BITS)
        partials = [Signal(2 * DIGIT, name=f"partial_{n}") for n in range(DIGITS)]
        m.d.comb += constant.eq(Array(self.factors)[factor])
        m.d.sync += value.eq(Cat(Const(0, DIGIT), value))
        for n, partial in enumerate(partials):
            m.d.sync += partial.eq(value[-DIGIT:] * constant.word_select(n, DIGIT))

        even, odd = Cat(partials[::2]), Cat(Const(0, DIGIT), partials[1::2])[:STREAM_BITS]
        with m.If(stage[1:-1].any()):
            m.d.sync += self.product.eq(Cat(Const(0, DIGIT), self.product) + even + odd)
        with m.If(self.start):
            m.d.sync += [value.eq(self.value), factor.eq(self.factor), self.product.eq(0)]
        return m


class Seeder(wiring.Component):
    """Seed the streams of a chain: ``word = mix(mix(seed) + GOLDEN (1 + 128 chain + stream))``.

    Members
    -------
    start, seed, chain, spin_rows
        Begin; the values are taken then. `spin_rows` is 0 to 32. Ignored while `busy`.
    stop
        Abandon everything; `busy` is low in the next cycle.
    busy
        High from the cycle after `start` until everything has been written.
    stream
        The stream that a write is for, 0 to 127 in order.
    word_write, word
        Its first state.
    spin_write, spin_row, spin
        After its word, for each row below `spin_rows`: the spin of the p-bit of that row, 1 for +1.

    Timing
    ------
    Writes take one cycle each and cannot be held off. SEED_CYCLES before the first stream, then
    WORD_CYCLES per word and SPIN_CYCLES per spin: 18 us and 17 us per row of 128 at 100 MHz.

    Numerics
    --------
    Section 7 of numerics, exact. Twins: `stream_state` and `reset_spin` of `pbitstream.spec.noise`.
    """

    def __init__(self) -> None:
        super().__init__({
            "start": In(1),
            "seed": In(STREAM_BITS),
            "chain": In(range(MAX_CHAINS)),
            "spin_rows": In(range(SPIN_ROWS + 1)),
            "stop": In(1),
            "busy": Out(1),
            "stream": Out(range(STREAMS)),
            "word_write": Out(1),
            "word": Out(STREAM_BITS),
            "spin_write": Out(1),
            "spin_row": Out(range(SPIN_ROWS)),
            "spin": Out(1),
        })

    def elaborate(self, platform: Any) -> Any:
        m = Module()
        m.submodules.multiplier = multiplier = Multiplier((*MIX_MULTIPLIERS, GOLDEN))
        first, second, golden = range(3)
        product = multiplier.product
        mixed = _folded(product, MIX_SHIFTS[2])
        # Weyl sequence: what the next stream's word is mixed from.
        weyl = Signal(STREAM_BITS)
        rows = Signal.like(self.spin_rows)
        last_row = Signal()
        m.d.comb += last_row.eq(self.spin_row + 1 == rows)

        def multiply(value: Value, factor: int) -> None:
            m.d.comb += [multiplier.start.eq(1), multiplier.value.eq(value),
                         multiplier.factor.eq(factor)]

        def next_stream() -> None:
            m.d.sync += self.stream.eq(self.stream + 1)
            with m.If(self.stream == STREAMS - 1):
                m.next = "IDLE"
            with m.Else():
                m.next = "STREAM"

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [
                    weyl.eq(Cat(Const(1, exact_log2(STREAMS)), self.chain)),
                    rows.eq(self.spin_rows),
                    self.stream.eq(0),
                ]
                multiply(_folded(self.seed, MIX_SHIFTS[0]), first)
                m.next = "SEED"
            with m.State("SEED"), m.If(multiplier.done):
                multiply(_folded(product, MIX_SHIFTS[1]), second)
                m.next = "MIXED_SEED"
            with m.State("MIXED_SEED"), m.If(multiplier.done):
                m.d.sync += weyl.eq(mixed)
                multiply(weyl, golden)
                m.next = "OFFSET"
            with m.State("OFFSET"), m.If(multiplier.done):
                m.d.sync += weyl.eq(weyl + product)
                m.next = "STREAM"
            with m.State("STREAM"):
                m.d.sync += weyl.eq(weyl + GOLDEN)
                multiply(_folded(weyl, MIX_SHIFTS[0]), first)
                m.next = "WORD"
            with m.State("WORD"), m.If(multiplier.done):
                multiply(_folded(product, MIX_SHIFTS[1]), second)
                m.next = "MIXED_WORD"
            with m.State("MIXED_WORD"), m.If(multiplier.done):
                m.d.sync += self.word.eq(Mux(mixed.any(), mixed, GOLDEN))
                m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.word_write.eq(1)
                m.d.sync += self.spin_row.eq(0)
                with m.If(rows != 0):
                    m.next = "ROW"
                with m.Else():
                    next_stream()
            with m.State("ROW"):
                m.d.sync += self.word.eq(self.word + 1)
                multiply(_folded(self.word, MIX_SHIFTS[0]), first)
                m.next = "SPIN"
            with m.State("SPIN"), m.If(multiplier.done):
                multiply(_folded(product, MIX_SHIFTS[1]), second)
                m.next = "MIXED_SPIN"
            with m.State("MIXED_SPIN"), m.If(multiplier.done):
                m.d.comb += [self.spin_write.eq(1), self.spin.eq(mixed[0])]
                m.d.sync += self.spin_row.eq(self.spin_row + 1)
                with m.If(last_row):
                    next_stream()
                with m.Else():
                    m.next = "ROW"
        return ResetInserter(self.stop)(m)


def _folded(word: Value, shift: int) -> Value:
    """Return ``word ^ (word >> shift)``."""
    return word ^ word[shift:]

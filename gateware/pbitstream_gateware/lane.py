"""A lane: a multiplier with its table, its exposed states and its finished fields."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.timing import RING
from pbitstream.spec.words import EXPOSED, PROJECTION_BITS, WEIGHT_BITS

__all__ = ["ACCUMULATOR_BITS", "Lane"]

#: Words of 16 bits in the smallest block RAM of either chip.
BLOCK_WORDS = 1024

#: Every partial sum of a field or a projection fits.
ACCUMULATOR_BITS = 32


class Lane(wiring.Component):
    """One multiply-accumulate per cycle: ``sum <- (0 if clear else sum) + table * operand``.

    Parameters
    ----------
    image
        What the design holds.
    index
        Number of the lane.

    Members
    -------
    row, rotate, exposed
        Read the exposed state of row `row` (copy in the top bit), or of the row after it if the
        lane's index is below `rotate`; `exposed` follows two cycles later.
    table
        Table address (page in the top bit), two cycles before the operand.
    rotated, results, broadcast
        The operand: `results` if `broadcast`, else `rotated`; three cycles before the sum.
    clear, sum
        `clear` comes with the operand plus one; `sum` is the accumulator.
    push, slot
        Keep the sum as it is now in ring slot `slot`.
    take, field
        The field in ring slot `take`, combinational.
    expose, expose_row, expose_data
        Store an exposed state.
    store, store_address, store_data
        Store a table word.
    look, word
        The table word as read two cycles after `table`, kept from a cycle with `look` on.

    Timing
    ------
    Operand at t, product at t + 1, sum at t + 2; every cycle, no stalls: a cycle without work has
    operand 0 and does not clear.

    Numerics
    --------
    s16 * s16 into s32; the program's check that no field and no projection leaves s32 holds in any
    order, so nothing saturates.
    """

    def __init__(self, image: Image, index: int) -> None:
        self.image, self.index = image, index
        rows, words = ceil_log2(image.rows), ceil_log2(image.max_rank_words)
        super().__init__({
            "row": In(rows + 1),
            "rotate": In(ceil_log2(image.lanes)),
            "exposed": Out(signed(EXPOSED.bits)),
            "table": In(words + 1),
            "rotated": In(signed(EXPOSED.bits)),
            "results": In(signed(PROJECTION_BITS)),
            "broadcast": In(1),
            "clear": In(1),
            "sum": Out(signed(ACCUMULATOR_BITS)),
            "push": In(1),
            "slot": In(ceil_log2(RING)),
            "take": In(ceil_log2(RING)),
            "field": Out(signed(ACCUMULATOR_BITS)),
            "expose": In(1),
            "expose_row": In(rows + 1),
            "expose_data": In(signed(EXPOSED.bits)),
            "store": In(1),
            "store_address": In(words + 1),
            "store_data": In(signed(WEIGHT_BITS)),
            "look": In(1),
            "word": Out(signed(WEIGHT_BITS)),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = self.image

        m.submodules.states = states = memory.Memory(
            shape=signed(EXPOSED.bits), depth=2 * image.rows, init=[])
        read, write = states.read_port(domain="comb"), states.write_port()
        row, copy = self.row[:-1], self.row[-1]
        after = (row + 1)[: len(row)]
        wrapped = Mux(self.index < self.rotate, after, row)
        address = Signal(len(self.row), reset_less=True)
        exposed = Signal(signed(EXPOSED.bits), reset_less=True)
        m.d.sync += [address.eq(Cat(wrapped, copy)), exposed.eq(read.data)]
        m.d.comb += [
            read.addr.eq(address),
            self.exposed.eq(exposed),
            write.en.eq(self.expose),
            write.addr.eq(self.expose_row),
            write.data.eq(self.expose_data),
        ]

        # Deeper than a block RAM of 16-bit words: two of 8 bits need no multiplexer behind them.
        depth = 2 * image.max_rank_words
        parts = 1 if depth <= BLOCK_WORDS else 2
        width = WEIGHT_BITS // parts
        fetched = Signal(signed(WEIGHT_BITS))
        for part in range(parts):
            m.submodules[f"words{part}"] = words = memory.Memory(
                shape=width, depth=depth, init=[])
            fetch, store = words.read_port(), words.write_port()
            m.d.comb += [
                fetch.addr.eq(self.table),
                fetched[part * width : (part + 1) * width].eq(fetch.data),
                store.en.eq(self.store),
                store.addr.eq(self.store_address),
                store.data.eq(self.store_data[part * width : (part + 1) * width]),
            ]

        with m.If(self.look):
            m.d.sync += self.word.eq(fetched)

        # These four registers are those of a DSP slice, which has no reset to spare.
        operand = Signal(signed(EXPOSED.bits), reset_less=True)
        factor = Signal(signed(WEIGHT_BITS), reset_less=True)
        product = Signal(signed(EXPOSED.bits + WEIGHT_BITS), reset_less=True)
        total = Signal(signed(ACCUMULATOR_BITS), reset_less=True)
        m.d.sync += [
            operand.eq(Mux(self.broadcast, self.results, self.rotated)),
            factor.eq(fetched),
            product.eq(operand * factor),
            total.eq(Mux(self.clear, 0, total) + product),
        ]
        m.d.comb += self.sum.eq(total)

        m.submodules.ring = ring = memory.Memory(
            shape=signed(ACCUMULATOR_BITS), depth=RING, init=[])
        taken, pushed = ring.read_port(domain="comb"), ring.write_port()
        m.d.comb += [
            taken.addr.eq(self.take),
            self.field.eq(taken.data),
            pushed.en.eq(self.push),
            pushed.addr.eq(self.slot),
            pushed.data.eq(total),
        ]
        return m

"""The noise of an update pipe: its xorshift64 streams in memories, one word per cycle."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from pbitstream.spec.noise import FIELD_BITS, FIELDS, XORSHIFT

__all__ = ["STREAM_BITS", "NoiseStreams", "xorshift64"]

#: Bits of a stream's state, which is also the word it gives.
STREAM_BITS = FIELDS * FIELD_BITS


def xorshift64(state: Value) -> Value:
    """Return the next state of a stream, of wires and exclusive ors; twin in the spec's noise."""
    left, right, left_again = XORSHIFT
    state ^= Cat(Const(0, left), state[:-left])
    state ^= state[right:]
    return state ^ Cat(Const(0, left_again), state[:-left_again])


class NoiseStreams(wiring.Component):
    """Streams of noise, each drawn from by address.

    Parameters
    ----------
    depth
        Streams, a power of two: those of a chain, divided by the update pipes.

    Attributes
    ----------
    pages
        Two memories of the states, distributed RAM for its combinational reads.

    Members
    -------
    page
        Where streams are seeded and drawn from.
    draw, stream, advance
        A draw. With `advance` it gives the stream's next word, and the state moves to it; without,
        the word of the draw before, for rows of p-bits that share one.
    word
        What was drawn in the cycle before.
    seed_write, seed_stream, seed_word
        Set the state of a stream. The caller keeps draws away: one that advances wins.
    peek_page, peek_stream, peek
        The state of a stream of either page; of `page` itself in every cycle without `draw`.
    poke, poke_word
        Set that state. The caller keeps draws and seeds of the same page away: they win.

    Timing
    ------
    A draw every cycle, and from the same stream every second cycle: the state is a register, from
    which the next one is computed and stored in the cycle after the draw. No back-pressure, no
    reset of states: seed every stream before its first draw.

    Numerics
    --------
    Section 7 of numerics. Twin: `pbitstream.spec.noise.xorshift64`. A state that is not 0 never
    becomes 0.
    """

    def __init__(self, depth: int) -> None:
        address = exact_log2(depth)
        super().__init__({
            "page": In(1),
            "stream": In(address),
            "draw": In(1),
            "advance": In(1),
            "word": Out(STREAM_BITS),
            "seed_write": In(1),
            "seed_stream": In(address),
            "seed_word": In(STREAM_BITS),
            "peek_page": In(1),
            "peek_stream": In(address),
            "peek": Out(STREAM_BITS),
            "poke": In(1),
            "poke_word": In(STREAM_BITS),
        })
        self.pages = [memory.Memory(shape=STREAM_BITS, depth=depth, init=[]) for _ in range(2)]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        state = Signal(STREAM_BITS, reset_less=True)
        stream = Signal.like(self.stream, reset_less=True)
        advance, store = Signal(), Signal()
        words = []
        for number, page in enumerate(self.pages):
            m.submodules[f"page{number}"] = page
            read, write = page.read_port(domain="comb"), page.write_port()
            works = self.page == number
            own, seeded = works & store, works & self.seed_write
            m.d.comb += [
                read.addr.eq(Mux(works & self.draw, self.stream, self.peek_stream)),
                write.en.eq(own | seeded | self.poke & (self.peek_page == number)),
                write.addr.eq(Mux(own, stream, Mux(seeded, self.seed_stream, self.peek_stream))),
                write.data.eq(Mux(own, self.word, Mux(seeded, self.seed_word, self.poke_word))),
            ]
            words.append(read.data)
        m.d.sync += [
            state.eq(Mux(self.page, words[1], words[0])),
            stream.eq(self.stream),
            advance.eq(self.advance),
            store.eq(self.draw & self.advance),
        ]
        m.d.comb += [
            self.peek.eq(Mux(self.peek_page, words[1], words[0])),
            self.word.eq(Mux(advance, xorshift64(state), state)),
        ]
        return m

"""The board's end of the serial link: requests in frames become requests on the bus."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.frames import (
    ADDRESS_BITS,
    BAUDS,
    BUFFER_WORDS,
    DETAIL,
    ERRORS,
    MAX_PAYLOAD,
    OPERATIONS,
    SESSION_BITS,
)
from pbitstream_gateware.frames import Words
from pbitstream_gateware.ports import ADDRESS_BITS as WORD_ADDRESS_BITS
from pbitstream_gateware.ports import Bus

__all__ = ["LinkEngine"]

#: Bytes of a word, as bits of an address.
WORD = 2
NUMBER_BITS = dict(DETAIL)["number"]
COUNT_BITS = MAX_PAYLOAD.bit_length() - WORD


class LinkEngine(wiring.Component):
    """Judge requests, execute those that are next, and answer all.

    Attributes
    ----------
    opened, session, expected
        Whether a session is open, which, and the `seq` of its next request.

    Members
    -------
    i
        Requests, from `FrameReceiver`.
    o
        Answers, to `FrameSender`.
    bus
        The board's registers and windows.
    drained
        All answers have left the board.
    baud
        Which of `BAUDS` the line runs at; 0 at reset.

    Timing
    ------
    One request at a time. The words of a write are gone from the buffer before it is answered. A
    write to the bus takes three cycles per word and those of the bus, a read two. Requests on the
    bus come from registers. A change of `baud` waits until its answer has left.

    Numerics
    --------
    Rules: `pbitstream.spec.frames`. The last answer is not kept but made again: that of a write
    holds nothing but its header, and a read has no effect.
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(Words()),
            "o": Out(Words()),
            "bus": Out(Bus()),
            "drained": In(1),
            "baud": Out(range(len(BAUDS))),
        })
        self.opened = Signal()
        self.session = Signal(SESSION_BITS)
        self.expected = Signal(8)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        i, o, bus = self.i, self.o, self.bus
        seq = Signal(8)
        op = Signal(8)
        addr = Signal(32)
        count = Signal(16)
        # The word just taken was the last one of its frame.
        over = Signal()
        asked = {name: Signal(name=f"is_{name}") for name in ("read", "write", "open", "baud")}
        ours = Signal()
        following = Signal()
        again = Signal()
        count_fits = Signal()
        address_fits = Signal()
        baud_fits = Signal()
        code = Signal(range(max(ERRORS.values()) + 1))
        left = Signal(COUNT_BITS)

        moves = asked["read"] | asked["write"]
        refusals = (
            (~ours, "session"),
            (~following & ~again, "sequence"),
            (~moves & ~asked["baud"], "operation"),
            (moves & ~count_fits, "count"),
            (moves & ~address_fits, "address"),
            (asked["baud"] & ~baud_fits, "baud"),
        )
        refused = Signal.like(code)
        verdict: Any = Const(0, len(code))
        for refusal, name in reversed(refusals):
            verdict = Mux(refusal, ERRORS[name], verdict)
        m.d.comb += refused.eq(Mux(asked["open"], 0, verdict))

        address, count_words = addr[WORD:ADDRESS_BITS], count[WORD:]
        last_word = Signal(WORD_ADDRESS_BITS + 1)
        m.d.comb += last_word.eq(address + count_words[:COUNT_BITS] - 1)

        kind = Signal(8)
        number = Signal(NUMBER_BITS)
        m.d.comb += [
            kind.eq(Mux(code == 0, OPERATIONS["reply"], OPERATIONS["error"])),
            number.eq(Mux(code == 0, BUFFER_WORDS, code)),
        ]
        detail = Cat(number, self.expected)
        answer_count = Signal(16)
        m.d.comb += answer_count.eq(Mux(
            (code != 0) | asked["open"], 4, Mux(asked["read"], count, 0)))

        with m.FSM():
            with m.State("header"):
                m.d.comb += i.ready.eq(1)
                m.d.sync += Cat(seq, op, addr[:16]).eq(i.data)
                with m.If(i.valid):
                    m.next = "target"
            with m.State("target"):
                m.d.comb += i.ready.eq(1)
                m.d.sync += [Cat(addr[16:], count).eq(i.data), over.eq(i.last)]
                with m.If(i.valid):
                    m.next = "judge"
            with m.State("judge"):
                m.d.sync += [
                    *(flag.eq(op == OPERATIONS[name]) for name, flag in asked.items()),
                    ours.eq(self.opened & (addr[ADDRESS_BITS:] == self.session)),
                    following.eq(seq == self.expected),
                    again.eq(seq == (self.expected - 1)[:8]),
                    count_fits.eq((count[:WORD] == 0) & (count != 0) & (count <= MAX_PAYLOAD)),
                    address_fits.eq((addr[:WORD] == 0) & ~last_word[-1]),
                    baud_fits.eq(addr[:ADDRESS_BITS] < len(BAUDS)),
                    bus.address.eq(address),
                    left.eq(count_words),
                ]
                m.next = "decide"
            with m.State("decide"):
                m.d.sync += [code.eq(refused), bus.write.eq(asked["write"])]
                m.next = "skip"
                with m.If(asked["open"]):
                    # The session that is open goes on: this request has come twice.
                    with m.If(~ours):
                        m.d.sync += [self.opened.eq(1), self.session.eq(addr[ADDRESS_BITS:]),
                                     self.expected.eq(seq + 1)]
                with m.Elif((refused == 0) & following):
                    m.d.sync += self.expected.eq(seq + 1)
                    with m.If(asked["write"]):
                        m.next = "store"
            with m.State("store"):
                m.d.comb += i.ready.eq(1)
                m.d.sync += [bus.data.eq(i.data), over.eq(i.last)]
                with m.If(i.valid):
                    m.d.sync += bus.valid.eq(1)
                    m.next = "stored"
            with m.State("stored"):
                with m.If(bus.ack):
                    m.d.sync += [bus.valid.eq(0), bus.address.eq(bus.address + 1)]
                    m.next = "store"
                    with m.If(over):
                        m.next = "answer"
            with m.State("skip"):
                m.d.comb += i.ready.eq(~over)
                with m.If(over | (i.valid & i.last)):
                    m.next = "answer"
            with m.State("answer"):
                m.d.comb += [o.valid.eq(1), o.data.eq(Cat(seq, kind, addr[:16]))]
                with m.If(o.ready):
                    m.next = "length"
            with m.State("length"):
                m.d.comb += [o.valid.eq(1), o.data.eq(Cat(addr[16:], answer_count)),
                             o.last.eq(answer_count == 0)]
                with m.If(o.ready):
                    with m.If((code != 0) | asked["open"]):
                        m.next = "detail"
                    with m.Elif(asked["read"]):
                        m.d.sync += bus.valid.eq(1)
                        m.next = "load"
                    with m.Elif(asked["baud"]):
                        m.next = "drain"
                    with m.Else():
                        m.next = "header"
            with m.State("detail"):
                m.d.comb += [o.valid.eq(1), o.data.eq(detail), o.last.eq(1)]
                with m.If(o.ready):
                    m.next = "header"
            with m.State("load"):
                m.d.sync += bus.data.eq(bus.read)
                with m.If(bus.ack):
                    m.d.sync += [bus.valid.eq(0), bus.address.eq(bus.address + 1),
                                 left.eq(left - 1)]
                    m.next = "give"
            with m.State("give"):
                m.d.comb += [o.valid.eq(1), o.data.eq(bus.data), o.last.eq(left == 0)]
                with m.If(o.ready):
                    m.d.sync += bus.valid.eq(left != 0)
                    m.next = "load"
                    with m.If(left == 0):
                        m.next = "header"
            with m.State("drain"):
                with m.If(self.drained):
                    m.d.sync += self.baud.eq(addr)
                    m.next = "header"
        return m

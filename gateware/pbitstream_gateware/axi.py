"""A processor's AXI port as requests on the host's bus: AXI3, AXI4, and AXI4-Lite as a part."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.registers import BOARD_BYTES
from pbitstream_gateware.ports import Bus

__all__ = ["FULL", "ID_BITS", "INCR", "LENGTH_BITS", "OKAY", "SLVERR", "WORD_SIZE", "Axi",
           "AxiSlave", "Channel"]

#: Of the ports M_AXI_GP of a Zynq-7000.
ID_BITS = 12
#: Beats less one: AXI4 has 8 bits, of which AXI3 uses 4.
LENGTH_BITS = 8
ADDRESS_BITS = (BOARD_BYTES - 1).bit_length()
#: Codes of the standard: answers, kinds of bursts, bytes per beat as a power of two, a whole word.
OKAY, SLVERR = 0, 2
INCR = 1
WORD_SIZE = 2
FULL = 0b1111


class Channel(wiring.Signature):
    """One of the five channels, from the side that sends: a beat moves when both are ready."""

    def __init__(self, **fields: int) -> None:
        super().__init__({"valid": Out(1), "ready": In(1),
                          **{name: Out(bits) for name, bits in fields.items()}})


class Axi(wiring.Signature):
    """The port of a master with 32 bits of data, from its side.

    Members
    -------
    aw, ar
        Write and read bursts: `id`, `addr` (a byte offset within the map), `len` (beats less one),
        `size` and `burst`.
    w
        Beats of a write: `data`, `strb` and `last`, in the order of their bursts.
    b
        The answer to a write: `id` and `resp`.
    r
        Beats of a read: `id`, `data`, `resp` and `last`.
    """

    def __init__(self) -> None:
        burst = {"id": ID_BITS, "addr": ADDRESS_BITS, "len": LENGTH_BITS, "size": 3, "burst": 2}
        super().__init__({
            "aw": Out(Channel(**burst)),
            "w": Out(Channel(data=32, strb=4, last=1)),
            "b": In(Channel(id=ID_BITS, resp=2)),
            "ar": Out(Channel(**burst)),
            "r": In(Channel(id=ID_BITS, data=32, resp=2, last=1)),
        })


class AxiSlave(wiring.Component):
    """Execute bursts word by word, one burst at a time, and answer every one of them.

    Words are written whole or not at all. What follows answers SLVERR:

    - a burst that does not count up (FIXED, WRAP), or of another size than words: nothing is
      written, and reads give 0;
    - a write with a beat of one to three bytes: that beat is not written, the others are. A beat
      without any byte is legal, and does nothing.

    The low two bits of an address say nothing, as the standard has it: a read gives whole words,
    and a write names its bytes by `strb`. The beats of a write are counted by `len`; `last` is not
    looked at. No request is ever made twice, so that what a pulse does (`control`, `commit`) is
    done once.

    Attributes
    ----------
    left, refused
        Of the burst under way: beats after this one, and whether nothing of it is done.
    reads_turn
        A read goes before a write.
    choosing, storing, loading
        What it does while no channel is open: it waits for a burst, for a word to be written, for a
        word to be read.

    Members
    -------
    axi
        The processor's port.
    bus
        The board's registers and windows.

    Timing
    ------
    A beat takes one cycle and those of the bus, from `valid` to `ack`; a burst three more for a
    write and two for a read. Requests on the bus come from registers. The answer to a write comes
    when its last word has been written. When a write and a read wait, the one goes first whose kind
    was not the last. No output depends on an input of the same cycle.

    Numerics
    --------
    Twin: `pbitstream_sim.axi_board`, which plays the processor.
    """

    def __init__(self) -> None:
        super().__init__({"axi": In(Axi()), "bus": Out(Bus())})
        self.left = Signal(LENGTH_BITS)
        self.refused = Signal()
        self.reads_turn = Signal()
        self.choosing, self.storing, self.loading = Signal(), Signal(), Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        aw, w, b, ar, r = (getattr(self.axi, name) for name in ("aw", "w", "b", "ar", "r"))
        bus, left, refused, reads_turn = self.bus, self.left, self.refused, self.reads_turn

        def bad(burst: Any) -> Value:
            return (burst.burst != INCR) | (burst.size != WORD_SIZE)

        def begin(burst: Any, answer: Any) -> list[Any]:
            return [
                answer.id.eq(burst.id),
                answer.resp.eq(Mux(bad(burst), SLVERR, OKAY)),
                refused.eq(bad(burst)),
                left.eq(burst.len),
                bus.address.eq(burst.addr[WORD_SIZE:]),
            ]

        def after(done: Value) -> None:
            with m.If(done):
                m.d.sync += [bus.valid.eq(0), bus.address.eq(bus.address + 1), left.eq(left - 1)]

        with m.FSM():
            with m.State("choose"):
                m.d.comb += self.choosing.eq(1)
                with m.If(aw.valid & ~(ar.valid & reads_turn)):
                    m.next = "take-write"
                with m.Elif(ar.valid):
                    m.next = "take-read"
            with m.State("take-write"):
                m.d.comb += aw.ready.eq(1)
                m.d.sync += [*begin(aw, b), bus.write.eq(1), reads_turn.eq(1)]
                m.next = "data"
            with m.State("data"):
                m.d.comb += w.ready.eq(1)
                m.d.sync += bus.data.eq(w.data)
                with m.If(w.valid):
                    m.d.sync += bus.valid.eq((w.strb == FULL) & ~refused)
                    with m.If((w.strb != FULL) & (w.strb != 0)):
                        m.d.sync += b.resp.eq(SLVERR)
                    m.next = "store"
            with m.State("store"):
                m.d.comb += self.storing.eq(1)
                stored = bus.ack | ~bus.valid
                after(stored)
                with m.If(stored):
                    m.next = "data"
                    with m.If(left == 0):
                        m.next = "answer"
            with m.State("answer"):
                m.d.comb += b.valid.eq(1)
                with m.If(b.ready):
                    m.next = "choose"
            with m.State("take-read"):
                m.d.comb += ar.ready.eq(1)
                m.d.sync += [*begin(ar, r), bus.write.eq(0), bus.valid.eq(~bad(ar)),
                             reads_turn.eq(0)]
                m.next = "load"
            with m.State("load"):
                m.d.comb += self.loading.eq(1)
                loaded = bus.ack | ~bus.valid
                after(loaded)
                m.d.sync += [r.data.eq(Mux(refused, 0, bus.read)), r.last.eq(left == 0)]
                with m.If(loaded):
                    m.next = "give"
            with m.State("give"):
                m.d.comb += r.valid.eq(1)
                with m.If(r.ready):
                    m.d.sync += bus.valid.eq(~refused & ~r.last)
                    m.next = "load"
                    with m.If(r.last):
                        m.next = "choose"
        return m

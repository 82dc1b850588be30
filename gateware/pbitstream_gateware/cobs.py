"""Consistent overhead byte stuffing: data without zeros, so that a zero ends a frame."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.frames import DELIMITER
from pbitstream_gateware.pipeline import register
from pbitstream_gateware.uart import Bytes

__all__ = ["BLOCK", "CobsDecoder", "CobsEncoder"]

#: Bytes of a block without its code, at most.
BLOCK = 254


class CobsDecoder(wiring.Component):
    """Undo the stuffing.

    Attributes
    ----------
    left, zero
        Bytes left of a block, and whether a zero stands between it and the next one.
    spoiled, begun
        A byte of the frame was broken; there was one at all.

    Members
    -------
    valid, data
        A byte from the line.
    broken
        With `valid`: it is no byte; the frame that it falls into is spoiled.
    o_valid, o_data
        A byte of the frame.
    end
        The frame is over.
    empty, whole
        With `end`: nothing came before the delimiter; its blocks were complete, and no byte of it
        was broken.

    Timing
    ------
    A byte per cycle; outputs are registers, a cycle late. A delimiter leaves it as a reset does,
    whatever came before.

    Numerics
    --------
    Twin: `pbitstream.devices.wire.codec.cobs_decode`.
    """

    def __init__(self) -> None:
        super().__init__({
            "valid": In(1),
            "data": In(8),
            "broken": In(1),
            "o_valid": Out(1),
            "o_data": Out(8),
            "end": Out(1),
            "empty": Out(1),
            "whole": Out(1),
        })
        self.left = Signal(8)
        self.zero = Signal()
        self.spoiled = Signal()
        self.begun = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        left, zero, spoiled, begun = self.left, self.zero, self.spoiled, self.begun
        m.d.sync += [self.o_valid.eq(0), self.end.eq(0), self.whole.eq((left == 0) & ~spoiled),
                     self.empty.eq(~begun), self.o_data.eq(Mux(left == 0, 0, self.data))]
        with m.If(self.valid):
            m.d.sync += begun.eq(1)
            with m.If(self.broken):
                m.d.sync += spoiled.eq(1)
            with m.Elif(self.data == DELIMITER):
                m.d.sync += [self.end.eq(1), left.eq(0), zero.eq(0), spoiled.eq(0), begun.eq(0)]
            with m.Elif(left == 0):
                m.d.sync += [self.o_valid.eq(zero), left.eq(self.data - 1),
                             zero.eq(self.data != BLOCK + 1)]
            with m.Else():
                m.d.sync += [self.o_valid.eq(1), left.eq(left - 1)]
        return m


class CobsEncoder(wiring.Component):
    """Stuff frames and put a delimiter behind each.

    Members
    -------
    i, last
        Bytes of frames, and which is a frame's last.
    o
        Bytes for the line.
    idle
        Nothing is under way.

    Timing
    ------
    A byte of a block goes in per cycle; then the block comes out, a byte per three cycles at best,
    and meanwhile none goes in.

    Numerics
    --------
    Twin: `pbitstream.devices.wire.codec.encode`.
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(Bytes()),
            "last": In(1),
            "o": Out(Bytes()),
            "idle": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.block = block = memory.Memory(shape=8, depth=256, init=[])
        write, read = block.write_port(), block.read_port()
        # Bytes of the block, then how many of them are out.
        filled = Signal(8)
        out = Signal(8)
        # The block ends the frame; an empty block must follow it, because the last byte was a zero.
        final = Signal()
        another = Signal()
        zero = Signal()
        full = Signal()
        m.d.comb += [
            zero.eq(self.i.data == 0),
            full.eq(filled == BLOCK - 1),
            write.addr.eq(filled),
            write.data.eq(self.i.data),
            read.addr.eq(out),
            self.idle.eq(0),
        ]
        # Block RAM is slow: its byte goes to a register first.
        byte = register(m, read.data, "byte")
        with m.FSM():
            with m.State("fill"):
                m.d.comb += [self.i.ready.eq(1), write.en.eq(self.i.valid),
                             self.idle.eq((filled == 0) & ~self.i.valid)]
                m.d.sync += out.eq(0)
                with m.If(self.i.valid):
                    m.d.sync += [filled.eq(filled + ~zero), final.eq(self.last),
                                 another.eq(self.last & zero)]
                    with m.If(zero | full | self.last):
                        # The code: a place for each byte and one more.
                        m.d.sync += [self.o.data.eq(filled + 1 + ~zero), self.o.valid.eq(1)]
                        m.next = "offer"
            with m.State("offer"):
                with m.If(self.o.ready):
                    m.d.sync += self.o.valid.eq(0)
                    m.next = "look"
            with m.State("look"):
                # The byte at `out` is being read.
                m.d.sync += out.eq(out + 1)
                with m.If(out == filled):
                    m.d.sync += [filled.eq(0), out.eq(0), another.eq(0)]
                    with m.If(another):
                        m.d.sync += [self.o.data.eq(1), self.o.valid.eq(1)]
                        m.next = "offer"
                    with m.Elif(final):
                        m.d.sync += [self.o.data.eq(DELIMITER), self.o.valid.eq(1)]
                        m.next = "end"
                    with m.Else():
                        m.next = "fill"
                with m.Else():
                    m.next = "take"
            with m.State("take"):
                m.d.sync += [self.o.data.eq(byte), self.o.valid.eq(1)]
                m.next = "offer"
            with m.State("end"):
                with m.If(self.o.ready):
                    m.d.sync += self.o.valid.eq(0)
                    m.next = "fill"
        return m

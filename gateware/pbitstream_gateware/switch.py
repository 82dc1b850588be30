"""The table switch: makes the shadow tables active, all at once and only if their CRC matches."""

from itertools import pairwise
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.crc import Processor
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from pbitstream.spec.image import Image
from pbitstream_gateware.ports import WINDOW_LATENCY, WindowPort
from pbitstream_gateware.registers import WORD_BITS, Strobe
from pbitstream_gateware.windows import in_windows, window_ranges

__all__ = ["TableSwitch"]


class TableSwitch(wiring.Component):
    """Check the shadow windows and flip the table page; grant starts, which must wait for that.

    It stands between the register bank and the memories, so that the page that becomes active is
    exactly what was checked: while it walks, no write to a shadow window passes. Such a write is
    dropped, and makes the check fail; the host sees that its commit was refused. A host that has
    a commit forgotten while it is checked must write its tables again.

    Parameters
    ----------
    image
        What the design holds: the words of each window.
    crc
        Stands in for the CRC processor, in a proof.

    Attributes
    ----------
    crc, expected, spoiled
        The CRC processor, the result that it must have, and whether a write has been dropped.

    Members
    -------
    commit
        The host's CRC-32 of the shadow windows in address order, words little-endian. Takes the
        place of a commit that is pending.
    control, start, forget
        A write to `control`, and what it asks for: a start; to forget what is pending or refused.
    idle
        No relaxation runs. Low from the cycle after `go` until it is over.
    go
        The start is granted: `idle`, and no commit pending. Combinational.
    pending
        From the cycle after a commit until it has been decided.
    walking
        The check runs. The bank must not count on reads that it asks for now.
    refused
        A start was not granted, or a commit failed; until the next write to either register.
    page
        Which page of the tables is active.
    host
        From the register bank.
    memories
        To all memories; a read there sees the writes of the cycles before it.

    Timing
    ------
    A check begins in the cycle after `pending` and `idle` meet and takes a cycle per word of the
    shadow windows and WINDOW_LATENCY + 2 more; a write of the host to other windows goes before
    and costs one. Reset: page 0, nothing pending.

    Numerics
    --------
    CRC-32/ISO-HDLC; twin: `zlib.crc32`.
    """

    def __init__(self, image: Image, crc: Any = None) -> None:
        self.image = image
        super().__init__({
            "commit": In(Strobe()),
            "control": In(1),
            "start": In(1),
            "forget": In(1),
            "idle": In(1),
            "go": Out(1),
            "pending": Out(1),
            "walking": Out(1),
            "refused": Out(1),
            "page": Out(1),
            "host": In(WindowPort()),
            "memories": Out(WindowPort()),
        })
        self.crc = crc or Processor(CRC32_ISO_HDLC(data_width=WORD_BITS))
        self.expected = Signal(WORD_BITS)
        self.spoiled = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        host, memories = self.host, self.memories
        windows = window_ranges(self.image, "shadow")

        # The port: writes of the host, then the walk.
        address, done = Signal.like(memories.address), Signal()
        shadow, walk = Signal(), Signal()
        m.d.comb += [
            shadow.eq(host.write & in_windows(host.address, self.image, "shadow")),
            walk.eq(self.walking & ~host.write),
            memories.address.eq(Mux(walk, address, host.address)),
            memories.write.eq(host.write & ~(self.walking & shadow)),
            memories.data.eq(host.data),
            host.read.eq(memories.read),
        ]
        with m.If(walk):
            m.d.sync += address.eq(address + 1)
            with m.Switch(address):
                for window, following in pairwise(windows):
                    with m.Case(window[-1]):
                        m.d.sync += address.eq(following.start)
                with m.Case(windows[-1][-1]):
                    m.d.sync += done.eq(1)

        # The answers, in the order of the addresses; bit n of `under_way` left n cycles ago.
        under_way = Signal(WINDOW_LATENCY + 1)
        m.submodules.crc = crc = self.crc
        m.d.sync += [under_way.eq(Cat(walk & ~done, under_way)), crc.data.eq(memories.read)]
        m.d.comb += crc.valid.eq(under_way[-1] & self.walking)

        # What is asked for, what is decided.
        m.d.comb += self.go.eq(self.start & self.idle & ~self.pending & ~self.forget)
        with m.If(self.control):
            m.d.sync += self.refused.eq(self.start & ~self.go)
        with m.If(self.walking & shadow):
            m.d.sync += self.spoiled.eq(1)

        with m.If(self.forget):
            m.d.sync += [self.pending.eq(0), self.walking.eq(0), self.refused.eq(0)]
        with m.Elif(self.commit.strobe):
            m.d.sync += [self.pending.eq(1), self.walking.eq(0), self.refused.eq(0),
                         self.expected.eq(self.commit.data)]
        with m.Elif(self.walking & done & ~under_way.any()):
            m.d.sync += [self.pending.eq(0), self.walking.eq(0)]
            with m.If((crc.crc == self.expected) & ~self.spoiled & ~shadow):
                m.d.sync += self.page.eq(~self.page)
            with m.Else():
                m.d.sync += self.refused.eq(1)
        with m.Elif(self.pending & self.idle & ~self.walking):
            m.d.sync += [self.walking.eq(1), address.eq(windows[0].start), done.eq(0),
                         under_way.eq(0), self.spoiled.eq(0)]
            m.d.comb += crc.start.eq(1)
        return m

"""The whole design behind the RTL frame engine, without the UART: a byte per few cycles."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.image import Image
from pbitstream_gateware.serial_top import FrameLink
from pbitstream_gateware.top import Top
from pbitstream_gateware.uart import Bytes

#: Small enough for thousands of sessions: a few hundred bytes of tables.
SMALL = Image(lanes=2, max_units=8, max_rank_words=8, max_modules=2, max_instructions=16,
              max_gains=2)


class ByteTop(wiring.Component):
    """The ports of `pbitstream_gateware.serial_top.SerialTop`, but bytes where it has wires."""

    def __init__(self, image: Image = SMALL) -> None:
        self.image = image
        super().__init__({"valid": In(1), "data": In(8), "o": Out(Bytes()), "busy": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.link = link = FrameLink()
        m.submodules.top = top = Top(self.image)
        wiring.connect(m, link.bus, top.bus)
        wiring.connect(m, wiring.flipped(self.o), link.o)
        m.d.comb += [link.valid.eq(self.valid), link.data.eq(self.data), self.busy.eq(top.busy),
                     link.sent.eq(~self.o.valid), top.link_errors.eq(link.dropped)]
        return m

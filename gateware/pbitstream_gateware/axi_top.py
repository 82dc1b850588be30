"""The whole design behind a processor's AXI port: what the fabric of a Zynq board carries."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.image import Image
from pbitstream_gateware.axi import Axi, AxiSlave
from pbitstream_gateware.top import Top

__all__ = ["AxiTop"]


class AxiTop(wiring.Component):
    """The substrate with an AXI port.

    Parameters
    ----------
    image
        What it holds.

    Members
    -------
    axi
        The processor's port. It loses nothing, so the register `link_errors` stays 0.
    busy
        A relaxation or a table check runs.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        super().__init__({"axi": In(Axi()), "busy": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.link = link = AxiSlave()
        m.submodules.top = top = Top(self.image)
        wiring.connect(m, wiring.flipped(self.axi), link.axi)
        wiring.connect(m, link.bus, top.bus)
        m.d.comb += self.busy.eq(top.busy)
        return m

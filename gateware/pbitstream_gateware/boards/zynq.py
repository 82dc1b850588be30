"""The design on a Zynq-7000: the processing system gives clock, reset and the AXI port."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import Out

from pbitstream.errors import SpecError
from pbitstream.spec.image import Image
from pbitstream_gateware.axi import Axi
from pbitstream_gateware.axi_top import AxiTop
from pbitstream_gateware.boards.board import Part, Pin

__all__ = ["PORTS", "Processor", "ZynqBoard", "ZynqDesign", "clock_constraint", "pin_constraints"]

#: Ports that every Zynq board has: two lights.
PORTS = ("busy", "ready")
#: What the processing system is called in the netlist, and its primitive within.
PROCESSOR, PRIMITIVE = "ps7", "core"


@dataclass(frozen=True)
class ZynqBoard:
    """A board with a Zynq-7000.

    Parameters
    ----------
    name, text
        What commands call it, and what it is.
    part
        Its chip.
    preset
        The image that is built for it unless another is asked for.
    clock
        In Hz: of the fabric, unless another is asked for.
    pins
        The pins of `PORTS`.
    programmer
        What openFPGALoader calls it.
    """

    name: str
    text: str
    part: Part
    preset: str
    clock: int
    pins: dict[str, Pin]
    programmer: str

    def __post_init__(self) -> None:
        if self.pins.keys() != set(PORTS):
            raise SpecError(f"pins of {self.name} must be those of {', '.join(PORTS)}, "
                            f"not of {', '.join(sorted(self.pins))}")


class Processor(wiring.Component):
    """What the fabric uses of a Zynq-7000's processing system.

    Members
    -------
    axi
        Its port M_AXI_GP0, an AXI3 master in the clock domain sync.
    clock
        The fabric's clock FCLK0; who configures the processor chooses its rate.
    reset
        High while the processor holds the fabric in reset, as Linux does while it loads one.

    Timing
    ------
    `reset` comes at any time, not with the clock.
    """

    def __init__(self) -> None:
        super().__init__({"axi": Out(Axi()), "clock": Out(1), "reset": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        w, b, r = self.axi.w, self.axi.b, self.axi.r
        clocks, resets = Signal(4, name="clocks"), Signal(4, name="resets")
        m.d.comb += [self.clock.eq(clocks[0]), self.reset.eq(~resets[0])]
        ports: dict[str, Any] = {
            "o_FCLKCLK": clocks, "o_FCLKRESETN": resets, "i_MAXIGP0ACLK": ClockSignal(),
            "o_MAXIGP0WVALID": w.valid, "i_MAXIGP0WREADY": w.ready, "o_MAXIGP0WDATA": w.data,
            "o_MAXIGP0WSTRB": w.strb, "o_MAXIGP0WLAST": w.last,
            "i_MAXIGP0BVALID": b.valid, "o_MAXIGP0BREADY": b.ready, "i_MAXIGP0BID": b.id,
            "i_MAXIGP0BRESP": b.resp,
            "i_MAXIGP0RVALID": r.valid, "o_MAXIGP0RREADY": r.ready, "i_MAXIGP0RID": r.id,
            "i_MAXIGP0RDATA": r.data, "i_MAXIGP0RRESP": r.resp, "i_MAXIGP0RLAST": r.last,
        }
        for name in ("aw", "ar"):
            burst: Any = getattr(self.axi, name)
            # AXI3 has no longer bursts, and this port nothing wider than words; of its window only
            # the map's offset counts.
            length, size = Signal(4, name=f"{name}_len"), Signal(2, name=f"{name}_size")
            address = Signal(32, name=f"{name}_addr")
            m.d.comb += [burst.len.eq(length), burst.size.eq(size), burst.addr.eq(address)]
            ports |= {f"{side}_MAXIGP0{name.upper()}{field}": wire for side, field, wire in (
                ("o", "VALID", burst.valid), ("i", "READY", burst.ready), ("o", "ID", burst.id),
                ("o", "ADDR", address), ("o", "LEN", length), ("o", "SIZE", size),
                ("o", "BURST", burst.burst))}
        m.submodules[PRIMITIVE] = Instance("PS7", **ports)
        return m


class ZynqDesign(wiring.Component):
    """The substrate in the fabric of a Zynq-7000.

    Parameters
    ----------
    image
        What the substrate holds.

    Members
    -------
    busy, ready
        A relaxation or a table check runs; the fabric is out of reset.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        super().__init__({name: Out(1) for name in PORTS})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules[PROCESSOR] = processor = Processor()
        clock = Signal()
        m.submodules.buffer = Instance("BUFG", i_I=processor.clock, o_O=clock)
        m.submodules.reset = ResetSynchronizer(processor.reset)
        m.submodules.substrate = substrate = AxiTop(self.image)
        wiring.connect(m, processor.axi, substrate.axi)
        m.d.comb += [
            ClockSignal().eq(clock),
            self.busy.eq(substrate.busy),
            self.ready.eq(~ResetSignal()),
        ]
        return m


def pin_constraints(board: ZynqBoard) -> str:
    """Return the pins of a board in Xilinx's XDC, in words that nextpnr knows too."""
    return "".join(f"set_property PACKAGE_PIN {pin.site} [get_ports {port}]\n"
                   f"set_property IOSTANDARD {pin.settings} [get_ports {port}]\n"
                   for port, pin in sorted(board.pins.items()))


def clock_constraint(clock: int) -> str:
    """Return the fabric's clock of so many Hz in Xilinx's XDC."""
    pin = f"{PROCESSOR}/{PRIMITIVE}/FCLKCLK[0]"
    return f"create_clock -name fabric -period {1e9 / clock:.3f} [get_pins {{{pin}}}]\n"

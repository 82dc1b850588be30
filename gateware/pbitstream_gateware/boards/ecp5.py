"""The design on an ECP5: the board's crystal times a PLL, a reset until that is stable, pins."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.lib.wiring import In, Out

from pbitstream.errors import SpecError
from pbitstream.spec.image import Image
from pbitstream_gateware.boards.board import Board
from pbitstream_gateware.serial_top import SerialTop

__all__ = ["Dividers", "Pll", "SerialBoard", "dividers"]

#: Limits of the PLL in Hz: its phase detector at least, and its oscillator.
LEAST_DETECTOR = 3_125_000
OSCILLATOR = range(400_000_000, 800_000_001)
#: The oscillator frequency that is preferred, far from both limits.
MIDDLE = 600_000_000
#: The largest divider.
MOST = 128


@dataclass(frozen=True)
class Dividers:
    """Of a PLL: clock = crystal * feedback / reference, and its oscillator = clock * output."""

    reference: int
    feedback: int
    output: int


def dividers(crystal: int, clock: int) -> Dividers:
    """Return the dividers that make a clock of exactly so many Hz of a crystal's.

    Raises
    ------
    SpecError
        If there are none.
    """
    for reference in range(1, crystal // LEAST_DETECTOR + 1):
        feedback, rest = divmod(clock * reference, crystal)
        outputs = [n for n in range(1, MOST + 1) if clock * n in OSCILLATOR]
        if not rest and 1 <= feedback <= MOST and outputs:
            return Dividers(reference, feedback,
                            min(outputs, key=lambda n: abs(clock * n - MIDDLE)))
    raise SpecError(f"clock must be one that the PLL makes of {crystal / 1e6:g} MHz exactly, such "
                    f"as 75 or 80 MHz, not {clock / 1e6:g} MHz")


class Pll(wiring.Component):
    """An ECP5's PLL with one output.

    Parameters
    ----------
    crystal, clock
        In Hz.

    Members
    -------
    i, o
        The crystal's clock and the faster one.
    locked
        `o` is stable.
    """

    def __init__(self, crystal: int, clock: int) -> None:
        self.crystal, self.clock = crystal, clock
        self.dividers = dividers(crystal, clock)
        super().__init__({"i": In(1), "o": Out(1), "locked": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        made = Signal()
        m.d.comb += self.o.eq(made)
        m.submodules.primitive = Instance(
            "EHXPLLL",
            # Loop filter; what Lattice's tool chooses for an oscillator in this range.
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            a_FREQUENCY_PIN_CLKI=f"{self.crystal / 1e6:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self.clock / 1e6:g}",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_FPHASE=0, p_FEEDBK_PATH="CLKOP",
            p_CLKI_DIV=self.dividers.reference, p_CLKFB_DIV=self.dividers.feedback,
            p_CLKOP_DIV=self.dividers.output, p_CLKOP_CPHASE=self.dividers.output // 2,
            i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=1, i_PHASESTEP=1,
            i_PHASELOADREG=1, i_PLLWAKESYNC=0, i_ENCLKOP=0,
            i_CLKI=self.i, i_CLKFB=made, o_CLKOP=made, o_LOCK=self.locked,
        )
        return m


class SerialBoard(wiring.Component):
    """The substrate behind a board's pins.

    Parameters
    ----------
    board
        What it has.
    image
        What the substrate holds.
    clock
        Of the substrate, in Hz; see `dividers`.

    Members
    -------
    clk
        The crystal.
    rx, tx
        The serial line, to the chip and from it.
    busy, ready
        A relaxation or a table check runs; the clock is stable.

    And an output for each of `board.high`.

    Timing
    ------
    In reset until the PLL has locked, and whenever it loses its lock.
    """

    def __init__(self, board: Board, image: Image, clock: int) -> None:
        self.board, self.image, self.clock = board, image, clock
        super().__init__({
            "clk": In(1), "rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1),
            "ready": Out(1), **{name: Out(1, init=1) for name in board.high},
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.pll = pll = Pll(self.board.crystal, self.clock)
        m.submodules.reset = ResetSynchronizer(~pll.locked)
        m.submodules.serial = serial = SerialTop(self.image, self.clock)
        m.d.comb += [
            pll.i.eq(self.clk),
            ClockSignal().eq(pll.o),
            serial.rx.eq(self.rx),
            self.tx.eq(serial.tx),
            self.busy.eq(serial.busy),
            self.ready.eq(pll.locked),
        ]
        return m

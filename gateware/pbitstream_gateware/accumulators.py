"""The window: sums of what a relaxation shows, and of its squares if asked for."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from pbitstream.spec.image import Image
from pbitstream.spec.words import EXPOSED, SQUARE_BITS, SUM_BITS
from pbitstream_gateware.memory import ReadoutMemory
from pbitstream_gateware.pipeline import delayed, register
from pbitstream_gateware.ports import WindowPort, broadcast
from pbitstream_gateware.updater import UnitUpdate

__all__ = ["WindowAccumulators"]


class WindowAccumulators(wiring.Component):
    """sum <- sum + value and square <- square + value², for the units of one update pipe.

    Parameters
    ----------
    image, slots, part
        What the design holds; the slots of this pipe; the further arguments of its memories.

    Members
    -------
    valid, unit, value
        A unit and what it adds: X, or m of a p-bit. Nothing is added before the window; the
        prologue sets both sums to 0.
    moments
        Squares are summed.
    idle, page, host
        The windows on the sums.

    Timing
    ------
    A unit per cycle; sums are stored 3 cycles later, squares 5. The same unit may come again after
    8 cycles.

    Numerics
    --------
    s40 and u56 hold the longest window exactly (numerics, section 8).
    """

    def __init__(self, image: Image, slots: int, part: dict[str, int]) -> None:
        self.sums = ReadoutMemory("sums", signed(SUM_BITS), slots, **part)
        self.squares = ReadoutMemory("squares", unsigned(SQUARE_BITS), slots, **part)
        super().__init__({
            "valid": In(1),
            "unit": In(UnitUpdate(image)),
            "value": In(signed(EXPOSED.bits)),
            "moments": In(1),
            "idle": In(1),
            "page": In(1),
            "host": In(WindowPort()),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.sums, m.submodules.squares = self.sums, self.squares
        broadcast(m, self.host, [self.sums.host, self.squares.host])
        valid, unit = Signal(2), self.unit
        m.d.sync += valid.eq(Cat(self.valid, valid))
        self._add(m, "sums", self.valid, unit, self.value, self.valid)
        square = delayed(m, register(m, self.value * self.value, "square"), 1, "square")
        self._add(m, "squares", valid[1], delayed(m, unit, 2, "unit"), square, self.moments)
        return m

    def _add(self, m: Module, name: str, valid: Any, unit: Any, value: Any, asked: Any) -> None:
        """Read the sum in the first cycle, hold it in the second, add in the third, store."""
        sums = getattr(self, name)
        slot = Cat(unit.lane, unit.row)
        changes, slot_late = Signal(3, name=f"{name}_changes"), delayed(m, slot, 3, f"{name}_slot")
        init = delayed(m, unit.init, 2, f"{name}_init")
        m.d.sync += changes.eq(Cat(valid & (unit.init | unit.window & asked), changes))
        held = delayed(m, sums.data, 1, f"{name}_held")
        total = register(m, Mux(init, 0, held + delayed(m, value, 2, f"{name}_value")),
                         f"{name}_total", sums.shape)
        m.d.comb += [
            sums.idle.eq(self.idle),
            sums.page.eq(self.page),
            sums.address.eq(slot),
            sums.write.eq(changes[-1]),
            sums.write_address.eq(slot_late),
            sums.write_data.eq(total),
        ]

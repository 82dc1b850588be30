"""The updater: hands finished rows of fields, unit by unit, to the update pipes."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.instructions import MODULE
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.timing import RETIRE_STAGE, RING, SUM_STAGE
from pbitstream_gateware.memory import WindowMemory
from pbitstream_gateware.pipeline import delayed
from pbitstream_gateware.ports import WindowPort
from pbitstream_gateware.seeder import SPIN_ROWS
from pbitstream_gateware.sequencer import RowUpdate

__all__ = ["Constants", "UnitUpdate", "Updater"]

#: Bits of a row of 128 units in its module.
SPIN_ROW_BITS = ceil_log2(SPIN_ROWS)


class Constants(data.StructLayout):
    """The constants of a module; see `pbitstream.spec.instructions.MODULE`."""

    def __init__(self) -> None:
        super().__init__({name: unsigned(bits) for name, bits in MODULE.items()})


class UnitUpdate(data.StructLayout):
    """One unit per pipe on its way: that at place `lane` of the pipe's lanes in slot row `row`.

    `stream` is its noise stream among the pipe's, `spin_row` its row of 128 units in the module.
    """

    def __init__(self, image: Image) -> None:
        super().__init__({
            "row": unsigned(ceil_log2(image.rows)),
            "lane": unsigned(ceil_log2(image.lanes // image.pipes)),
            "stream": unsigned(ceil_log2(STREAMS // image.pipes)),
            "spin_row": unsigned(SPIN_ROW_BITS),
            "init": unsigned(1),
            "window": unsigned(1),
            "copy": unsigned(1),
            "constants": Constants(),
        })


class Updater(wiring.Component):
    """Queue of rows, and the walk through the units of each.

    Members
    -------
    push, update
        A row whose ``update`` instruction is issued now (stage 0).
    slot
        The ring slot its fields go to, at stage SUM_STAGE.
    page, idle, host
        The window on the constants of modules.
    flush
        Forget all rows; held until those that are on their way to the queue have arrived.
    take, unit, valid
        Ring slot, unit and one bit per pipe: whether the pipe has a unit there.
    freed, retired
        Pulses: the ring slot was free a cycle ago; the row's exposed states can be read by an
        issue COUNT_STAGES cycles later.

    Timing
    ------
    Two cycles per row and one per unit and pipe. A row is queued at stage SUM_STAGE + 1.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        super().__init__({
            "push": In(1),
            "update": In(RowUpdate(image)),
            "slot": Out(ceil_log2(RING)),
            "page": In(1),
            "idle": In(1),
            "host": In(WindowPort()),
            "flush": In(1),
            "take": Out(ceil_log2(RING)),
            "unit": Out(UnitUpdate(image)),
            "valid": Out(1).array(image.pipes),
            "freed": Out(1),
            "retired": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = self.image
        per_pipe = image.lanes // image.pipes
        m.submodules.modules = constants = WindowMemory(
            "modules", unsigned(64), image.max_modules, pages=2)
        wiring.connect(m, wiring.flipped(self.host), constants.host)
        m.submodules.queue = queue = memory.Memory(
            shape=RowUpdate(image), depth=RING, init=[])
        enter, leave = queue.write_port(), queue.read_port(domain="comb")
        head, tail, level = Signal(range(RING)), Signal(range(RING)), Signal(range(RING + 1))
        # Where pulses are under way, unlike data, a reset matters.
        coming, pushed, left = Signal(SUM_STAGE), Signal(), Signal()
        m.d.sync += coming.eq(Cat(self.push, coming))
        m.d.comb += [
            pushed.eq(coming[-1]),
            self.slot.eq(head),
            enter.en.eq(pushed),
            enter.addr.eq(head),
            enter.data.eq(delayed(m, self.update, SUM_STAGE, "update")),
            leave.addr.eq(tail),
            constants.page.eq(self.page),
            constants.idle.eq(self.idle),
            constants.address.eq(leave.data.module),
        ]
        m.d.sync += [
            head.eq(head + pushed),
            tail.eq(tail + left),
            level.eq(level + pushed - left),
            self.freed.eq(left),
        ]

        row = Signal(RowUpdate(image), reset_less=True)
        of = Signal(Constants(), reset_less=True)
        place, end = Signal(range(per_pipe)), Signal()
        walking = Signal()
        m.d.comb += end.eq((place == per_pipe - 1) | (place == row.rest))
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [row.eq(leave.data), place.eq(0)]
                with m.If((level != 0) & ~self.flush):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += of.eq(constants.data)
                with m.If(self.flush):
                    m.next = "IDLE"
                with m.Else():
                    m.next = "WALK"
            with m.State("WALK"):
                m.d.comb += [walking.eq(1), left.eq(end)]
                m.d.sync += place.eq(place + 1)
                with m.If(end | self.flush):
                    m.next = "IDLE"
        with m.If(self.flush):
            m.d.sync += [head.eq(0), tail.eq(0), level.eq(0), self.freed.eq(0)]

        # Streams and rows of streams follow from the unit's index in its module.
        lane_bits = ceil_log2(image.lanes)
        stream_bits = ceil_log2(STREAMS)
        m.d.comb += [
            self.take.eq(tail),
            self.unit.row.eq(row.row),
            self.unit.lane.eq(place),
            self.unit.stream.eq(Cat(place, row.first[lane_bits:stream_bits])),
            self.unit.spin_row.eq(row.first[stream_bits:]),
            self.unit.init.eq(row.init),
            self.unit.window.eq(row.window),
            self.unit.copy.eq(row.copy),
            self.unit.constants.eq(of),
        ]
        for pipe in range(image.pipes):
            m.d.comb += self.valid[pipe].eq(walking & (pipe * per_pipe + place <= row.rest))
        walked = Signal(RETIRE_STAGE)
        m.d.sync += walked.eq(Cat(left, walked))
        m.d.comb += self.retired.eq(walked[-1])
        return m

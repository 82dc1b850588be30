"""What stands between the two halves of a low-rank bank: from a sum over lanes to a result."""

from typing import Any

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.instructions import KIND_FIELDS
from pbitstream.spec.timing import (
    RESULT_STAGE,
    RESULTS_STAGE,
    SUM_STAGE,
    TREE_STAGES,
    WRITTEN_STAGE,
)
from pbitstream.spec.words import GAIN, GAIN_SHIFTS, PROJECTION_BITS, PROJECTION_SHIFTS
from pbitstream_gateware.fixed import sat
from pbitstream_gateware.lane import ACCUMULATOR_BITS
from pbitstream_gateware.memory import WindowMemory
from pbitstream_gateware.pipeline import delayed, rounded_shift
from pbitstream_gateware.ports import WindowPort

__all__ = ["Component", "Projection"]


class Component(data.StructLayout):
    """A rank component under way: its gain, its result, its two shifts."""

    def __init__(self, image: Image) -> None:
        super().__init__({
            "gain": unsigned(ceil_log2(image.max_gains)),
            "result": unsigned(ceil_log2(2 * image.max_gains)),
            "shift_z": unsigned(KIND_FIELDS["project"]["shift_z"]),
            "shift_u": unsigned(KIND_FIELDS["project"]["shift_u"]),
        })


class Projection(wiring.Component):
    """Requantise projections: ``z = sat(rhu(total, shift_z), 16)``, ``u = sat(rhu(S z, shift_u))``.

    Members
    -------
    start, component
        A projection whose last multiplication is issued now (stage 0), and what to do with it.
    total
        Its sum, at stage SUM_STAGE + TREE_STAGES.
    page, idle, host
        The window on the gains S.
    read, result
        Address of a result at stage 0; the result at stage RESULTS_STAGE.
    written
        A result will be readable by an issue COUNT_STAGES cycles after this pulse.
    clips
        Clips of z and of u, a cycle each.

    Timing
    ------
    One per cycle, no stalls; a result can be read RESULT_STAGE cycles after `start`.

    Numerics
    --------
    Section 2 of numerics; exact up to the two roundings. Twin: `Chain._add_low_rank` of the oracle.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        address = ceil_log2(2 * image.max_gains)
        super().__init__({
            "start": In(1),
            "component": In(Component(image)),
            "total": In(signed(ACCUMULATOR_BITS)),
            "page": In(1),
            "idle": In(1),
            "host": In(WindowPort()),
            "read": In(address),
            "result": Out(signed(PROJECTION_BITS)),
            "written": Out(1),
            "clips": Out(1).array(2),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        first = SUM_STAGE + TREE_STAGES
        # Everything moves every cycle; only what counts or writes needs to know what is valid.
        valid, component = [self.start], [self.component]
        for stage in range(1, RESULT_STAGE):
            valid.append(Signal(name=f"valid_{stage}"))
            component.append(Signal(Component(self.image), name=f"component_{stage}",
                                    reset_less=True))
            m.d.sync += [valid[-1].eq(valid[-2]), component[-1].eq(component[-2])]

        wide = rounded_shift(m, self.total, component[first].shift_z, PROJECTION_SHIFTS, "z")
        narrow, clipped = sat(wide, PROJECTION_BITS)
        z = Signal(signed(PROJECTION_BITS), reset_less=True)
        m.d.sync += [z.eq(narrow), self.clips[0].eq(clipped & valid[first + 2])]

        m.submodules.gains = gains = WindowMemory(
            "gains", signed(GAIN.bits), self.image.max_gains, pages=2)
        wiring.connect(m, wiring.flipped(self.host), gains.host)
        m.d.comb += [
            gains.page.eq(self.page),
            gains.idle.eq(self.idle),
            gains.address.eq(component[first + 2].gain),
        ]
        z_late = delayed(m, z, 1, "z")
        gain = delayed(m, gains.data, 1, "gain")
        product = Signal(signed(GAIN.bits + PROJECTION_BITS), reset_less=True)
        m.d.sync += product.eq(gain * z_late)
        scaled = delayed(m, product, 1, "product")
        wide_u = rounded_shift(m, scaled, component[first + 6].shift_u, GAIN_SHIFTS, "u")
        narrow_u, clipped_u = sat(wide_u, PROJECTION_BITS)
        u = Signal(signed(PROJECTION_BITS), reset_less=True)
        m.d.sync += [u.eq(narrow_u), self.clips[1].eq(clipped_u & valid[first + 8])]

        m.submodules.results = results = memory.Memory(
            shape=signed(PROJECTION_BITS), depth=2 * self.image.max_gains, init=[])
        read, write = results.read_port(), results.write_port()
        m.d.comb += [
            write.en.eq(valid[-1]),
            write.addr.eq(component[-1].result),
            write.data.eq(u),
            read.addr.eq(delayed(m, self.read, RESULTS_STAGE - 1, "read")),
            self.result.eq(read.data),
            self.written.eq(valid[WRITTEN_STAGE]),
        ]
        assert RESULT_STAGE == first + 10
        return m

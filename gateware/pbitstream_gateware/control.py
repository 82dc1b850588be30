"""Start, run, stop: the life of a relaxation, and what is counted in it."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.registers import OPTIONS
from pbitstream_gateware.registers import WORD_BITS

__all__ = ["Controller", "counted"]

#: Bits of `cycles` and `multiplying`.
TIME_BITS = 64


def counted(m: Module, events: Value, clear: Value, bits: int, name: str) -> Signal:
    """Return a counter of the ones in `events` that sticks at its top."""
    count = Signal(bits, name=name)
    after = count + sum(event for event in events)
    with m.If(clear):
        m.d.sync += count.eq(0)
    with m.Else():
        m.d.sync += count.eq(Mux(after[bits:].any(), (1 << bits) - 1, after))
    return count


class Controller(wiring.Component):
    """Take starts and stops, seed if asked to, run the sequencer, turn the input page.

    Members
    -------
    go, stop
        Pulses: a start that was granted, while nothing runs; break off whatever runs.
    options
        The register.
    running
        From the cycle after `go` until everything is at rest.
    page
        The active input page.
    moments, keep
        Options of the relaxation that runs.
    seed, seeding
        Start of the seeder, and whether it is busy.
    sequence, sequencing
        Start of the sequencer, and whether it is busy.
    cycles, multiplying, multiplied
        Clock cycles of the relaxation, and those with the pulse `multiplied`.

    Timing
    ------
    The sequencer starts at least two cycles after `running` rises, so that memories have turned
    from the host to the design.
    """

    def __init__(self) -> None:
        super().__init__({
            "go": In(1),
            "stop": In(1),
            "options": In(WORD_BITS),
            "running": Out(1),
            "page": Out(1),
            "moments": Out(1),
            "keep": Out(1),
            "seed": Out(1),
            "seeding": In(1),
            "sequence": Out(1),
            "sequencing": In(1),
            "multiplied": In(1),
            "cycles": Out(TIME_BITS),
            "multiplying": Out(TIME_BITS),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        option = {name: self.options[bit] for bit, name in enumerate(OPTIONS)}
        idle = Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                with m.If(self.go):
                    m.d.sync += [
                        self.page.eq(self.page ^ ~option["keep_page"]),
                        self.moments.eq(option["moments"]),
                        self.keep.eq(option["keep_state"]),
                    ]
                    m.next = "SEED"
            with m.State("SEED"):
                m.d.comb += self.seed.eq(~self.keep)
                m.next = "SEEDING"
                with m.If(self.stop):
                    m.next = "IDLE"
            with m.State("SEEDING"):
                with m.If(self.stop):
                    m.next = "IDLE"
                with m.Elif(~self.seeding):
                    m.next = "SEQUENCE"
            with m.State("SEQUENCE"):
                m.d.comb += self.sequence.eq(~self.stop)
                m.next = "SEQUENCING"
            with m.State("SEQUENCING"):
                with m.If(~self.sequencing):
                    m.next = "IDLE"
        m.d.comb += self.running.eq(~idle)
        m.d.comb += [
            self.cycles.eq(counted(m, self.running, self.go, TIME_BITS, "clocks")),
            self.multiplying.eq(counted(m, self.multiplied, self.go, TIME_BITS, "multiplied")),
        ]
        return m

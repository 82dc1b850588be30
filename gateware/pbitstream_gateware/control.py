"""Start, run, stop: the life of a relaxation, and what is counted in it."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.registers import OPTIONS
from pbitstream_gateware.registers import WORD_BITS

__all__ = ["Controller", "clocked", "counted"]

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


def clocked(m: Module, event: Value, clear: Value, name: str) -> Value:
    """Return a count of cycles with `event`, in halves of which the high one is a cycle late.

    So a cycle carries through 32 bits only, and nothing sticks: no run lasts for 2^64 cycles.
    """
    low, high = (Signal(TIME_BITS // 2, name=f"{name}_{half}") for half in ("low", "high"))
    carry = Signal(name=f"{name}_carry")
    m.d.sync += [Cat(low, carry).eq(low + event), high.eq(high + carry)]
    with m.If(clear):
        m.d.sync += [low.eq(0), high.eq(0), carry.eq(0)]
    return Cat(low, high)


class Controller(wiring.Component):
    """Take starts and stops, seed if asked to, run the sequencer, turn the pages.

    Members
    -------
    go, stop
        Pulses: a start that was granted, while nothing runs; break off whatever runs.
    options
        The register.
    running, idle
        From the cycle after `go` until everything is at rest; the opposite, a cycle late, which
        spares the many memories that turn with it a long way.
    input_page, readout_page
        The pages of the relaxation that runs, or ran last.
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
    The sequencer starts at least two cycles after `idle` falls, so that memories have turned from
    the host to the design.
    """

    def __init__(self) -> None:
        super().__init__({
            "go": In(1),
            "stop": In(1),
            "options": In(WORD_BITS),
            "running": Out(1),
            "idle": Out(1, init=1),
            "input_page": Out(1),
            "readout_page": Out(1),
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
        resting = Signal()
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += resting.eq(1)
                with m.If(self.go):
                    m.d.sync += [
                        self.input_page.eq(self.input_page ^ ~option["keep_page"]),
                        self.readout_page.eq(self.readout_page ^ ~option["keep_readout"]),
                        self.moments.eq(option["moments"]),
                        self.keep.eq(option["keep_state"]),
                    ]
                    m.next = "TURN"
            with m.State("TURN"):
                m.next = "SEED"
                with m.If(self.stop):
                    m.next = "IDLE"
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
        m.d.comb += [
            self.running.eq(~resting),
            self.cycles.eq(clocked(m, self.running, self.go, "clocks")),
            self.multiplying.eq(clocked(m, self.multiplied, self.go, "multiplied")),
        ]
        m.d.sync += self.idle.eq(resting)
        return m

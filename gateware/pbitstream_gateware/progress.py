"""What is under way behind the sequencer, and what has been done: the answers to every wait."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.instructions import COMMON, KIND_FIELDS
from pbitstream.spec.timing import RING

__all__ = ["Progress", "Waits"]

COUNT_BITS = COMMON["wait"]


class Waits(data.StructLayout):
    """What an instruction waits for."""

    def __init__(self) -> None:
        super().__init__({"updates": signed(COMMON["wait"]),
                          "results": unsigned(KIND_FIELDS["expand"]["wait_results"])})


class Progress(wiring.Component):
    """Count rows and projections: those begun, those done since the step began.

    A wait is over when enough is done, or when nothing is under way that could end it: no
    instruction, however wrong, can wait for ever. The answers are registers, since they decide
    whether an instruction issues: they are about the counts of the cycle before. That is safe,
    because counts of what is done only rise within a step.

    Attributes
    ----------
    updating, projecting, occupied
        Rows not yet updated, projections not yet written, ring slots not yet free.

    Members
    -------
    clear
        Forget everything.
    push, project, new_step
        A row goes to the updater; a rank component to the projection unit; the step ends with this
        cycle.
    retired, freed, written
        Pulses: a row has been updated; a ring slot is free; a result has been written.
    take
        The wait of the next cycle is the one upcoming, else the one at hand.
    waits, upcoming_waits
        Of the instruction at hand and of the next: rows that must have been updated, less those of
        the steps before, and results of this step that must have been written.
    updates_ready, results_ready
        Whether they have, a cycle late.
    room, settled
        A ring slot is free; no row is under way.
    """

    def __init__(self) -> None:
        self.updating, self.projecting = Signal(COUNT_BITS), Signal(COUNT_BITS)
        self.occupied = Signal(range(RING + 1))
        super().__init__({
            "clear": In(1),
            "push": In(1),
            "project": In(1),
            "new_step": In(1),
            "retired": In(1),
            "freed": In(1),
            "written": In(1),
            "take": In(1),
            "waits": In(Waits()),
            "upcoming_waits": In(Waits()),
            "updates_ready": Out(1),
            "results_ready": Out(1),
            "room": Out(1),
            "settled": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        updating, projecting, occupied = self.updating, self.projecting, self.occupied
        # Done in this step, less what the steps before still had under way when it began.
        updated, results = Signal(signed(COUNT_BITS + 1)), Signal(signed(COUNT_BITS + 1))
        pushed, projected = Signal(COUNT_BITS), Signal(COUNT_BITS)
        # Both waits are compared at once, since `take` comes late in the cycle.
        waits = self.waits, self.upcoming_waits
        updates_done = [updated >= wait.updates for wait in waits]
        results_done = [results >= wait.results for wait in waits]
        m.d.sync += [
            self.updates_ready.eq(Mux(self.take, updates_done[1], updates_done[0])
                                  | (updating == 0) & ~self.push),
            self.results_ready.eq(Mux(self.take, results_done[1], results_done[0])
                                  | (projecting == 0) & ~self.project),
        ]
        m.d.comb += [
            self.room.eq(occupied != RING),
            self.settled.eq(updating == 0),
        ]
        # `push` and `project` come late in the cycle, so they choose among sums.
        for count, up, down in ((updating, self.push, self.retired),
                                (projecting, self.project, self.written),
                                (occupied, self.push, self.freed)):
            m.d.sync += count.eq(Mux(up, count + 1 - down, count - down))
        for count, up, total, more in ((pushed, self.push, updated, self.retired),
                                       (projected, self.project, results, self.written)):
            m.d.sync += [
                count.eq(Mux(self.new_step, 0, Mux(up, count + 1, count))),
                total.eq(Mux(self.new_step, Mux(up, total - count - 1 + more,
                                                total - count + more), total + more)),
            ]
        with m.If(self.clear):
            m.d.sync += [count.eq(0) for count in (updating, projecting, occupied, pushed,
                                                   projected, updated, results)]
        return m

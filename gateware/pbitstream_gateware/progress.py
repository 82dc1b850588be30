"""What is under way behind the sequencer, and what has been done: the answers to every wait."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.instructions import COMMON, KIND_FIELDS
from pbitstream.spec.timing import RING

__all__ = ["Progress"]

COUNT_BITS = COMMON["wait"]


class Progress(wiring.Component):
    """Count rows and projections: those begun, those done since the step began.

    A wait is over when enough is done, or when nothing is under way that could end it: no
    instruction, however wrong, can wait for ever.

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
    wait, updates_ready
        Rows that must have been updated, less those of the steps before; whether they have.
    wait_results, results_ready
        Likewise results of this step.
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
            "wait": In(signed(COMMON["wait"])),
            "updates_ready": Out(1),
            "wait_results": In(KIND_FIELDS["expand"]["wait_results"]),
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
        m.d.comb += [
            self.updates_ready.eq((updated >= self.wait) | (updating == 0)),
            self.results_ready.eq((results >= self.wait_results) | (projecting == 0)),
            self.room.eq(occupied != RING),
            self.settled.eq(updating == 0),
        ]
        m.d.sync += [
            updating.eq(updating + self.push - self.retired),
            projecting.eq(projecting + self.project - self.written),
            occupied.eq(occupied + self.push - self.freed),
            pushed.eq(Mux(self.new_step, 0, pushed + self.push)),
            projected.eq(Mux(self.new_step, 0, projected + self.project)),
            updated.eq(updated - Mux(self.new_step, pushed + self.push, 0) + self.retired),
            results.eq(results - Mux(self.new_step, projected + self.project, 0) + self.written),
        ]
        with m.If(self.clear):
            m.d.sync += [count.eq(0) for count in (updating, projecting, occupied, pushed,
                                                   projected, updated, results)]
        return m

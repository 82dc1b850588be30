"""The sequencer: walks the instructions of a program and issues one multiplication per cycle."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.instructions import KIND_FIELDS, KINDS
from pbitstream.spec.words import MAX_BURN_IN, MAX_STEPS
from pbitstream_gateware.array import Issue
from pbitstream_gateware.fetch import Fetch
from pbitstream_gateware.memory import WindowMemory
from pbitstream_gateware.ports import WindowPort
from pbitstream_gateware.progress import Progress
from pbitstream_gateware.projection import Component

__all__ = ["FLUSH_CYCLES", "RowUpdate", "Sequencer"]

#: Cycles after the last row update, or after a stop, in which every pipeline runs empty.
FLUSH_CYCLES = 64


class RowUpdate(data.StructLayout):
    """A row of finished fields on its way to the update pipes.

    Slot row, module, index of the row's first unit in its module, units of the module from there
    on less 1, whether this gives the first state, whether it counts in the window, and the copy of
    the exposed states to write.
    """

    def __init__(self, image: Image) -> None:
        update = KIND_FIELDS["update"]
        super().__init__({
            "row": unsigned(ceil_log2(image.rows)),
            "module": unsigned(ceil_log2(image.max_modules)),
            "first": unsigned(update["dim"]),
            "rest": unsigned(update["dim"]),
            "init": unsigned(1),
            "window": unsigned(1),
            "copy": unsigned(1),
        })


class Sequencer(wiring.Component):
    """Prologue, then steps; see `pbitstream.spec.instructions` for what an instruction does.

    Parameters
    ----------
    image
        What the design holds.
    store
        The memory of the instructions; see `Fetch`.

    Attributes
    ----------
    progress
        The counts that instructions wait for.
    silence, lost
        Cycles of the flush that have passed; whether the machine is in none of its states.

    Members
    -------
    start, stop
        Pulses: begin a relaxation of `burn_in` + `steps` steps; break it off.
    steps, burn_in
        Held while it runs.
    busy
        From the cycle after `start` until every pipeline has run empty.
    flush
        Nothing more is issued, and what waits is forgotten: the last FLUSH_CYCLES of `busy`.
    page, idle, host
        The window on the instructions.
    issue
        To the lanes, stage 0.
    project, component
        To the projection unit, with the last multiplication of a rank component.
    read
        To the projection unit: the result to broadcast.
    update
        A row for the updater, with its issue; `issue.update` says when.
    written, retired, freed
        Pulses: a result is readable, a row update is written, a ring slot is free.
    multiplying
        This issue multiplies.

    Timing
    ------
    One issue per cycle; two cycles lost when a group repeats and when a step ends. An instruction
    that must wait issues nothing. It never waits when nothing is under way that could end the
    wait, so no program can stop it.
    """

    def __init__(self, image: Image, store: WindowMemory | None = None) -> None:
        self.image = image
        self.fetch, self.progress = Fetch(image, store), Progress()
        self.silence, self.lost = Signal(range(FLUSH_CYCLES)), Signal()
        super().__init__({
            "start": In(1),
            "stop": In(1),
            "steps": In(range(MAX_STEPS + 1)),
            "burn_in": In(range(MAX_BURN_IN + 1)),
            "busy": Out(1),
            "flush": Out(1),
            "page": In(1),
            "idle": In(1),
            "host": In(WindowPort()),
            "issue": Out(Issue(image), init={"broadcast": 1}),
            "project": Out(1),
            "component": Out(Component(image)),
            "read": Out(ceil_log2(2 * image.max_gains)),
            "update": Out(RowUpdate(image)),
            "written": In(1),
            "retired": In(1),
            "freed": In(1),
            "multiplying": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = self.image
        m.submodules.fetch = fetch = self.fetch
        m.submodules.progress = progress = self.progress
        wiring.connect(m, wiring.flipped(self.host), fetch.host)
        m.d.comb += [fetch.page.eq(self.page), fetch.idle.eq(self.idle)]

        # The instruction at hand; `group_row` is t, `component` is c, `row` is r.
        common, of = fetch.word.common, fetch.word.of
        kind = {name: common.kind == code for name, code in KINDS.items()}
        group_row, component = Signal(len(common.rows)), Signal(len(of.project.count))
        row, address = Signal(len(common.rows)), Signal(len(common.table))
        last_row = Signal()
        last_component = component == of.project.count
        m.d.comb += last_row.eq(Mux(kind["project"], row, group_row) == common.rows)

        # It issues in this cycle if it waits for nothing; it waits before its first issue only.
        running, ready, go = Signal(), Signal(), Signal()
        push, project = Signal(), Signal()
        m.d.comb += [
            ready.eq(Mux(kind["expand"], progress.results_ready, progress.updates_ready)),
            go.eq(running & fetch.held & (ready | ~fetch.fresh)
                  & (progress.room | ~kind["update"])),
            push.eq(go & kind["update"]),
            project.eq(go & kind["project"] & last_row),
            fetch.step.eq(go),
            progress.push.eq(push),
            progress.project.eq(project),
            progress.take.eq(fetch.take),
            progress.retired.eq(self.retired),
            progress.freed.eq(self.freed),
            progress.written.eq(self.written),
        ]
        for waits, word in ((progress.waits, fetch.word),
                            (progress.upcoming_waits, fetch.upcoming)):
            m.d.comb += [waits.updates.eq(word.common.wait),
                         waits.results.eq(word.of.expand.wait_results)]
        repeat, step_end = Signal(), Signal()

        # One cycle of it.
        base = common.table + Mux(kind["project"], 0, group_row)
        table = Mux(fetch.fresh, base[: len(address)], address)
        stride = Mux(kind["expand"], common.rows + 1, 1)
        with m.If(go):
            m.d.sync += address.eq(table + stride)
            with m.Switch(common.kind):
                with m.Case(KINDS["project"]):
                    m.d.sync += row.eq(Mux(last_row, 0, row + 1))
                    with m.If(last_row):
                        m.d.sync += component.eq(Mux(last_component, 0, component + 1))
                    m.d.comb += fetch.done.eq(last_row & last_component)
                with m.Case(KINDS["expand"]):
                    m.d.sync += component.eq(Mux(last_component, 0, component + 1))
                    m.d.comb += fetch.done.eq(last_component)
                with m.Case(KINDS["band"]):
                    m.d.comb += fetch.done.eq(1)
                with m.Case(KINDS["update"]):
                    m.d.sync += group_row.eq(Mux(last_row, 0, group_row + 1))
                    m.d.comb += [
                        repeat.eq(~last_row),
                        step_end.eq(last_row & of.update.last),
                        fetch.done.eq(last_row & ~of.update.last),
                    ]

        parity, prologue = Signal(), Signal()
        copy = Array([0, parity, ~parity, 0])[common.copy]
        source_row = common.row + Mux(kind["project"], row, group_row)
        first = Mux(kind["project"], row == 0, common.clear & fetch.fresh)
        burning, remaining = Signal.like(self.burn_in), Signal.like(self.steps)
        m.d.sync += [
            self.issue.broadcast.eq(~go | kind["expand"] | kind["update"]),
            self.issue.expand.eq(go & kind["expand"]),
            self.issue.clear.eq(go & first),
            self.issue.project.eq(project),
            self.issue.update.eq(push),
            self.issue.copy.eq(copy),
            self.issue.row.eq(source_row),
            self.issue.rotate.eq(Mux(kind["band"], of.band.rotate, 0)),
            self.issue.table.eq(table),
            self.project.eq(project),
            self.component.gain.eq(of.project.gain + component),
            self.component.result.eq(of.project.result + component),
            self.component.shift_z.eq(of.project.shift_z),
            self.component.shift_u.eq(of.project.shift_u),
            self.read.eq(of.expand.result + component),
            self.update.row.eq(source_row),
            self.update.module.eq(of.update.module),
            self.update.first.eq(group_row << ceil_log2(image.lanes)),
            self.update.rest.eq(of.update.dim - (group_row << ceil_log2(image.lanes))),
            self.update.init.eq(prologue),
            self.update.window.eq(~prologue & (burning == 0)),
            self.update.copy.eq(Mux(prologue, 0, ~parity)),
            self.multiplying.eq(go & ~kind["update"]),
        ]

        # Prologue, steps, and the silence after each.
        begin = Signal.like(fetch.address)
        silence = self.silence
        # Where to, if it jumps; that it does is known later in the cycle.
        m.d.comb += fetch.target.eq(of.update.group)
        with m.If(repeat):
            m.d.comb += fetch.jump.eq(1)
        with m.FSM() as states:
            with m.State("IDLE"):
                m.d.comb += [fetch.jump.eq(1), fetch.target.eq(0), progress.clear.eq(1)]
                m.d.sync += [
                    group_row.eq(0), component.eq(0), row.eq(0), parity.eq(0), silence.eq(0),
                    prologue.eq(1), burning.eq(self.burn_in), remaining.eq(self.steps),
                ]
                with m.If(self.start):
                    m.next = "PROLOGUE"
            with m.State("PROLOGUE"):
                m.d.comb += running.eq(1)
                with m.If(step_end):
                    m.d.comb += [fetch.jump.eq(1), progress.new_step.eq(1)]
                    m.d.sync += begin.eq(fetch.address + 1)
                    m.next = "SETTLE"
                self._heed_stop(m)
            with m.State("SETTLE"):
                m.d.comb += [fetch.jump.eq(1), fetch.target.eq(begin)]
                m.d.sync += prologue.eq(0)
                with m.If(progress.settled):
                    m.next = "STEP"
                self._heed_stop(m)
            with m.State("STEP"):
                m.d.comb += running.eq(1)
                with m.If(last_row):
                    m.d.comb += fetch.target.eq(begin)
                with m.If(step_end):
                    m.d.comb += [fetch.jump.eq(1), progress.new_step.eq(1)]
                    m.d.sync += parity.eq(~parity)
                    with m.If(burning != 0):
                        m.d.sync += burning.eq(burning - 1)
                    with m.Else():
                        m.d.sync += remaining.eq(remaining - 1)
                        with m.If(remaining == 1):
                            m.next = "LAST"
                self._heed_stop(m)
            with m.State("LAST"):
                m.d.comb += [fetch.jump.eq(1), fetch.target.eq(0)]
                with m.If(progress.settled):
                    m.next = "FLUSH"
                self._heed_stop(m)
            with m.State("FLUSH"):
                m.d.comb += [fetch.jump.eq(1), fetch.target.eq(0), self.flush.eq(1)]
                m.d.sync += silence.eq(silence + 1)
                with m.If(silence == FLUSH_CYCLES - 1):
                    m.next = "IDLE"
            m.d.comb += [
                self.busy.eq(~states.ongoing("IDLE")),
                self.lost.eq(~Cat(map(states.ongoing, list(states.encoding))).any()),
            ]
        return m

    def _heed_stop(self, m: Module) -> None:
        """In a state of the machine: a stop overrides its other transitions."""
        with m.If(self.stop):
            m.next = "FLUSH"

"""The whole design, between the host's bus and nothing else: boards add a link to it."""

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec import spec_register
from pbitstream.spec.image import Image
from pbitstream.spec.registers import CONTROL, STATUS
from pbitstream.spec.words import COUNTER_BITS
from pbitstream_gateware.array import LaneArray
from pbitstream_gateware.control import Controller, counted
from pbitstream_gateware.pipe import UpdatePipe
from pbitstream_gateware.ports import Bus, broadcast
from pbitstream_gateware.projection import Projection
from pbitstream_gateware.registers import RegisterBank
from pbitstream_gateware.seeder import Seeder
from pbitstream_gateware.sequencer import Sequencer
from pbitstream_gateware.switch import TableSwitch
from pbitstream_gateware.updater import Updater

__all__ = ["Top"]


class Top(wiring.Component):
    """The substrate with its register bank.

    Parameters
    ----------
    image
        What it holds.

    Members
    -------
    bus
        Requests of the host.
    busy
        A relaxation or a table check runs.
    link_errors
        A cycle per frame that a link has dropped.

    Numerics
    --------
    Twin: the emulator; every state bit, noise word, sum and counter is equal.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        super().__init__({"bus": In(Bus()), "busy": Out(1), "link_errors": In(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = self.image
        m.submodules.registers = registers = RegisterBank(image, spec_register())
        m.submodules.switch = switch = TableSwitch(image)
        m.submodules.control = control = Controller()
        m.submodules.seeder = seeder = Seeder()
        m.submodules.sequencer = sequencer = Sequencer(image)
        m.submodules.array = array = LaneArray(image)
        m.submodules.projection = projection = Projection(image)
        m.submodules.updater = updater = Updater(image)
        pipes = [UpdatePipe(image, part) for part in range(image.pipes)]
        for part, pipe in enumerate(pipes):
            m.submodules[f"pipe{part}"] = pipe

        # Control: the table switch grants starts, since tables must not turn while they are used.
        asked = {name: registers.control.data[bit] for bit, name in enumerate(CONTROL)}
        wiring.connect(m, wiring.flipped(self.bus), registers.bus)
        wiring.connect(m, registers.commit, switch.commit)
        m.d.comb += [
            switch.control.eq(registers.control.strobe),
            switch.start.eq(registers.control.strobe & asked["start"] & ~asked["stop"]),
            switch.forget.eq(registers.control.strobe & asked["reset"]),
            switch.idle.eq(~control.running),
            control.go.eq(switch.go),
            control.stop.eq(registers.control.strobe & (asked["stop"] | asked["reset"])),
            control.options.eq(registers.options),
            self.busy.eq(control.running | switch.pending),
        ]
        # A cycle late: the request after the one that started this comes later still.
        m.d.sync += [registers.busy.eq(self.busy), registers.checking.eq(switch.pending)]

        # What the host reads.
        clips = [*projection.clips, *(Cat(pipe.clips[n] for pipe in pipes) for n in range(3))]
        status = {"busy": self.busy, "pending": switch.pending, "refused": switch.refused}
        m.d.comb += [
            registers.status.eq(Cat(status[name] for name in STATUS)),
            registers.clips.eq(Cat(counted(m, events, switch.go, COUNTER_BITS, f"clips{n}")
                                   for n, events in enumerate(clips))),
            registers.cycles.eq(control.cycles),
            registers.multiplying.eq(control.multiplying),
            registers.link_errors.eq(self.link_errors),
        ]
        shown: list[Any] = [sequencer, array, projection, updater, *pipes]
        broadcast(m, switch.memories, [part.host for part in shown])
        wiring.connect(m, registers.window, switch.host)

        # Seeds, then the schedule.
        m.d.comb += [
            seeder.start.eq(control.seed),
            seeder.stop.eq(control.stop),
            seeder.seed.eq(registers.seed),
            seeder.chain.eq(registers.chain),
            seeder.spin_rows.eq(registers.spin_rows),
            control.seeding.eq(seeder.busy),
            sequencer.start.eq(control.sequence),
            sequencer.stop.eq(control.stop),
            sequencer.steps.eq(registers.steps),
            sequencer.burn_in.eq(registers.burn_in),
            control.sequencing.eq(sequencer.busy),
            control.multiplied.eq(sequencer.multiplying),
        ]

        # Lanes and the projection unit.
        m.d.comb += [
            array.issue.eq(sequencer.issue),
            array.result.eq(projection.result),
            array.slot.eq(updater.slot),
            array.take.eq(updater.take),
            array.take_lane.eq(updater.unit.lane),
            projection.start.eq(sequencer.project),
            projection.component.eq(sequencer.component),
            projection.total.eq(array.total),
            projection.read.eq(sequencer.read),
            sequencer.written.eq(projection.written),
        ]

        # Rows of fields to the update pipes, and new states back to the lanes.
        m.d.comb += [
            updater.push.eq(sequencer.issue.update),
            updater.update.eq(sequencer.update),
            updater.flush.eq(sequencer.flush),
            sequencer.freed.eq(updater.freed),
            sequencer.retired.eq(updater.retired),
            array.expose_row.eq(pipes[0].expose_row),
            array.expose_lane.eq(pipes[0].expose_lane),
        ]
        lane_bits = ceil_log2(image.lanes // image.pipes)
        part_bits = ceil_log2(image.pipes)
        stream = seeder.stream
        own_stream = Cat(stream[:lane_bits], stream[lane_bits + part_bits :])
        for part, pipe in enumerate(pipes):
            own = stream[lane_bits : lane_bits + part_bits] == part if part_bits else 1
            m.d.comb += [
                pipe.valid.eq(updater.valid[part]),
                pipe.unit.eq(updater.unit),
                pipe.field.eq(array.fields[part]),
                pipe.keep.eq(control.keep),
                pipe.moments.eq(control.moments),
                pipe.seed_write.eq(seeder.word_write & own),
                pipe.seed_stream.eq(own_stream),
                pipe.seed_word.eq(seeder.word),
                pipe.spin_write.eq(seeder.spin_write & own),
                pipe.spin_row.eq(seeder.spin_row),
                pipe.spin.eq(seeder.spin),
                array.expose[part].eq(pipe.expose),
                array.expose_data[part].eq(pipe.expose_data),
            ]
        # Pages turn, and memories turn from the host to the design, while nothing runs.
        for part in (sequencer, array, updater):
            m.d.comb += [part.page.eq(switch.page), part.idle.eq(control.idle)]
        m.d.comb += [projection.page.eq(control.input_page), projection.idle.eq(control.idle)]
        for pipe in pipes:
            m.d.comb += [pipe.table_page.eq(switch.page), pipe.input_page.eq(control.input_page),
                         pipe.readout_page.eq(control.readout_page), pipe.idle.eq(control.idle)]
        return m

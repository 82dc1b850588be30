"""Proof: the sequencer never deadlocks, whatever its instructions say.

An instruction may wait for row updates, projections and ring slots that are under way. The blocks
behind the sequencer finish those one by one, without asking it for anything, and while it waits
nothing new begins; so the wait ends if the sequencer goes on as soon as nothing is under way. That
is what is proved: with nothing under way it issues within a few cycles, or is at rest.
"""

from pathlib import Path
from typing import Any

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, Signal, unsigned

from pbitstream.spec.timing import RING
from pbitstream_gateware.memory import WindowMemory
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.sequencer import FLUSH_CYCLES, Sequencer
from proofs import inputs, prove

#: A jump, a fetch, and the turn from the prologue to the steps.
PATIENCE = 8


class AnyInstructions(WindowMemory):
    """Answers any instruction at any time: what is stored is not claimed."""

    def elaborate(self, platform: Any) -> Module:
        return Module()


def sequencer() -> tuple[Module, list[Signal]]:
    m = Module()
    image = PRESETS["tiny"]
    store = AnyInstructions("instructions", unsigned(128), image.max_instructions, pages=2)
    m.submodules.dut = dut = Sequencer(image, store)
    progress = dut.progress

    # The blocks behind it answer for what they were given, in any order and at any time.
    rows, slots, projections = Signal(12), Signal(12), Signal(12)
    issued = Signal()
    m.d.comb += issued.eq(dut.multiplying | dut.issue.update)
    at_rest = Signal()
    m.d.comb += at_rest.eq(~dut.busy)
    for count, given, answer in ((rows, dut.issue.update, dut.retired),
                                 (slots, dut.issue.update, dut.freed),
                                 (projections, dut.project, dut.written)):
        m.d.sync += count.eq(Mux(at_rest, 0, count + given - answer))
        m.d.comb += [
            Assume((count != 0) | ~answer),
            # A pipeline holds fewer.
            Assume(count < 64),
        ]
    # The counts inside run ahead by what is issued in this cycle.
    with m.If(~at_rest & ~dut.flush):
        m.d.comb += [
            Assert(progress.updating == rows + dut.issue.update),
            Assert(progress.occupied == slots + dut.issue.update),
            Assert(progress.projecting == projections + dut.project),
            Assert(progress.occupied <= RING),
        ]

    nothing = Signal()
    m.d.comb += nothing.eq((progress.updating == 0) & (progress.projecting == 0)
                           & (progress.occupied == 0))
    waited, flushed = Signal(range(PATIENCE + 2)), Signal(range(FLUSH_CYCLES + 2))
    waiting = dut.busy & ~dut.flush & nothing & ~issued
    m.d.sync += [
        waited.eq(Mux(waiting, waited + (waited <= PATIENCE), 0)),
        flushed.eq(Mux(dut.flush, flushed + (flushed <= FLUSH_CYCLES), 0)),
    ]
    m.d.comb += [
        Assert(~dut.lost),
        Assert(waited < PATIENCE),
        Assert(flushed <= FLUSH_CYCLES),
        Assert(Mux(dut.flush, flushed, 0) == dut.silence),
        # Both ends of a relaxation can be reached, and a wait that something ends.
        Cover(dut.issue.update & dut.update.window),
        Cover(dut.multiplying & dut.issue.expand),
        Cover(dut.flush & (rows == 0)),
    ]
    return m, [*inputs(dut), store.data]


def test_it_goes_on_when_nothing_is_under_way(tmp_path: Path) -> None:
    prove(*sequencer(), depth=PATIENCE + 3, mode="prove", folder=tmp_path)
    prove(*sequencer(), depth=24, mode="cover", folder=tmp_path)

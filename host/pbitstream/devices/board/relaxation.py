"""One call on a board: chain after chain, the link at work while the board is.

While a chain relaxes, the host reads what the chain before has left, and sends the next input and
the next first state: inputs and readouts have two pages. A board has one row of settings at a time:
of a call with several, each row is a start of its own, which goes on in the same page, so that all
windows but the last are read between two starts.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.board.link import Link
from pbitstream.devices.board.pages import Pages
from pbitstream.devices.board.placement import Placement
from pbitstream.devices.call import Call, Row, Sums
from pbitstream.devices.protocol import CLIP_NAMES, State
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.registers import OPTIONS
from pbitstream.spec.words import COUNTER_BITS, STATE, SUM_BITS

__all__ = ["Counters", "run_call"]

#: Cycles of a relaxation before its first step: seeds, reset spins, first states.
START_CYCLES = 1 << 16


@dataclass
class Counters:
    """Clock cycles of some relaxations, and those of them in which every lane multiplied."""

    cycles: int = 0
    multiplying: int = 0


def run_call(
    link: Link, placement: Placement, inputs: Pages, call: Call, switch: Callable[[Row], None]
) -> tuple[Sums, Counters]:
    """Relax every chain of a call on the loaded program; the board must be idle.

    `switch` makes the board's tables those of a row of settings.
    """
    run = _Run(link, placement, inputs, call)
    rows = list(call.rows)
    for name, value in (("seed", call.seed), ("spin_rows", placement.spin_rows)):
        link.set(name, value)
    run.send(0)
    for local in range(call.total_chains):
        for index, row in enumerate(rows):
            if local == 0 or len(rows) > 1:
                switch(row)
                # A board averages over one step at least: a row of burn-in alone is not read.
                link.set("steps", row.steps or row.burn_in)
                link.set("burn_in", row.burn_in if row.steps else 0)
            run.start(local, first=index == 0)
            if index == 0:
                if local:
                    run.read(local - 1, rows[-1], other=True)
                run.send(local + 1)
            run.settle(local, row)
            if index < len(rows) - 1:
                run.read_window(local, row, other=False)
    run.read(call.total_chains - 1, rows[-1], other=False)
    # The counters of a row stick at their top, and so does their sum.
    np.minimum(run.sums.clips, (1 << COUNTER_BITS) - 1, out=run.sums.clips)
    return run.sums, run.counters


@dataclass
class _Run:
    """A call under way; chains are counted from its first."""

    link: Link
    placement: Placement
    inputs: Pages
    call: Call
    sums: Sums = field(init=False)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        chains, units = self.call.total_chains, len(self.placement.layout.slots)
        self.sums = Sums(
            np.zeros((chains, units), np.int64), np.zeros((chains, units), np.int64),
            State(np.zeros((chains, units), np.int32), np.zeros((chains, STREAMS), np.uint64)),
            np.zeros((chains, len(CLIP_NAMES)), np.int64),
        )

    def send(self, local: int) -> None:
        """Send what a chain needs: its input if it is the first of it, and its first state."""
        call, slots = self.call, self.placement.layout.slots
        if local == call.total_chains:
            return
        number, chain = divmod(local, call.chains)
        if chain == 0:
            self.inputs.write(self.placement.page(call, number))
        if call.state is not None:
            words = np.zeros(self.placement.used, "<i4")
            words[slots] = call.state.units[local]
            self.link.write_other("states", words)
            self.link.write_other("noise", call.state.noise[local].astype("<u8"))

    def start(self, local: int, *, first: bool) -> None:
        """Start a chain's `first` row of settings, or the next."""
        call = self.call
        turns = first and local % call.chains == 0
        asked = {"moments": call.moments, "keep_state": call.state is not None or not first,
                 "keep_page": not turns, "keep_readout": not first}
        self.link.set("chain", call.first_chain + local)
        self.link.set("options", sum(1 << OPTIONS.index(name) for name in asked if asked[name]))
        self.link.control("start")
        if turns:
            self.inputs.flip()

    def settle(self, local: int, row: Row) -> None:
        """Wait until a chain is done with a row of settings, and count."""
        link = self.link
        # Twice what it should take, in cycles of the board, whatever its clock.
        steps = row.burn_in + row.steps
        computed = START_CYCLES + self.placement.cycles_per_step * steps
        link.settle(f"a start of chain {self.call.first_chain + local}", 2 * int(computed))
        self.sums.clips[local] += link.words("clips")
        self.counters.cycles += link.get("cycles")
        self.counters.multiplying += link.get("multiplying")

    def read(self, local: int, row: Row, *, other: bool) -> None:
        """Read what a chain has left, `row` being its last, in the `other` page once one runs."""
        state, slots, used = self.sums.state, self.placement.layout.slots, self.placement.used
        self.read_window(local, row, other=other)
        words = self.link.read_window("states", "<i4", used, other=other)
        state.units[local] = _signed(words[slots], STATE.bits)
        state.noise[local] = self.link.read_window("noise", "<u8", STREAMS, other=other)

    def read_window(self, local: int, row: Row, *, other: bool) -> None:
        """Add the window of a row of settings to a chain's, if the row has one."""
        if not row.steps:
            return
        link, slots, used = self.link, self.placement.layout.slots, self.placement.used
        words = link.read_window("sums", "<i8", used, other=other)
        self.sums.sums[local] += _signed(words[slots], SUM_BITS)
        if self.call.moments:
            words = link.read_window("squares", "<i8", used, other=other)
            self.sums.squares[local] += words[slots]


def _signed(words: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Extend the sign of the low bits of words."""
    shift = 8 * words.itemsize - bits
    return words << shift >> shift

"""One call on a board: chain after chain, while the next input is already on its way.

A board has one row of settings at a time: of a call with several, each row is a start of its own,
which goes on from the state that the board holds.
"""

from collections.abc import Callable
from dataclasses import dataclass

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
    chains, units = call.total_chains, len(placement.layout.slots)
    sums = Sums(
        np.zeros((chains, units), np.int64), np.zeros((chains, units), np.int64),
        State(np.zeros((chains, units), np.int32), np.zeros((chains, STREAMS), np.uint64)),
        np.zeros((chains, len(CLIP_NAMES)), np.int64),
    )
    counters = Counters()
    rows = list(call.rows)
    for name, value in (("seed", call.seed), ("spin_rows", placement.spin_rows)):
        link.set(name, value)
    inputs.write(placement.page(call, 0))
    for local in range(chains):
        number, chain = divmod(local, call.chains)
        if call.state is not None:
            _write_state(link, placement, call.state, local)
        link.set("chain", call.first_chain + local)
        for index, row in enumerate(rows):
            if local == 0 or len(rows) > 1:
                switch(row)
                # A board averages over one step at least: a row of burn-in alone is not read.
                link.set("steps", row.steps or row.burn_in)
                link.set("burn_in", row.burn_in if row.steps else 0)
            first = chain == 0 and index == 0
            link.set("options", _options(moments=call.moments, keep_page=not first,
                                         keep_state=call.state is not None or index > 0))
            link.control("start")
            if first:
                inputs.flip()
                if number + 1 < call.inputs:
                    inputs.write(placement.page(call, number + 1))
            # Twice what it should take, in cycles of the board, whatever its clock.
            computed = START_CYCLES + placement.cycles_per_step * (row.burn_in + row.steps)
            link.settle(f"a start of chain {call.first_chain + local}", 2 * int(computed))
            sums.clips[local] += link.words("clips")
            if row.steps:
                _read_window(link, placement, call.moments, sums, local)
            counters.cycles += link.get("cycles")
            counters.multiplying += link.get("multiplying")
        _read_state(link, placement, sums.state, local)
    # The counters of a row stick at their top, and so does their sum.
    np.minimum(sums.clips, (1 << COUNTER_BITS) - 1, out=sums.clips)
    return sums, counters


def _options(**asked: bool) -> int:
    return sum(1 << OPTIONS.index(name) for name, value in asked.items() if value)


def _write_state(link: Link, placement: Placement, state: State, local: int) -> None:
    words = np.zeros(placement.used, "<i4")
    words[placement.layout.slots] = state.units[local]
    link.write_window("states", words)
    link.write_window("noise", state.noise[local].astype("<u8"))


def _read_window(
    link: Link, placement: Placement, moments: bool, sums: Sums, local: int
) -> None:
    slots, used = placement.layout.slots, placement.used
    sums.sums[local] += _signed(link.read_window("sums", "<i8", used)[slots], SUM_BITS)
    if moments:
        sums.squares[local] += link.read_window("squares", "<i8", used)[slots]


def _read_state(link: Link, placement: Placement, state: State, local: int) -> None:
    slots, used = placement.layout.slots, placement.used
    state.units[local] = _signed(link.read_window("states", "<i4", used)[slots], STATE.bits)
    state.noise[local] = link.read_window("noise", "<u8", STREAMS)


def _signed(words: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Extend the sign of the low bits of words."""
    shift = 8 * words.itemsize - bits
    return words << shift >> shift

"""One call on a board: chain after chain, while the next input is already on its way."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.board.link import Link
from pbitstream.devices.board.pages import Pages
from pbitstream.devices.board.placement import Placement
from pbitstream.devices.call import Call, Sums
from pbitstream.devices.protocol import CLIP_NAMES, State
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.registers import OPTIONS
from pbitstream.spec.words import STATE, SUM_BITS

__all__ = ["Counters", "run_call"]

#: Cycles of a relaxation before its first step: seeds, reset spins, first states.
START_CYCLES = 1 << 16


@dataclass
class Counters:
    """Clock cycles of some relaxations, and those of them in which every lane multiplied."""

    cycles: int = 0
    multiplying: int = 0


def run_call(link: Link, placement: Placement, inputs: Pages, call: Call) -> tuple[Sums, Counters]:
    """Relax every chain of a call on the loaded program; the board must be idle."""
    chains, units = call.total_chains, len(placement.layout.slots)
    sums = Sums(
        np.zeros((chains, units), np.int64), np.zeros((chains, units), np.int64),
        State(np.zeros((chains, units), np.int32), np.zeros((chains, STREAMS), np.uint64)),
        np.zeros((chains, len(CLIP_NAMES)), np.int64),
    )
    counters = Counters()
    for name, value in (("steps", call.steps), ("burn_in", call.burn_in), ("seed", call.seed),
                        ("spin_rows", placement.spin_rows)):
        link.set(name, value)
    # Twice what it should take, in cycles of the board, whatever its clock.
    computed = START_CYCLES + placement.cycles_per_step * (call.burn_in + call.steps)
    inputs.write(placement.page(call, 0))
    for local in range(chains):
        number, chain = divmod(local, call.chains)
        if call.state is not None:
            _write_state(link, placement, call.state, local)
        link.set("chain", call.first_chain + local)
        link.set("options", _options(moments=call.moments, keep_state=call.state is not None,
                                     keep_page=chain > 0))
        link.control("start")
        if chain == 0:
            inputs.flip()
            if number + 1 < call.inputs:
                inputs.write(placement.page(call, number + 1))
        link.settle(f"a start of chain {call.first_chain + local}", 2 * int(computed))
        _read_chain(link, placement, call, local, sums)
        counters.cycles += link.get("cycles")
        counters.multiplying += link.get("multiplying")
    return sums, counters


def _options(**asked: bool) -> int:
    return sum(1 << OPTIONS.index(name) for name, value in asked.items() if value)


def _write_state(link: Link, placement: Placement, state: State, local: int) -> None:
    words = np.zeros(placement.used, "<i4")
    words[placement.layout.slots] = state.units[local]
    link.write_window("states", words)
    link.write_window("noise", state.noise[local].astype("<u8"))


def _read_chain(link: Link, placement: Placement, call: Call, local: int, sums: Sums) -> None:
    slots, used = placement.layout.slots, placement.used
    sums.sums[local] = _signed(link.read_window("sums", "<i8", used)[slots], SUM_BITS)
    if call.moments:
        sums.squares[local] = link.read_window("squares", "<i8", used)[slots]
    sums.state.units[local] = _signed(link.read_window("states", "<i4", used)[slots], STATE.bits)
    sums.state.noise[local] = link.read_window("noise", "<u8", STREAMS)
    sums.clips[local] = link.words("clips")


def _signed(words: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Extend the sign of the low bits of words."""
    shift = 8 * words.itemsize - bits
    return words << shift >> shift

"""Bench: random programs through the board's driver, every bit as the emulator's.

Programs and calls are drawn for coverage: of some draws the one is run that reaches most bins which
no case before it has reached.
"""

import time
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np

from pbitstream.devices.board import Board
from pbitstream.devices.board.placement import place
from pbitstream.devices.comparison import differences
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream_sim.benches.bus import BusDriver, BusTransport, bridge
from pbitstream_sim.benches.task import Task
from pbitstream_sim.coverage import Case, Coverage

#: Programs unless the task says, calls of each, and draws of which one is run.
PROGRAMS, CALLS, DRAWS = 10, 2, 32
#: Most steps of a call, and of one that is there for the count of updates.
STEPS, LONG_STEPS = 3, 60
#: Largest module: 640 reaches the second word of a p-bit's stream. Most draws stay below.
DIMS = (16, 40, 640)


@cocotb.test()
async def same_bits(dut: Any) -> None:
    """Compare states, noise words, sums, squares and counters of every call."""
    task, bus, began = Task.load(), BusDriver(dut), time.perf_counter()
    await bus.start()
    coverage, emulator = Coverage(), Emulator()

    def compare() -> int:
        board = Board(BusTransport(bus))
        updates, number, programs = 0, 0, task.programs or PROGRAMS
        while number < programs or updates < (task.updates or 0):
            # Once the first programs have seen every shape, long calls bring the updates.
            steps = STEPS if number < programs else LONG_STEPS
            cases = _best(board, emulator, np.random.default_rng([task.seed, number]), coverage,
                          steps)
            board.load(cases[0].program, force=True)
            for n, case in enumerate(cases):
                coverage.add(case)
                found = differences(case.program, board.relax(**case.call), case.readout)
                assert not found, f"program {number}, call {n}: {found[0]}"
                updates += _updates(case)
            number += 1
        return updates

    try:
        updates = await bridge(compare)()
    finally:
        task.add(coverage=coverage.to_dict())
    seconds = time.perf_counter() - began
    task.add(updates=updates)
    task.remark(f"{updates:,} unit updates in {seconds:.0f} s")


def _best(board: Board, emulator: Emulator, rng: np.random.Generator,
          coverage: Coverage, steps: int) -> list[Case]:
    """Return cases of one program: of `DRAWS` draws that fit those which cover most that is new."""
    draws = [_draw(board, emulator, rng, steps) for _ in range(DRAWS)]
    return max(draws, key=lambda cases: sum(coverage.new(case) for case in cases))


def _draw(board: Board, emulator: Emulator, rng: np.random.Generator,
          steps: int) -> list[Case]:
    while True:
        program = random_program(rng, board=True, max_dim=int(rng.choice(DIMS, p=[0.5, 0.3, 0.2])))
        try:
            place(program, board.image)
        except SpecError:
            continue
        emulator.load(program, force=True)
        return [Case(program, call, emulator.relax(**call), board.image.lanes)
                for call in _calls(program, rng, steps)]


def _calls(program: Any, rng: np.random.Generator, steps: int) -> Iterator[dict[str, Any]]:
    for _ in range(CALLS):
        yield random_call(program, rng, max_steps=steps, max_chains=2, max_rows=3)


def _updates(case: Case) -> int:
    free = sum(module.dim for module in case.free)
    inputs, chains, _ = case.readout.sums.shape
    return int(free * inputs * chains * (case.readout.steps + case.readout.burn_in))

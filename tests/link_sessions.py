"""Sessions of the driver with the RTL frame engine over lines that fail; what each came to."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import numpy as np

from byte_top import ByteTop
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.board import Board, link
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.protocol import Readout
from pbitstream.devices.wire import SerialTransport
from pbitstream.devices.wire.chaos import ChaosPort, Plan
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError
from pbitstream.program import Program
from pbitstream.spec.frames import BAUDS
from pbitstream_sim.serial_line import SerialSimulation, SimulatedPort
from pbitstream_sim.verilated import to_verilog

#: Seconds within which a fault that cannot be mended must be told.
IN_TIME = 2.0
BAUD = BAUDS[-1]
#: Cycles that pass between two looks at a busy board.
NAP = 1500


@lru_cache(maxsize=1)
def simulation() -> SerialSimulation:
    """Return the board that all sessions of a process use, in whatever state the last one left."""
    return SerialSimulation(to_verilog(ByteTop()))


class Simulated:
    """What the driver needs of the module `time`: while it sleeps, simulated cycles pass."""

    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def sleep(seconds: float) -> None:
        simulation().run(NAP, NAP)


def simulated_time() -> Any:
    """Return a context in which the driver's sleep between two looks costs simulated time only."""
    return patch.object(link, "time", Simulated)


@lru_cache(maxsize=2)
def program(seed: int = 1) -> Program:
    """Return a program of 3 Langevin units and 2 p-bits that fits the smallest image."""
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder()
    x, p = builder.langevin("x", 3), builder.pbit("p", 2)
    builder.low_rank(x, p, rng.normal(size=(3, 1)), rng.normal(size=(2, 1)), [0.2])
    return builder.build()


#: Three inputs: a start that is executed twice turns the pages once too often.
H = np.random.default_rng(2).normal(size=(3, 5))


def relaxed(board: Board | Emulator) -> Readout:
    return board.relax(H, steps=2, burn_in=1, seed=5)


@lru_cache(maxsize=2)
def expected(seed: int = 1) -> Readout:
    """Return what the emulator says."""
    with Emulator() as emulator:
        emulator.load(program(seed))
        return relaxed(emulator)


class Nth:
    """A plan of one fault: that of the piece number `at`, from 1, in a direction."""

    def __init__(self, direction: str, at: int, fault: str | None) -> None:
        self.direction, self.at, self.fault, self.seen = direction, at, fault, 0

    def __call__(self, direction: str) -> str | None:
        self.seen += direction == self.direction
        return self.fault if direction == self.direction and self.seen == self.at else None


class Session:
    """One session: open a board, load, relax, close.

    Attributes
    ----------
    error
        What it ended with; None if the readout was the emulator's, bit by bit.
    late
        Seconds from the last fault to the error.
    """

    def __init__(self, plan: Plan, seed: int, spoil: Callable[[], None] | None = None) -> None:
        self.port = ChaosPort(SimulatedPort(simulation()), plan, seed)
        self.spoil = spoil
        self.error: DeviceError | None = None
        self.late = 0.0
        try:
            with simulated_time():
                self._run()
        except DeviceError as error:
            self.error = error

    def _run(self) -> None:
        try:
            board = Board(SerialTransport(self.port, baud=BAUD))
        except DeviceError:
            self.late = self.port.now() - self.port.last
            raise
        try:
            board.load(program())
            same_readout(relaxed(board), expected())
        except DeviceError:
            self.late = self.port.now() - self.port.last
            raise
        finally:
            board.close()


@lru_cache(maxsize=1)
def boundaries() -> dict[str, int]:
    """Return how many pieces a session without faults sends and receives."""
    Session(lambda direction: None, 0)
    counts = {}
    for direction in ("write", "read"):
        plan = Nth(direction, 0, None)
        assert Session(plan, 0).error is None
        counts[direction] = plan.seen
    return counts

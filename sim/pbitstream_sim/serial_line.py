"""Simulated boards with a serial line, in this process: the RTL, and a port at its other end."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pbitstream.spec.image import Image
from pbitstream_sim.simulation import FLAG, LONG, SIM, WORD, Simulation
from pbitstream_sim.verilated import library, to_verilog

__all__ = ["CLOCK", "SerialSimulation", "SimulatedPort", "serial_verilog"]

SHIM = Path(__file__).with_name("serial_shim.cpp")
SHIM_FUNCTIONS = {
    "rate": (None, SIM, WORD),
    "push": (None, SIM, ctypes.c_char_p, WORD),
    "pull": (WORD, SIM, ctypes.c_char_p, WORD),
    "cut": (None, SIM),
    "empty": (FLAG, SIM),
    "run": (LONG, SIM, LONG, LONG),
    "broken": (LONG, SIM),
}
#: Of a simulated board, in Hz, unless someone needs another: two cycles per bit at 3 Mbaud, the
#: fewest that a receiver takes, so that little time is spent on the line.
CLOCK = 6_000_000
#: Bits of the fraction by which the shim steps through a bit.
PHASE_BITS = 20
#: After so many cycles without a byte from an idle board, on a line that is empty, none will come:
#: the longest request takes fewer cycles, and the longest block of an answer.
QUIET = 1 << 12
#: Cycles per call of the library, so that Ctrl-C is heard within a fraction of a second.
SLICE_CYCLES = 1 << 16


def serial_verilog(image: Image, clock: int = CLOCK) -> str:
    """Return the Verilog of a board with a serial line."""
    from pbitstream_gateware.serial_top import SerialTop

    return to_verilog(SerialTop(image, clock))


class SerialSimulation(Simulation):
    """A running simulation of a board with a serial line; a reset loses what was on the line.

    Parameters
    ----------
    verilog
        Of `pbitstream_gateware.serial_top.SerialTop`, or of any top with ``clk``, ``rst``, ``rx``,
        ``tx`` and ``busy``.
    clock
        What it was made for, in Hz.
    """

    def __init__(self, verilog: str, clock: int = CLOCK) -> None:
        self.clock = clock
        super().__init__(library(verilog, shim=SHIM), SHIM_FUNCTIONS)
        self._buffer = ctypes.create_string_buffer(1 << 12)
        self.reset()

    def set_baud(self, baud: int) -> None:
        """Change the rate at the host's end of the line."""
        self._library.sim_rate(self._open, round((baud << PHASE_BITS) / self.clock))

    def push(self, data: bytes) -> None:
        """Let bytes wait for their turn on the line to the board."""
        self._library.sim_push(self._open, data, len(data))

    def pull(self) -> bytes:
        """Return bytes that have come from the board."""
        data = b""
        while count := self._library.sim_pull(self._open, self._buffer, len(self._buffer)):
            data += self._buffer.raw[:count]
        return data

    def cut(self) -> None:
        """Lose what is on the line, as when a plug is pulled."""
        self._library.sim_cut(self._open)

    def run(self, cycles: int, quiet: int = QUIET) -> int:
        """Let cycles pass until a frame has come, nothing more can come, or so many have passed."""
        return self._run(cycles, quiet, SLICE_CYCLES)

    @property
    def empty(self) -> bool:
        """Whether all bytes have reached the board."""
        return bool(self._library.sim_empty(self._open))

    @property
    def broken(self) -> int:
        """Bytes from the board that had no stop bit."""
        return int(self._library.sim_broken(self._open))


class SimulatedPort:
    """The host's end of a simulated line; implements `pbitstream.devices.wire.Port`.

    Its clock is the board's: waiting lets cycles pass. Where nothing can happen any more, a wait
    ends at once and only the clock is put forward, so timeouts cost no time.

    Parameters
    ----------
    board
        The simulation, which outlives the port.
    on_close
        Called when the port is closed.
    """

    def __init__(self, board: SerialSimulation,
                 on_close: Callable[[], Any] | None = None) -> None:
        self.board, self._on_close = board, on_close
        self._skipped = 0.0

    def read(self, seconds: float) -> bytes:
        """Return what comes within so much simulated time."""
        board = self.board
        data = board.pull()
        end = self.now() + seconds
        while not data and (left := end - self.now()) > 0:
            ran = board.run(max(1, int(left * board.clock)))
            data = board.pull()
            if not data and ran < int(left * board.clock) and not board.busy:
                self._skipped += max(0.0, end - self.now())
        return data

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.board.push(data)

    def set_baud(self, baud: int) -> None:
        """Change the rate, once the line is empty."""
        while not self.board.empty:
            self.board.run(SLICE_CYCLES)
        self.board.set_baud(baud)

    def now(self) -> float:
        """Return simulated seconds."""
        return self.board.cycles / self.board.clock + self._skipped

    def reopen(self, seconds: float) -> None:
        """Take the line up again, with nothing on it."""
        self.board.cut()

    def close(self) -> None:
        """Let go of the line."""
        if self._on_close is not None:
            self._on_close()

"""Simulated boards with a serial line, in this process: the RTL, and a port at its other end."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from pbitstream.spec.image import Image
from pbitstream_sim.verilated import library, to_verilog

__all__ = ["CLOCK", "SerialSimulation", "SimulatedPort", "serial_verilog"]

SHIM = Path(__file__).with_name("serial_shim.cpp")
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


class SerialSimulation:
    """A running simulation of a board with a serial line.

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
        self._library = _declared(library(verilog, shim=SHIM))
        self._sim: int | None = self._library.sim_create()
        self._buffer = ctypes.create_string_buffer(1 << 12)
        self.reset()

    def reset(self) -> None:
        """Reset the board, which loses what was on the line; memories keep what they hold."""
        self._library.sim_reset(self._sim)

    def set_baud(self, baud: int) -> None:
        """Change the rate at the host's end of the line."""
        self._library.sim_rate(self._sim, round((baud << PHASE_BITS) / self.clock))

    def push(self, data: bytes) -> None:
        """Let bytes wait for their turn on the line to the board."""
        self._library.sim_push(self._sim, data, len(data))

    def pull(self) -> bytes:
        """Return bytes that have come from the board."""
        data = b""
        while count := self._library.sim_pull(self._sim, self._buffer, len(self._buffer)):
            data += self._buffer.raw[:count]
        return data

    def cut(self) -> None:
        """Lose what is on the line, as when a plug is pulled."""
        self._library.sim_cut(self._sim)

    def run(self, cycles: int, quiet: int = QUIET) -> int:
        """Let cycles pass until a frame has come, nothing more can come, or so many have passed."""
        done = 0
        while done < cycles:
            part = min(SLICE_CYCLES, cycles - done)
            ran = self._library.sim_run(self._sim, part, quiet)
            done += ran
            if ran < part:
                break
        return done

    @property
    def busy(self) -> bool:
        """Whether the board says that it is at work."""
        return bool(self._library.sim_busy(self._sim))

    @property
    def empty(self) -> bool:
        """Whether all bytes have reached the board."""
        return bool(self._library.sim_empty(self._sim))

    @property
    def cycles(self) -> int:
        """Clock cycles since the simulation was made."""
        return int(self._library.sim_cycles(self._sim))

    @property
    def broken(self) -> int:
        """Bytes from the board that had no stop bit."""
        return int(self._library.sim_broken(self._sim))

    def close(self) -> None:
        """End the simulation."""
        if self._sim is not None:
            self._library.sim_destroy(self._sim)
            self._sim = None

    def __enter__(self) -> "SerialSimulation":
        """Return the simulation itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """End the simulation."""
        self.close()


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


def _declared(path: Path) -> ctypes.CDLL:
    """Return the loaded library with the types of its functions."""
    library = ctypes.CDLL(str(path))
    sim, word, long = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    for name, result, arguments in (
        ("create", sim, ()),
        ("destroy", None, (sim,)),
        ("reset", None, (sim,)),
        ("rate", None, (sim, word)),
        ("push", None, (sim, ctypes.c_char_p, word)),
        ("pull", word, (sim, ctypes.c_char_p, word)),
        ("cut", None, (sim,)),
        ("empty", ctypes.c_int, (sim,)),
        ("run", long, (sim, long, long)),
        ("busy", ctypes.c_int, (sim,)),
        ("cycles", long, (sim,)),
        ("broken", long, (sim,)),
    ):
        function = getattr(library, f"sim_{name}")
        function.restype, function.argtypes = result, arguments
    return library

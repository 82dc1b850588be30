"""A load that breaks off anywhere: the tables that were active stay active, and whole."""

import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from link_sessions import BAUD, H, expected, program, simulated_time, simulation
from pbitstream.devices.board import Board
from pbitstream.devices.board.placement import CONSTANTS, place
from pbitstream.devices.board.relaxation import run_call
from pbitstream.devices.call import prepare, to_readout
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.wire import SerialTransport
from pbitstream.errors import DeviceError
from pbitstream.program import Program
from pbitstream.spec.registers import REGISTERS
from pbitstream_sim.serial_line import SimulatedPort

COMMIT = next(register.address for register in REGISTERS if register.name == "commit")


class Cut(SimulatedPort):
    """A line to the board that is cut for good after so many bytes."""

    left: int | None = None
    written = 0

    def write(self, data: bytes) -> None:
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        self.written += len(data)
        super().write(data)

    def read(self, seconds: float) -> bytes:
        if self.left == 0:
            # Bytes that were on the line arrive.
            super().read(seconds)
            return b""
        return super().read(seconds)


def shadow(made: Program, board: Board) -> NDArray[np.uint32]:
    return place(made, board.image).shadow({name: made.tables[name] for name in CONSTANTS})


def send(transport: SerialTransport, board: Board, made: Program) -> None:
    """Do what a load does: all tables, then their CRC."""
    words = shadow(made, board)
    board._tables.forget()
    board._tables.write(words)
    transport.write(COMMIT, zlib.crc32(words.astype("<u4").tobytes()).to_bytes(4, "little"))
    transport.read(0, 4)


def relax_without_loading(board: Board, made: Program) -> Any:
    """Relax on whatever tables are active, as if they were this program's."""
    call = prepare(made, H, steps=2, burn_in=1, seed=5)
    sums, _ = run_call(board._open(), place(made, board.image), board._inputs, call,
                       lambda row: None)
    return to_readout(made, call, sums)


def test_a_load_that_is_cut_at_any_byte_changes_nothing() -> None:
    old, new = program(1), program(2)
    with simulated_time():
        total = len_of_load(new)
        assert total > 400
        with connected() as board:
            board.load(old)
        for left in range(total + 1):
            # Each host finds what the one before it has left: the old tables, and all their bits.
            port = Cut(simulation())
            transport = SerialTransport(port, baud=BAUD)
            board = Board(transport)
            assert board._open().status() == []
            same_readout(relax_without_loading(board, old), expected(1))
            port.left = left
            with pytest.raises(DeviceError):
                send(transport, board, new)
        # With the commit's last byte the new tables are active, though nobody was told.
        with connected() as board:
            same_readout(relax_without_loading(board, new), expected(2))


def connected() -> Board:
    return Board(SerialTransport(SimulatedPort(simulation()), baud=BAUD))


def len_of_load(new: Program) -> int:
    """Return the bytes with which the commit is whole: the delimiter may be another frame's."""
    port = Cut(simulation())
    transport = SerialTransport(port, baud=BAUD)
    with Board(transport) as board:
        before = port.written
        words = shadow(new, board)
        board._tables.forget()
        board._tables.write(words)
        transport.write(COMMIT, zlib.crc32(words.astype("<u4").tobytes()).to_bytes(4, "little"))
        return port.written - before - 1

"""The transport's promises, on the RTL frame engine: order, errors, resuming, interrupts."""

from collections.abc import Iterator

import pytest

from link_sessions import BAUD, H, expected, program, relaxed, simulation
from pbitstream.devices.board import Board
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.wire import SerialTransport
from pbitstream.devices.wire.codec import FrameDecoder
from pbitstream.errors import DeviceError, SpecError
from pbitstream.spec.registers import BOARD_BYTES, MAGIC, REGISTERS, UNMAPPED, WINDOWS
from pbitstream_sim.serial_line import SimulatedPort

ADDRESSES = {entry.name: entry.address for entry in (*REGISTERS, *WINDOWS)}


@pytest.fixture
def transport() -> Iterator[SerialTransport]:
    made = SerialTransport(SimulatedPort(simulation()), baud=BAUD)
    yield made
    made.close()


class Meddling(SimulatedPort):
    """A line whose n-th write from `after` on goes elsewhere."""

    after = -1
    calls = 0

    def __init__(self, act: str) -> None:
        super().__init__(simulation())
        self.act = act

    def write(self, data: bytes) -> None:
        self.calls += 1
        if self.calls == self.after:
            if self.act == "interrupt before":
                raise KeyboardInterrupt
            if self.act == "interrupt within":
                super().write(data[: len(data) // 2])
                raise KeyboardInterrupt
            if self.act == "interrupt behind":
                super().write(data)
                raise KeyboardInterrupt
            if self.act == "drop":
                return
        super().write(data)


def test_reads_and_writes_of_any_length(transport: SerialTransport) -> None:
    words = bytes(range(32))
    transport.write(ADDRESSES["stiffness"], words)
    assert transport.read(ADDRESSES["stiffness"], 32) == words
    assert transport.read(0, 4) == MAGIC.to_bytes(4, "little")
    assert transport.read(0, 0) == b""
    transport.write(0, b"")
    # More than a frame, more than a window: everything that is not mapped.
    assert transport.read(0x7000, 0x1000) == UNMAPPED.to_bytes(4, "little") * 0x400


@pytest.mark.parametrize(("address", "count"), [(2, 4), (0, 3), (-4, 4), (BOARD_BYTES, 4),
                                                (BOARD_BYTES - 4, 8)])
def test_addresses_that_are_none(transport: SerialTransport, address: int, count: int) -> None:
    message = rf"^address and count must be multiples of 4 within 0x100000 bytes, not {address:#x} "
    with pytest.raises(SpecError, match=message):
        transport.read(address, count)
    with pytest.raises(SpecError, match=message):
        transport.write(address, bytes(count))


def test_a_rate_that_is_none() -> None:
    with pytest.raises(SpecError, match=r"^baud must be one of 115200, .*3000000, not 9600$"):
        SerialTransport(SimulatedPort(simulation()), baud=9600)


def test_a_line_without_a_board() -> None:
    class Dead(SimulatedPort):
        closed = False

        def write(self, data: bytes) -> None:
            pass

        def close(self) -> None:
            self.closed = True

    port = Dead(simulation())
    began = port.now()
    with pytest.raises(DeviceError, match=r"^sent the beginning of a session at 3000000 baud and "
                                          r"others; no board answered within 1.5 s$"):
        SerialTransport(port, baud=BAUD)
    assert port.closed
    assert port.now() - began < 2


def test_a_session_that_somebody_else_takes_is_lost_once(transport: SerialTransport) -> None:
    other = SerialTransport(SimulatedPort(simulation()), baud=BAUD)
    with pytest.raises(DeviceError, match=r"^sent a read of 4 bytes at 0x24; the board does not "
                                          r"know this session: it was reset, or somebody else"):
        transport.read(ADDRESSES["status"], 4)
    for ask in (lambda: transport.read(0, 4), lambda: transport.write(ADDRESSES["seed"], bytes(4)),
                lambda: transport.write(ADDRESSES["control"], b"\1\0\0\0")):
        with pytest.raises(DeviceError, match=r"reset\(\) the device, or open it again$"):
            ask()
    # A stop takes the board back, and now the other one has lost it.
    transport.write(ADDRESSES["control"], b"\2\0\0\0")
    assert transport.read(0, 4) == b"PBIT"
    with pytest.raises(DeviceError, match="does not know this session"):
        other.read(0, 4)
    other.close()
    assert transport.read(0, 4) == b"PBIT"


def test_an_error_of_a_write_is_told_by_the_next_call(transport: SerialTransport) -> None:
    send = transport._frame

    def spoilt(operation: str, seq: int, address: int, count: int = 0, data: bytes = b"") -> bytes:
        if operation == "write":
            return send("baud", seq, 99)
        return send(operation, seq, address, count, data)

    transport._frame = spoilt  # type: ignore[method-assign]
    transport.write(99 & ~3, bytes(4))
    # The board answers with the address that it was given.
    transport._flight[0].address = 99
    with pytest.raises(DeviceError, match=r"^sent a write of 4 bytes at 0x63; the board refused it:"
                                          r" baud$"):
        transport.read(0, 4)


@pytest.mark.parametrize("act", ["interrupt before", "interrupt within", "interrupt behind"])
def test_ctrl_c_anywhere_leaves_the_board_idle_and_usable(act: str) -> None:
    port = Meddling(act)
    with Board(SerialTransport(port, baud=BAUD), name="serial") as board:
        board.load(program())
        at, interrupted = 1, True
        while interrupted:
            port.after, port.calls = at, 0
            try:
                relaxed(board)
                interrupted = False
            except KeyboardInterrupt:
                port.after = -1
                assert board._open().status() == []
                same_readout(relaxed(board), expected())
            at += 3
        port.after = -1
    assert at > 60


def test_a_frame_that_is_lost_costs_one_go_back() -> None:
    port = Meddling("drop")
    transport = SerialTransport(port, baud=BAUD)
    port.after, port.calls = 2, 0
    for value in range(20):
        transport.write(ADDRESSES["steps"], value.to_bytes(4, "little"))
    began = port.now()
    assert transport.read(ADDRESSES["steps"], 4) == (19).to_bytes(4, "little")
    # Told by the board at once, not by a deadline.
    assert port.now() - began < 0.02
    assert 0 < transport.resent <= 40
    transport.close()


def test_replies_to_nothing_do_no_harm(transport: SerialTransport) -> None:
    port = transport._port
    take, stale = port.read, []

    def twice(seconds: float) -> bytes:
        data = take(seconds)
        stale.append(data)
        # All that ever came comes again.
        return b"".join(stale[-20:])

    port.read = twice  # type: ignore[method-assign]
    for value in range(300):
        transport.write(ADDRESSES["seed"], value.to_bytes(4, "little"))
        assert transport.read(ADDRESSES["seed"], 4) == value.to_bytes(4, "little")
    del port.read  # type: ignore[attr-defined]


def test_whole_driver_over_the_link() -> None:
    with Board(SerialTransport(SimulatedPort(simulation()), baud=BAUD), name="serial") as board:
        assert board.info()["device"] == "serial"
        board.load(program())
        same_readout(relaxed(board), expected())
        assert board.relax(H, steps=1, seed=3).steps == 1


def test_garbage_from_the_board_is_dropped_and_counted() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"\x05abc\0" + b"\xff" * 5000 + b"\0\0\0\x01\0") == []
    assert decoder.dropped == 3
    assert len(decoder._part) == 0

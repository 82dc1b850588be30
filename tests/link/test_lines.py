"""Lines: pyserial's, with faults, recorded and replayed; and their URLs."""

import importlib.metadata
import os
import re
import sys
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from link_sessions import BAUD, program, relaxed, simulation
from pbitstream.devices.board import Board
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.wire import PortLostError, SerialTransport, urls
from pbitstream.devices.wire.chaos import FAULTS, ChaosPort, random_plan
from pbitstream.devices.wire.recorder import RecordPort, ReplayPort
from pbitstream.devices.wire.serial_port import PySerialPort
from pbitstream.errors import DeviceError, FileFormatError, MissingExtraError, SpecError
from pbitstream_sim.serial_line import SimulatedPort


class Echo:
    """A port whose bytes come back; its clock goes on while it waits."""

    def __init__(self) -> None:
        self.data, self.time, self.closed, self.reopened = b"", 0.0, False, 0

    def read(self, seconds: float) -> bytes:
        data, self.data = self.data, b""
        if not data:
            self.time += seconds
        return data

    def write(self, data: bytes) -> None:
        self.data += data

    def set_baud(self, baud: int) -> None:
        pass

    def now(self) -> float:
        return self.time

    def reopen(self, seconds: float) -> None:
        self.reopened += 1

    def close(self) -> None:
        self.closed = True


def through(fault: str, *pieces: bytes) -> list[bytes]:
    """Return what comes back of pieces of which the first meets a fault."""
    faults = iter([fault])
    port = ChaosPort(Echo(), lambda way: next(faults, None) if way == "write" else None)
    got = []
    for piece in pieces:
        port.write(piece)
        got.append(port.read(1.0))
    assert port.faults[fault] == 1
    return got


def test_each_fault_does_what_its_name_says() -> None:
    one, two = b"0123456789", b"abc"
    assert through("drop", one, two) == [b"", two]
    assert through("duplicate", one, two) == [one + one, two]
    assert through("reorder", one, two) == [b"", two + one]
    assert through("delay", one, two) == [one, two]
    short, rest = through("truncate", one, two)
    assert one.startswith(short)
    assert len(short) < len(one)
    assert rest == two
    (bad,) = through("corrupt", one)
    assert len(bad) == len(one)
    assert bad != one
    with pytest.raises(PortLostError, match="pulled"):
        through("disconnect", one)


def test_delayed_bytes_are_not_overtaken() -> None:
    faults = iter(["delay"])
    inner = Echo()
    port = ChaosPort(inner, lambda way: next(faults, None) if way == "write" else None, seed=1)
    port.write(b"first ")
    port.write(b"second")
    assert inner.data == b""
    assert port.read(1.0) == b"first second"
    assert 0 < inner.time < 0.5


def test_a_plug_that_is_out_comes_back_or_not() -> None:
    outcomes = set()
    for seed in range(12):
        port = ChaosPort(Echo(), lambda way: "disconnect", seed)
        with pytest.raises(PortLostError):
            port.write(b"x")
        for name, argument in (("read", 0), ("write", b"y"), ("set_baud", 1)):
            with pytest.raises(PortLostError, match="the plug is out"):
                getattr(port, name)(argument)
        before = port.now()
        try:
            port.reopen(1.0)
            outcomes.add("back")
        except PortLostError as error:
            outcomes.add(str(error))
        assert port.now() - before <= 1.0 + 1e-9
    assert outcomes == {"back", "the plug is out, and was not back within 1.0 s"}


def test_a_seed_repeats_a_plan() -> None:
    plans = [random_plan(4, 0.3), random_plan(4, 0.3), random_plan(5, 0.3)]
    drawn = [[plan("read") for _ in range(400)] for plan in plans]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == {None, *FAULTS}


def test_a_recorded_session_is_replayed_without_its_board(tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    plan = random_plan(8, 0.03)
    line = RecordPort(ChaosPort(SimulatedPort(simulation()), plan, 8), path)
    with Board(SerialTransport(line, baud=BAUD)) as board:
        board.load(program())
        recorded = relaxed(board)
    with Board(SerialTransport(ReplayPort(path), baud=BAUD)) as board:
        board.load(program())
        same_readout(relaxed(board), recorded)
    # Something else is asked for than was then.
    with pytest.raises(DeviceError, match=r"session\.jsonl:\d+: the recording holds .* and sent is "
                                          r"write [0-9a-f]+; record it again$"):
        Board(SerialTransport(ReplayPort(path), baud=BAUD)).load(program(2))


def test_a_recorded_failure_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "failure.jsonl"
    faults = iter([None, None, "disconnect"])
    chaos = ChaosPort(Echo(), lambda way: next(faults, None), seed=2)
    line = RecordPort(chaos, path)
    ends = []
    for port in (line, None):
        port = port or ReplayPort(path)
        port.write(b"a")
        assert port.read(0.1) == b"a"
        with pytest.raises(PortLostError) as caught:
            port.write(b"b")
        with pytest.raises(PortLostError):
            port.set_baud(115200)
        ends.append((str(caught.value), port.now()))
        port.close()
    assert ends[0] == ends[1]


def test_files_that_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "other").write_text('["something", 1]\n')
    for name in ("text", "other", "nothing"):
        with pytest.raises(FileFormatError, match=re.escape(str(tmp_path / name))):
            ReplayPort(tmp_path / name)
    echo = Echo()
    with pytest.raises(DeviceError, match="cannot be written: No such file"):
        RecordPort(echo, tmp_path / "no" / "where")
    assert echo.closed


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    yield ours, os.ttyname(theirs)
    for end in (ours, theirs):
        try:
            os.close(end)
        except OSError:
            continue


def test_a_serial_line(terminal: tuple[int, str]) -> None:
    ours, name = terminal
    port = PySerialPort(name, 115_200)
    port.write(b"to the board")
    assert os.read(ours, 100) == b"to the board"
    os.write(ours, b"from the board")
    # What has come, which need not be all.
    got = b""
    while len(got) < len(b"from the board"):
        got += port.read(1.0)
    assert got == b"from the board"
    port.set_baud(3_000_000)
    began = time.monotonic()
    assert port.read(0.05) == b""
    assert time.monotonic() - began < 1
    # Two programs on one line are not allowed.
    with pytest.raises(DeviceError, match=rf"^{name} cannot be opened: "):
        PySerialPort(name, 115_200)
    port.reopen(0.5)
    os.write(ours, b"!")
    assert port.read(1.0) == b"!"
    port.close()


def test_a_plug_that_is_pulled(terminal: tuple[int, str]) -> None:
    ours, name = terminal
    port = PySerialPort(name, 115_200)
    os.close(ours)
    with pytest.raises(PortLostError, match=rf"^{name} is gone: "):
        port.read(0.01)
    began = time.monotonic()
    with pytest.raises(PortLostError, match=rf"^{name} does not come back: "):
        port.reopen(0.2)
    assert time.monotonic() - began < 1.5
    for ask in (lambda: port.read(0), lambda: port.write(b"x"), lambda: port.set_baud(230_400)):
        with pytest.raises(PortLostError):
            ask()
    port.close()


def test_a_url_of_pyserial() -> None:
    port = PySerialPort("loop://", 115_200)
    port.write(b"o")
    assert port.read(1.0) == b"o"
    port.close()


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(MissingExtraError, match=r"^serial: needs pyserial; pip install "
                                                r"'pbitstream\[serial\]'$"):
        urls.open_serial("/dev/ttyUSB1", {})


@pytest.mark.parametrize(("opener", "rest", "options", "message"), [
    (urls.open_serial, "", {}, "serial: needs an address, as in serial:/dev/ttyUSB1?baud=3000000"),
    (urls.open_serial, "/dev/x", {"baud": "9600"}, "baud must be one of 115200, "),
    (urls.open_serial, "/dev/x", {"speed": "1"}, "serial: takes the option baud, not speed"),
    (urls.open_chaos, "seed=1:serial:x", {}, "chaos: takes seed=N,rate=P and then a line, not "),
    (urls.open_chaos, "seed=1,rate=2:serial:x", {}, "seed must be a whole number and rate between"),
    (urls.open_chaos, "seed=a,rate=0:serial:x", {}, "seed must be a whole number and rate between"),
    (urls.open_chaos, "seed=1,rate=0:abacus:x", {}, "a line must be serial:ADDRESS, chaos:"),
    (urls.open_record, "file", {}, "a line must be serial:ADDRESS, chaos:"),
])
def test_urls_that_are_refused(opener, rest, options, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        opener(rest, options)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(DeviceError, match=r"^/dev/not_there cannot be opened: .*No such file"):
        urls.open_serial("/dev/not_there", {})


def test_lines_nest(tmp_path: Path) -> None:
    port = urls.open_port(f"record:{tmp_path}/a:chaos:seed=1,rate=0:serial:loop://", 115_200)
    port.write(b"x")
    assert port.read(1.0) == b"x"
    port.close()
    assert urls.open_port(f"replay:{tmp_path}/a", 115_200).write(b"x") is None


def test_the_schemes_are_registered() -> None:
    points = importlib.metadata.entry_points(group="pbitstream.devices")
    for name in ("serial", "chaos", "record", "replay"):
        assert points[name].load() is getattr(urls, f"open_{name}")

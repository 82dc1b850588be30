"""The driver and the whole RTL with its UART: in this process, and behind a pseudo-terminal."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from pbitstream.cli import main
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.board import Board, link
from pbitstream.devices.registry import open_device
from pbitstream.devices.wire import SerialTransport, serial_port
from pbitstream.devices.wire import transport as transport_module
from pbitstream.errors import DeviceError
from pbitstream.program import Program
from pbitstream.spec.frames import BAUDS
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.registers import MAGIC, REGISTERS, WINDOWS
from pbitstream_gateware.presets import PRESETS
from pbitstream_sim.serial_board import open_pty, serve
from pbitstream_sim.serial_line import SerialSimulation, SimulatedPort, serial_verilog

FASTEST = BAUDS[-1]
BIASES, SUMS, STATES, NOISE = (
    next(window.address for window in WINDOWS if window.name == name)
    for name in ("biases", "sums", "states", "noise"))
STATUS, CYCLES = (next(register.address for register in REGISTERS if register.name == name)
                  for name in ("status", "cycles"))


@pytest.fixture(scope="module")
def board() -> Iterator[SerialSimulation]:
    with SerialSimulation(serial_verilog(PRESETS["tiny"])) as made:
        yield made


def test_a_closed_simulation_says_so() -> None:
    """And is not passed on to the library."""
    with SerialSimulation(serial_verilog(PRESETS["tiny"])) as made:
        assert not made.busy
    made.close()
    for ask in (made.pull, made.reset, lambda: made.push(b"x"), lambda: made.run(1),
                lambda: made.set_baud(9600), lambda: made.empty):
        with pytest.raises(DeviceError, match="closed"):
            ask()


@pytest.fixture
def terminal(board: SerialSimulation) -> Iterator[str]:
    """The path of a pseudo-terminal with the board behind it."""
    ours, theirs = open_pty()
    done = threading.Event()
    server = threading.Thread(target=serve, args=(board, ours, done.is_set))
    server.start()
    yield os.ttyname(theirs)
    done.set()
    server.join()
    os.close(ours)
    os.close(theirs)
    # What was still on its way is not the next test's.
    board.cut()


@pytest.mark.parametrize("size", [256, 1024])
def test_streamed_biases_fill_the_line(board: SerialSimulation, size: int) -> None:
    """Payload of at least nine tenths of what 3 Mbaud carry; 256 bytes are 128 biases."""
    transport = SerialTransport(SimulatedPort(board), baud=FASTEST)
    port = transport._port
    data = np.random.default_rng(4).integers(0, 256, size, np.uint8).tobytes()
    began, count = port.now(), 16 * 1024 // size
    for _ in range(count):
        transport.write(BIASES, data)
    assert transport.read(0, 4) == MAGIC.to_bytes(4, "little")
    efficiency = count * size / ((port.now() - began) * FASTEST / 10)
    transport.close()
    assert 0.9 <= efficiency < 1, efficiency
    assert transport.resent == 0


@pytest.mark.parametrize("baud", BAUDS)
def test_every_rate_is_found_and_set(board: SerialSimulation, baud: int) -> None:
    """From whatever rate the board was left at; its last one is that of the test before."""
    if baud == BAUDS[0]:
        board.reset()
    transport = SerialTransport(SimulatedPort(board), baud=baud)
    assert transport.read(0, 4) == MAGIC.to_bytes(4, "little")
    transport.close()
    assert transport._baud == baud


def test_pipelined_requests_are_several_at_a_time(board: SerialSimulation) -> None:
    transport = SerialTransport(SimulatedPort(board), baud=FASTEST)
    most = 0
    send = transport._send

    def counted() -> bool:
        nonlocal most
        sent = send()
        most = max(most, len(transport._flight))
        return sent

    transport._send = counted  # type: ignore[method-assign]
    transport.write(0x80000, bytes(16 * 1024))
    assert most == 7
    transport.close()


@pytest.mark.parametrize("count", ["1", pytest.param("12", marks=pytest.mark.long)])
def test_infer_over_a_terminal_is_infer_on_the_emulator(
    terminal: str, count: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Here seconds are this computer's, and a simulated board has only a share of it.
    for name, seconds in (("PATIENCE", 30.0), ("OPENING", 30.0), ("PATIENT_ATTEMPT", 2.0)):
        monkeypatch.setattr(transport_module, name, seconds)
    monkeypatch.setattr(serial_port, "WRITE_SECONDS", 10.0)
    documents: list[Any] = []
    for device in ("emulator:", f"serial:{terminal}?baud={FASTEST}"):
        words = ["infer", "-d", device, "--json", "--seed", "5", "--count", count]
        assert main([*words, "--noise", "0.4"]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    for document in documents:
        for where in ("device", "device_info", "timing", "seconds"):
            document.pop(where, None)
    assert documents[0] == documents[1]


def test_faults_over_a_terminal(terminal: str) -> None:
    """The device URL of a line with faults, over the real driver and the RTL."""
    came_to = []
    for seed in range(3):
        try:
            url = f"chaos:seed={seed},rate=0.02:serial:{terminal}?baud={FASTEST}"
            with open_device(url) as device:
                came_to.append(device.info()["device"])
        except DeviceError as error:
            came_to.append(str(error)[:4])
    # What is on the line when depends on this computer, and so does which fault it meets.
    assert set(came_to) <= {"chaos", "sent"}


def test_a_reset_board_is_told_once_and_works_again(board: SerialSimulation) -> None:
    port = SimulatedPort(board)
    made = Board(SerialTransport(port, baud=BAUDS[0]), name="serial")
    assert made.info()["link_errors"] >= 0
    board.reset()
    with pytest.raises(DeviceError, match=r"^sent a read of 4 bytes at 0x58; the board does not "
                                          r"know this session: it was reset, or somebody else "):
        made.info()
    with pytest.raises(DeviceError, match=r"reset\(\) the device, or open it again$"):
        made.info()
    made.reset()
    assert made.info()["link_errors"] == 0
    made.close()


def pairs(units: int) -> Program:
    """Return Langevin units in four modules, coupled in pairs."""
    rng = np.random.default_rng(0)
    builder = ProgramBuilder()
    for pair in range(2):
        x, y = (builder.langevin(f"{name}{pair}", units // 4) for name in "xy")
        builder.low_rank(x, y, *0.05 * rng.normal(size=(2, units // 4, 1)), [0.2])
    return builder.build()


def test_a_longer_relaxation_hides_the_link(board: SerialSimulation) -> None:
    """Biases and states on their way in, readouts on their way out; in simulated time, so that
    nothing depends on the speed of this computer."""
    units, inputs, steps = 256, 5, 700
    biases = np.random.default_rng(1).normal(size=(inputs, units)) / 8

    def cycles(work: Callable[[], Any]) -> int:
        began = board.cycles
        work()
        return board.cycles - began

    # Between two looks at a busy board no time of this computer passes.
    sleepless = SimpleNamespace(sleep=lambda seconds: None, monotonic=link.time.monotonic)
    with (patch.object(link, "time", sleepless),
          Board(SerialTransport(SimulatedPort(board), baud=FASTEST)) as device):
        device.load(pairs(units))
        # Both pages of inputs are known from here on.
        first = device.relax(biases, steps=1, seed=1)
        line = device.transport
        look = cycles(lambda: (line.read(STATUS, 4), line.read(CYCLES, 8)))
        # Into slots that the program does not use.
        page = cycles(lambda: (line.write(BIASES + 2 * units, bytes(2 * units)),
                               line.read(STATUS, 4)))
        state = cycles(lambda: (line.read(STATES, 4 * units), line.read(NOISE, 8 * STREAMS)))
        readout = state + cycles(lambda: line.read(SUMS, 8 * units))
        for given, sent in ((None, page), (first.state, page + state)):
            total = cycles(partial(device.relax, biases, steps=steps, seed=1, state=given))
            relaxing = device.counters()["cycles"]
            assert relaxing > inputs * (sent + readout), "the relaxation is the longer one"
            # What the first chain needs and what the last one leaves; between two chains, an end
            # that is seen late, three counters, and the next start.
            assert total < relaxing + sent + readout + inputs * 4 * look

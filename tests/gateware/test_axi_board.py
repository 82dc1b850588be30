"""The whole design behind its AXI port, in Verilator: the device that a processor would see."""

import re

import numpy as np
import pytest

from pbitstream.devices.board import Board
from pbitstream.devices.conformance import Sizes, check_device, same_readout
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError, SpecError
from pbitstream.spec import spec_register
from pbitstream.spec.registers import BOARD_BYTES, MAGIC, REGISTERS, UNMAPPED, WINDOWS
from pbitstream_gateware.presets import PRESETS
from pbitstream_sim.axi_board import AxiBoard, axi_verilog

TABLES = next(window.address for window in WINDOWS if window.name == "tables")
SEED = next(register.address for register in REGISTERS if register.name == "seed")


@pytest.fixture(scope="module")
def verilog() -> str:
    return axi_verilog(PRESETS["tiny"])


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_conformance(verilog: str, seed: int) -> None:
    program = random_program(np.random.default_rng([43, seed]), board=True, alive=True, max_dim=24)
    passed = check_device(lambda: Board(AxiBoard(verilog, pauses=0.3, seed=seed)), [program],
                          sizes=Sizes(steps=3, chains=2, seed=seed))
    assert len(passed) > 5


@pytest.mark.parametrize("pauses", [0.0, 0.5])
def test_a_relaxation_has_the_bits_of_the_emulator(verilog: str, pauses: float) -> None:
    draw = np.random.default_rng(44)
    program = random_program(draw, board=True, alive=True, max_dim=100)
    call = random_call(program, draw, max_steps=20, max_chains=2)
    with Emulator() as emulator, Board(AxiBoard(verilog, pauses=pauses, seed=7)) as board:
        for device in (emulator, board):
            device.load(program, force=True)
        same_readout(board.relax(**call), emulator.relax(**call))


@pytest.mark.parametrize(("pauses", "seed"), [(0.0, 0), (0.3, 1), (0.9, 2)])
def test_words_go_in_and_come_out(verilog: str, pauses: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    with AxiBoard(verilog, pauses=pauses, seed=seed) as board:
        assert board.read(0, 4) == MAGIC.to_bytes(4, "little")
        assert board.read(4, 8) == spec_register().to_bytes(8, "little")
        assert board.read(BOARD_BYTES - 4, 4) == UNMAPPED.to_bytes(4, "little")
        for words in (1, 2, 16, 17, 100, 1030):
            # Across bursts, and across a border of 4 KiB, which no burst may cross.
            data = draw.bytes(4 * words)
            place = TABLES + 4096 - 4 * min(words, 5)
            board.write(place, data)
            assert board.read(place, len(data)) == data, f"seed {seed}"
        board.write(SEED, bytes(range(8)))
        assert board.read(SEED, 8) == bytes(range(8))
        assert board.read(0, 0) == b""


def test_a_burst_of_16_words_shares_its_address(verilog: str) -> None:
    with AxiBoard(verilog) as board:
        before = board.cycles
        board.write(TABLES, bytes(64))
        together = board.cycles - before
        for n in range(16):
            board.write(TABLES + 4 * n, bytes(4))
        assert board.cycles - before - together > together


@pytest.mark.parametrize(("what", "message"), [
    (lambda verilog: AxiBoard(verilog, pauses=1.0), "pauses must be a share from 0 to below 1"),
    (lambda verilog: AxiBoard(verilog, seed=-1), "seed must be between 0 and 2**63 - 1, not -1"),
    (lambda verilog: AxiBoard(verilog).read(2, 4), "must be of whole words below 0x100000"),
    (lambda verilog: AxiBoard(verilog).read(BOARD_BYTES - 4, 8), "not from 0xffffc to 0x100004"),
])
def test_refusals(verilog: str, what: object, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        what(verilog)  # type: ignore[operator]


def test_a_closed_board_says_so(verilog: str) -> None:
    board = AxiBoard(verilog)
    board.close()
    board.close()
    with pytest.raises(DeviceError, match="closed"):
        board.read(0, 4)

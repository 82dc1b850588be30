"""Registers as memory: every word once, nobody else at the same time, and every bit right."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pbitstream.devices.conformance import Sizes, check_device
from pbitstream.devices.random_programs import random_program
from pbitstream.devices.zynq import memory
from pbitstream.devices.zynq.memory import Claim, MemoryTransport
from pbitstream.devices.zynq.slcr import SLCR_BASE, Slcr
from pbitstream.devices.zynq.urls import OnZynq
from pbitstream.errors import DeviceError, SpecError
from pbitstream.spec.handoff import BASE
from pbitstream.spec.registers import BOARD_BYTES
from pbitstream_gateware.presets import PRESETS
from pbitstream_sim.axi_board import AxiBoard, axi_verilog
from zynq_stand_in import Words, Zynq


@pytest.fixture
def zynq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zynq:
    return Zynq.make(tmp_path / "zynq", monkeypatch)


def test_words_go_where_they_belong(zynq: Zynq) -> None:
    seed = 5
    data = np.random.default_rng(seed).integers(0, 256, 4096, np.uint8).tobytes()
    claim = Claim()
    transport = MemoryTransport(claim.map(BASE, BOARD_BYTES), claim)
    for start, length in ((0, 4), (4, 8), (0x1000, 4096), (BOARD_BYTES - 4, 4), (0x2000, 0)):
        transport.write(start, data[:length])
        assert transport.read(start, length) == data[:length], f"seed {seed}"
    transport.close()
    with open(zynq.memory, "rb") as file:
        file.seek(BASE + 0x1000)
        assert file.read(4096) == data
    Claim().close()


def test_a_request_is_one_access_of_whole_words() -> None:
    words = Words(MemoryTransport(np.zeros(64, np.uint32)))
    transport = MemoryTransport(words)  # type: ignore[arg-type]
    transport.write(8, bytes(range(12)))
    assert transport.read(12, 8) == bytes(range(4, 12))
    assert words.accesses == [("write", 2, 5), ("read", 3, 5)]


def test_one_program_at_a_time(zynq: Zynq) -> None:
    claim = Claim()
    words = claim.map(BASE, BOARD_BYTES)
    with pytest.raises(DeviceError, match="another program of pbitstream uses the board"):
        Claim()
    claim.close()
    claim.close()
    # The map is still there, and keeps nobody away.
    Claim().close()
    assert len(words) == BOARD_BYTES // 4


def test_memory_that_cannot_be_had(zynq: Zynq, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim()
    with pytest.raises(DeviceError, match="does not show 1,048,576 bytes at 0xfff00000"):
        claim.map(0xFFF0_0000, BOARD_BYTES)
    claim.close()

    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(DeviceError, match="may not be opened by this user; run it with sudo"):
            Claim()
    monkeypatch.setattr(memory, "MEMORY", Path("/nonexistent/mem"))
    with pytest.raises(DeviceError, match="cannot be opened: No such file or directory"):
        Claim()


@pytest.fixture
def slcr(zynq: Zynq) -> Iterator[Slcr]:
    claim = Claim()
    yield Slcr(MemoryTransport(claim.map(SLCR_BASE, 0x1000)))
    claim.close()


@pytest.mark.parametrize(("wanted", "made"), [(100e6, 100e6), (125e6, 125e6), (130e6, 125e6),
                                              (1e9, 1e9), (3e9, 1e9), (66.7e6, 1e9 / 15),
                                              (0.252e6, 1e9 / 63 / 63)])
def test_the_clock_is_never_faster_than_asked(zynq: Zynq, slcr: Slcr, wanted: float,
                                              made: float) -> None:
    before = zynq.word(SLCR_BASE + 0x170)
    slcr.set_clock(wanted)
    assert slcr.clock == pytest.approx(made)
    # Source and reserved bits stay; it was unlocked for the write, and locked again.
    assert (zynq.word(SLCR_BASE + 0x170) ^ before) & ~(63 << 20 | 63 << 8) == 0
    assert zynq.word(SLCR_BASE + 0x008) == 0xDF0D
    assert zynq.word(SLCR_BASE + 0x004) == 0x767B


def test_a_clock_that_was_read_can_be_set_again(zynq: Zynq, slcr: Slcr) -> None:
    for first in range(1, 64):
        for second in range(1, first + 1):
            zynq.place(SLCR_BASE + 0x170, second << 20 | first << 8)
            before = slcr.clock
            slcr.set_clock(before)
            assert slcr.clock == before


def test_clocks_of_other_plls(zynq: Zynq, slcr: Slcr) -> None:
    for source, mhz in enumerate((1000, 1000, 1600, 1050)):
        zynq.place(SLCR_BASE + 0x170, source << 4 | 2 << 20 | 5 << 8)
        assert slcr.clock == mhz * 1e5
    zynq.place(SLCR_BASE + 0x170, 0)
    with pytest.raises(DeviceError, match="a divider of 0"):
        _ = slcr.clock
    with pytest.raises(SpecError, match=r"clock must be at least 0\.252 MHz, not 0\.1 MHz"):
        slcr.set_clock(1e5)


def test_conformance_through_the_port_of_the_rtl() -> None:
    seed = 0
    verilog = axi_verilog(PRESETS["tiny"])
    program = random_program(np.random.default_rng([43, seed]), board=True, alive=True, max_dim=24)

    def open_board() -> OnZynq:
        words = Words(AxiBoard(verilog))
        transport = MemoryTransport(words)  # type: ignore[arg-type]
        return OnZynq(transport, access="test", clock=1e8)

    passed = check_device(open_board, [program], sizes=Sizes(steps=3, chains=2, seed=seed))
    assert len(passed) > 5

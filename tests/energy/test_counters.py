"""Counts of a device: against a count by hand, on the emulator and over a transport."""

from typing import Any

import numpy as np
import pytest

from board_model import ModelTransport
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import Conditioning, Stage
from pbitstream.devices.board import Board
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.protocol import Settings
from pbitstream.emulator.device import Emulator
from pbitstream.energy.counters import CountedDevice, Counts
from pbitstream.errors import DeviceError, SpecError
from pbitstream.layers import Linear
from pbitstream.program import Program
from pbitstream.spec.image import Image
from pbitstream.statistics import relax_in_segments
from pbitstream.stream import Input, Stream

IMAGE = Image(lanes=8, max_units=256, max_rank_words=1024, max_modules=8, max_instructions=128,
              max_gains=256)
NAN = float("nan")


def mixed(seed: int = 5) -> Program:
    """Return x (5, Langevin), p (6, p-bits) and c (3, clamped); 20 weights of conditioning."""
    rng = np.random.default_rng(seed)
    builder = ProgramBuilder()
    x, p, c = builder.langevin("x", 5), builder.pbit("p", 6), builder.clamped("c", 3)
    builder.low_rank(x, p, rng.normal(size=(5, 2)), rng.normal(size=(6, 2)), [0.2, 0.1])
    builder.band(c, x, {0: [0.5, 0.25, 0.1, 0.0, 0.0]})
    net = Conditioning(4, (Stage((Linear.quantise(rng.normal(size=(5, 4))),), "x"),))
    return builder.build(conditioning=net)


def arguments(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(6)
    return {"h": rng.normal(size=(2, 14)), "clamp": rng.normal(size=(2, 3)), "steps": 3,
            "burn_in": 4, "seed": 7, "chains": 3, **changes}


def test_counts_by_hand() -> None:
    program = mixed()
    with Emulator() as emulator:
        device = CountedDevice(emulator)
        device.load(program)
        device.load(mixed())
        # The same tables once: 2 ranks of 5 + 6 + 1, the band's 5, three of each of 14 units.
        assert device.counts == Counts(writes=2 * 12 + 5 + 3 * 14)
        device.restart()
        readout = device.relax(**arguments())
        runs, steps = 2 * 3, 2 * 3 * (3 + 4)
        assert device.counts == Counts(
            relaxations=runs,
            steps=steps,
            langevin_updates=steps * 5,
            pbit_updates=steps * 6,
            # Both ways 2 (5 + 6) + 2 of the bank, one way 3 of the band, 4 a Langevin unit, 1 a
            # p-bit.
            multiplications=steps * (2 * 24 + 3 + 4 * 5 + 6),
            reads=runs * 11 * 2,
            writes=2 * 14,
            conditioning=2 * 20,
        )
        assert (device.counts.values, device.counts.link_bytes) == (runs * 22 + 28, None)
        # Squares are read too; states, gains and settings are written where they are given.
        device.restart()
        device.relax(**arguments(moments=True, state=readout.state, gains=np.full((2, 2, 2), 0.1),
                                 settings=Settings(k2=[1.0, NAN, NAN], beta=[NAN, 2.0, NAN])))
        counts = device.counts
        assert counts.reads == runs * 11 * 3
        assert counts.writes == 2 * 14 + runs * 11 + 2 * 2 + 2


def test_segments_are_conditioned_once() -> None:
    with Emulator() as emulator:
        device = CountedDevice(emulator)
        device.load(mixed())
        device.restart()
        call = arguments(steps=16)
        relax_in_segments(device, call.pop("h"), segments=4, **call)
        assert device.counts.conditioning == 2 * 20
        assert device.counts.relaxations == 4 * 6
        assert device.counts.steps == 6 * (16 + 4)
        device.relax(**arguments())
        assert device.counts.conditioning == 4 * 20


def test_a_stream_counts_every_input() -> None:
    rng = np.random.default_rng(3)
    inputs = [Input(rng.normal(size=4), rng.normal(size=3)) for _ in range(5)]
    with Emulator() as emulator:
        device = CountedDevice(emulator)
        stream = Stream(mixed(), device, steps=32, burn_in=8, batch=2)
        list(stream.run(inputs))
        assert device.counts.conditioning == 5 * 20
        assert device.counts.steps == 5 * 40
        assert device.counts.langevin_updates == 5 * 40 * 5


def test_a_call_that_fails_counts_nothing() -> None:
    with Emulator() as emulator:
        emulator.load(mixed())
        device = CountedDevice(emulator)
        with pytest.raises(DeviceError, match="no program was loaded through this device"):
            device.relax(**arguments())
        device.load(mixed())
        device.restart()
        with pytest.raises(SpecError):
            device.relax(**arguments(steps=0))
        assert device.counts == Counts()


def test_a_board_counts_itself() -> None:
    """Cycles are its registers', bytes and requests those that its transport was asked for."""

    class Asked(ModelTransport):
        def __init__(self) -> None:
            super().__init__(IMAGE)
            self.asked: list[int] = []
            self.sent: list[int] = []

        def read(self, address: int, count: int) -> bytes:
            self.asked.append(count)
            return super().read(address, count)

        def write(self, address: int, data: bytes) -> None:
            self.sent.append(len(data))
            super().write(address, data)

    transport = Asked()
    with Board(transport) as board, Emulator() as emulator:
        assert board.transport is transport
        device = CountedDevice(board)
        device.load(mixed())
        emulator.load(mixed())
        device.restart()
        transport.asked.clear()
        transport.sent.clear()
        cycles = []
        for seed in (1, 2):
            same_readout(device.relax(**arguments(seed=seed)),
                         emulator.relax(**arguments(seed=seed)))
            cycles.append(board.counters())
        counts, link = device.counts, board.traffic()
        assert counts.cycles == sum(c["cycles"] for c in cycles) > 0
        assert counts.multiplying == sum(c["multiplying"] for c in cycles) > 0
        assert counts.link is not None
        assert (counts.link.bytes_read, counts.link.bytes_written) == (
            sum(transport.asked), sum(transport.sent))
        assert (counts.link.read_requests, counts.link.write_requests) == (
            len(transport.asked), len(transport.sent))
        assert counts.link_bytes == sum(transport.asked) + sum(transport.sent)
        # Loading is in what went over the link since it was opened.
        assert link.bytes_written > counts.link.bytes_written
        device.restart()
        assert (device.counts.link_bytes, device.counts.cycles) == (0, 0)
        assert device.info()["program_digest"] == mixed().digest
        device.reset()
        assert device.info()["program_digest"] is None

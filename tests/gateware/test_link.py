"""The frame sender against the host's encoder, the link engine against its rules in Python."""

import random
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from pbitstream.devices.wire.codec import Frame, encode
from pbitstream.spec.frames import (
    ADDRESS_BITS,
    BAUDS,
    BUFFER_WORDS,
    ERRORS,
    MAX_PAYLOAD,
    OPERATIONS,
)
from pbitstream.spec.registers import BOARD_BYTES
from pbitstream_gateware.frames import FrameSender
from pbitstream_gateware.link import LinkEngine
from simulation import simulate

READ, WRITE, REPLY, ERROR, OPEN, BAUD = (
    OPERATIONS[name] for name in ("read", "write", "reply", "error", "open", "baud"))


def words_of(frame: Frame) -> list[int]:
    data = (frame.seq | frame.op << 8 | frame.addr << 16 | frame.count << 48).to_bytes(8, "little")
    data += frame.payload
    return [int.from_bytes(data[n : n + 4], "little") for n in range(0, len(data), 4)]


async def give(ctx: Any, port: Any, draw: random.Random, frame: Frame) -> None:
    """Send a frame's words into a stream, with pauses."""
    words = words_of(frame)
    for number, word in enumerate(words):
        while draw.random() < 0.3:
            await ctx.tick()
        ctx.set(port.valid, 1)
        ctx.set(port.data, word)
        ctx.set(port.last, number == len(words) - 1)
        await ctx.tick().until(port.ready)
        ctx.set(port.valid, 0)


def payload(draw: random.Random, size: int) -> bytes:
    zeros = draw.choice([0.0, 0.01, 0.5, 1.0])
    return bytes(0 if draw.random() < zeros else draw.randrange(1, 256) for _ in range(size))


@pytest.mark.parametrize("seed", range(3))
def test_a_sent_frame_is_what_the_host_encodes(seed: int) -> None:
    draw = random.Random(seed)
    dut = FrameSender()
    sizes = [0, 4, 240, 244, 248, 252, 496, 500, 504, MAX_PAYLOAD, *(
        4 * draw.randrange(40) for _ in range(12))]
    frames = [Frame(draw.randrange(256), REPLY, draw.getrandbits(32), size, payload(draw, size))
              for size in sizes]
    got = bytearray()

    async def bench(ctx: Any) -> None:
        for frame in frames:
            await give(ctx, dut.i, draw, frame)
        await ctx.tick().until(dut.idle)
        await ctx.tick()

    async def line(ctx: Any) -> None:
        slow = draw.random() < 0.5
        while True:
            ctx.set(dut.o.ready, not slow or draw.random() < 0.3)
            _, _, valid, ready, data = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.data)
            if valid and ready:
                got.append(data)

    simulate(dut, bench, background=(line,))
    assert bytes(got) == b"".join(encode(frame) for frame in frames)


class Rules:
    """What a board does, as `pbitstream.spec.frames` says it; memory answers its own address."""

    def __init__(self) -> None:
        self.session: int | None = None
        self.expected = 0
        self.baud = 0
        self.bus: list[tuple[int, int | None]] = []
        self.words: dict[int, int] = {}

    def answer(self, frame: Frame) -> Frame:
        session, address = frame.addr >> ADDRESS_BITS, frame.addr & BOARD_BYTES - 1
        if frame.op == OPEN:
            if session != self.session:
                self.session, self.expected = session, frame.seq + 1 & 255
            return self._detail(frame, REPLY, BUFFER_WORDS)
        reason = self._reason(frame, session, address)
        if reason:
            return self._detail(frame, ERROR, ERRORS[reason])
        again, self.expected = frame.seq != self.expected, frame.seq + 1 & 255
        data = b""
        if frame.op == BAUD:
            self.baud = address
        for at in range(address // 4, (address + frame.count) // 4 if frame.op != BAUD else 0):
            if frame.op == READ:
                self.bus.append((at, None))
                data += self.words.get(at, at * 0x9E3779B1 & 0xFFFFFFFF).to_bytes(4, "little")
            elif not again:
                first = 4 * at - address
                word = int.from_bytes(frame.payload[first : first + 4], "little")
                self.bus.append((at, word))
                self.words[at] = word
        return Frame(frame.seq, REPLY, frame.addr, len(data), data)

    def _reason(self, frame: Frame, session: int, address: int) -> str | None:
        if session != self.session:
            return "session"
        if (self.expected - frame.seq) & 255 > 1:
            return "sequence"
        if frame.op not in (READ, WRITE, BAUD):
            return "operation"
        if frame.op == BAUD:
            return None if address < len(BAUDS) else "baud"
        if frame.count % 4 or not 0 < frame.count <= MAX_PAYLOAD:
            return "count"
        return "address" if address % 4 or address + frame.count > BOARD_BYTES else None

    def _detail(self, frame: Frame, op: int, number: int) -> Frame:
        word = number | self.expected << 16
        return Frame(frame.seq, op, frame.addr, 4, word.to_bytes(4, "little"))


def random_request(draw: random.Random, rules: Rules) -> Frame:
    op = draw.choices([READ, WRITE, BAUD, OPEN, draw.randrange(256)], [6, 6, 1, 1, 1])[0]
    seq = rules.expected + draw.choices([0, -1, draw.randrange(256)], [8, 3, 1])[0] & 255
    session = rules.session or 5
    if draw.random() < 0.05 or (op == OPEN and draw.random() < 0.5):
        session = draw.randrange(1 << 12)
    address = draw.choice([4 * draw.randrange(64), draw.randrange(BOARD_BYTES), BOARD_BYTES - 16,
                           BOARD_BYTES - 4])
    if op == BAUD:
        address = draw.randrange(len(BAUDS) + 2)
    if op == READ:
        count = draw.choice([4, 4, 8, 16, 20, 64, 0, 6, MAX_PAYLOAD + 4, 1 << 15])
        return Frame(seq, op, session << ADDRESS_BITS | address, count)
    size = 4 * draw.choice([0, 1, 1, 2, 4, 5, 8])
    return Frame(seq, op, session << ADDRESS_BITS | address, size, payload(draw, size))


@pytest.mark.parametrize("seed", range(6))
def test_the_engine_keeps_the_rules(seed: int) -> None:
    draw = random.Random(seed)
    dut = LinkEngine()
    reset = Signal()
    rules = Rules()
    answers: list[list[int]] = [[]]
    requested: list[tuple[int, int | None]] = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.drained, 1)
        for number in range(300):
            frame = random_request(draw, rules)
            wanted = rules.answer(frame)
            await give(ctx, dut.i, draw, frame)
            while not (len(answers) > 1 and answers[-1] == []):
                await ctx.tick()
            got = answers[0]
            answers[:] = [[]]
            assert got == words_of(wanted), (number, frame, wanted)
            assert requested == rules.bus, (number, frame)
            requested.clear()
            rules.bus.clear()
            await ctx.tick().repeat(3)
            assert ctx.get(dut.baud) == rules.baud
            if draw.random() < 0.02:
                ctx.set(reset, 1)
                await ctx.tick()
                ctx.set(reset, 0)
                rules.session, rules.expected, rules.baud = None, 0, 0
                assert not ctx.get(dut.opened)

    async def memory(ctx: Any) -> None:
        bus = dut.bus
        while True:
            if not ctx.get(bus.valid):
                await ctx.tick()
                continue
            address, write, data = ctx.get(bus.address), ctx.get(bus.write), ctx.get(bus.data)
            for _ in range(draw.randrange(15)):
                await ctx.tick()
                held = ctx.get(bus.valid), ctx.get(bus.address), ctx.get(bus.write)
                assert held == (1, address, write)
            word = rules_words.get(address, address * 0x9E3779B1 & 0xFFFFFFFF)
            requested.append((address, data if write else None))
            if write:
                rules_words[address] = data
            ctx.set(bus.read, word)
            ctx.set(bus.ack, 1)
            await ctx.tick()
            ctx.set(bus.ack, 0)

    async def listener(ctx: Any) -> None:
        while True:
            ctx.set(dut.o.ready, draw.random() < 0.6)
            _, _, valid, ready, data, last = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.data, dut.o.last)
            if valid and ready:
                answers[-1].append(data)
                if last:
                    answers.append([])

    rules_words: dict[int, int] = {}
    simulate(ResetInserter(reset)(dut), bench, background=(memory, listener))


def test_a_rate_changes_when_its_answer_has_left() -> None:
    dut = LinkEngine()

    async def bench(ctx: Any) -> None:
        ctx.set(dut.o.ready, 1)
        draw = random.Random(1)
        await give(ctx, dut.i, draw, Frame(7, OPEN, 3 << ADDRESS_BITS, 0))
        await ctx.tick().repeat(10)
        await give(ctx, dut.i, draw, Frame(8, BAUD, 3 << ADDRESS_BITS | 5, 0))
        for _ in range(50):
            await ctx.tick()
            assert ctx.get(dut.baud) == 0
        ctx.set(dut.drained, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(dut.baud) == 5

    simulate(dut, bench)

"""Memories behind windows against lists, cycle by cycle."""

import random
from collections import deque
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Shape, Signal, signed, unsigned

from blocks import base
from pbitstream.spec.registers import OTHER_PAGE, WINDOWS
from pbitstream_gateware.memory import ReadoutMemory, WindowMemory
from pbitstream_gateware.ports import ADDRESS_BITS, WINDOW_LATENCY
from simulation import simulate

CYCLES = 400
DEPTH = 8
WORD = (1 << 32) - 1


class Model:
    """What a memory holds, and where its words stand in the window."""

    def __init__(self, dut: WindowMemory) -> None:
        self.dut = dut
        self.words = -(-dut.shape.width // 32)
        self.pages = [[0] * DEPTH for _ in range(dut.pages)]

    def place(self, address: int) -> tuple[int, int] | None:
        """Return the entry and the word of it at an address, if it is this memory's."""
        dut, offset = self.dut, address - base(self.dut.window)
        if not 0 <= offset < DEPTH * dut.parts * self.words:
            return None
        number, word = divmod(offset, self.words)
        group, low = divmod(number, 1 << dut.lane_bits)
        row, part = divmod(group, dut.parts)
        return (row << dut.lane_bits | low, word) if part == dut.part else None

    def shown(self, page: int, address: int) -> int:
        """Return the word at an address, 0 where it is another memory's."""
        place = self.place(address)
        return self.pages[page][place[0]] >> 32 * place[1] & WORD if place else 0

    def store(self, page: int, address: int, data: int) -> None:
        """Store a word; entries of two words in one page are the design's alone."""
        place = self.place(address)
        if place is None or (self.dut.pages == 1 and self.words > 1):
            return
        entry, word = place
        kept = self.pages[page][entry] & ~(WORD << 32 * word)
        self.pages[page][entry] = self.fitted(kept | data << 32 * word)

    def fitted(self, value: int) -> int:
        """Return the number that the bits of an entry stand for."""
        shape = self.dut.shape
        value &= (1 << shape.width) - 1
        return value - (shape.signed and value >> shape.width - 1) * (1 << shape.width)


def address(draw: random.Random, model: Model) -> int:
    """Return an address, mostly of the window, often next to it."""
    span = DEPTH * model.dut.parts * model.words
    return (base(model.dut.window) + draw.randrange(span) if draw.random() < 0.8 else draw.choice([
        base(model.dut.window) + span + draw.randrange(span),
        base(draw.choice(WINDOWS).name) + draw.randrange(2 * span),
        draw.getrandbits(ADDRESS_BITS),
    ])) % (1 << ADDRESS_BITS)


@pytest.mark.parametrize(("part", "parts", "lane_bits"), [(0, 1, 0), (1, 2, 2), (2, 4, 1)])
@pytest.mark.parametrize(("window", "shape", "pages", "lends"), [
    ("gains", signed(16), 2, False), ("states", signed(24), 1, False),
    ("stiffness", unsigned(32), 2, False), ("sums", signed(40), 1, False),
    ("squares", unsigned(56), 1, False), ("modules", unsigned(64), 2, False),
    ("instructions", unsigned(128), 2, True),
])
def test_memory(
    window: str, shape: Shape, pages: int, lends: bool, part: int, parts: int, lane_bits: int
) -> None:
    seed = part
    draw = random.Random(seed)
    dut = WindowMemory(window, shape, DEPTH, pages=pages, part=part, parts=parts,
                       lane_bits=lane_bits, lends=lends)
    model, reset = Model(dut), Signal()

    async def bench(ctx: Any) -> None:
        # The request of the cycle before, which meets the memory in this one.
        late: tuple[int, bool, int] | None = None
        # Its answer is appended now and stands there after WINDOW_LATENCY - 1 clock edges.
        answers: deque[int | None] = deque([0] * (WINDOW_LATENCY - 2))
        idle, page = 1, 0
        for cycle in range(CYCLES):
            idle ^= draw.random() < 0.05
            page ^= pages == 2 and draw.random() < 0.05
            request = (address(draw, model), draw.random() < 0.4, draw.getrandbits(32))
            read, stored = draw.randrange(DEPTH), draw.randrange(DEPTH)
            write, value = draw.random() < 0.4, model.fitted(draw.getrandbits(shape.width))
            resets = draw.random() < 0.02
            ctx.set(reset, resets)
            ctx.set(dut.idle, idle)
            ctx.set(dut.address, ctx.get(dut.index) if lends and idle else read)
            for signal, one in zip((dut.host.address, dut.host.write, dut.host.data), request):
                ctx.set(signal, one)
            if pages == 2:
                ctx.set(dut.page, page)
            else:
                ctx.set(dut.write, write)
                ctx.set(dut.write_address, stored)
                ctx.set(dut.write_data, value)

            # The host has the page that the design has not; reads see the writes of cycles before.
            hosts = 1 - page if pages == 2 else 0
            seen = model.pages[page][read]
            if late is None or model.place(late[0]) is None:
                answers.append(0)
            else:
                answers.append(model.shown(hosts, late[0]) if idle else None)
            if late is not None and late[1] and (idle or pages == 2):
                model.store(hosts, late[0], late[2])
            if pages == 1 and not idle and write:
                model.pages[0][stored] = value
            late = None if resets else request

            await ctx.tick()
            if not idle:
                assert ctx.get(dut.data) == seen, (seed, cycle)
            answer = answers.popleft()
            assert answer in (None, ctx.get(dut.host.read)), (seed, cycle)

    simulate(ResetInserter(reset)(dut), bench)


@pytest.mark.parametrize(("window", "shape"), [("states", signed(24)), ("sums", signed(40))])
def test_the_host_has_one_page_of_a_readout_while_the_design_has_the_other(
    window: str, shape: Shape
) -> None:
    """Both read and write in every cycle, and pages turn; nothing of it shows in the wrong one."""
    draw = random.Random(5)
    dut = ReadoutMemory(window, shape, DEPTH, part=1, parts=2, lane_bits=1)
    model = Model(dut.pages[0])
    model.pages = [[0] * DEPTH for _ in range(2)]

    async def bench(ctx: Any) -> None:
        late: tuple[int, bool, int] | None = None
        answers: deque[int | None] = deque([0] * (WINDOW_LATENCY - 2))
        idle, page = 1, 0
        for cycle in range(CYCLES):
            idle ^= draw.random() < 0.05
            # What the host asked for in the cycle before is meant for the page of that cycle.
            turned = draw.random() < 0.05 and late is None
            page ^= turned
            request = (address(draw, model) % (OTHER_PAGE // 4) + draw.choice([0, OTHER_PAGE // 4]),
                       draw.random() < 0.4, draw.getrandbits(32))
            if draw.random() < 0.2:
                request = (0, False, 0)
            read, stored = draw.randrange(DEPTH), draw.randrange(DEPTH)
            write, value = draw.random() < 0.4, model.fitted(draw.getrandbits(shape.width))
            for signal, one in (
                (dut.idle, idle), (dut.page, page), (dut.address, read), (dut.write, write),
                (dut.write_address, stored), (dut.write_data, value),
                *zip((dut.host.address, dut.host.write, dut.host.data), request),
            ):
                ctx.set(signal, one)

            seen, answer = model.pages[page][read], None
            if late is None:
                answer = 0
            else:
                place, other = late[0] % (OTHER_PAGE // 4), late[0] >= OTHER_PAGE // 4
                if model.place(place) is None:
                    answer = 0
                elif idle or other:
                    answer = model.shown(page ^ other, place)
                    if late[1]:
                        model.store(page ^ other, place, late[2])
            answers.append(answer)
            if not idle and write:
                model.pages[page][stored] = value
            late = request if request[0] else None

            await ctx.tick()
            if not idle:
                assert ctx.get(dut.data) == seen, cycle
            expected = answers.popleft()
            assert expected in (None, ctx.get(dut.host.read)), cycle

    simulate(dut, bench)

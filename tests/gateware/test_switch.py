"""The table switch against a model of the memories that it checks and `zlib.crc32`."""

import random
import zlib
from collections import deque
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from pbitstream.spec.image import Image
from pbitstream.spec.registers import WINDOWS
from pbitstream_gateware.ports import WINDOW_LATENCY
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.switch import TableSwitch
from simulation import simulate

SMALL = Image(lanes=2, max_units=8, max_rank_words=4, max_modules=4, max_instructions=2,
              max_gains=2)


def addresses(image: Image, access: str) -> list[int]:
    return [window.address // 4 + word for window in WINDOWS if window.access == access
            for word in range(image.window_words()[window.name])]


class Memories:
    """Two pages of tables and one of everything else, with the latency of the window port."""

    def __init__(self, dut: TableSwitch, draw: random.Random) -> None:
        self.dut = dut
        self.tables = addresses(dut.image, "shadow")
        self.pages = [{address: draw.getrandbits(32) for address in self.tables}
                      for _ in range(2)]
        self.inputs = {address: 0 for address in addresses(dut.image, "page")}
        #: CRC that the shadow page had when the active page last changed.
        self.flipped: list[int] = []

    def crc(self, page: int) -> int:
        words = (self.pages[page][address].to_bytes(4, "little") for address in self.tables)
        return zlib.crc32(b"".join(words))

    async def serve(self, ctx: Any) -> None:
        port, active = self.dut.memories, 0
        answers = deque([0] * WINDOW_LATENCY)
        while True:
            ctx.set(port.read, answers.popleft())
            _, _, address, write, data = await ctx.tick().sample(
                port.address, port.write, port.data)
            page = ctx.get(self.dut.page)
            # What is written here is seen by the reads of later cycles, as in a memory.
            shadow = self.pages[1 - active]
            answers.append(shadow.get(address, self.inputs.get(address, 0)))
            if write:
                (shadow if address in shadow else self.inputs)[address] = data
            if page != active:
                self.flipped.append(self.crc(page))
            active = page


class Host:
    """The register bank's side, one action per cycle."""

    def __init__(self, ctx: Any, dut: TableSwitch) -> None:
        self.ctx, self.dut = ctx, dut

    async def pulse(self, signal: Any, *others: Any) -> None:
        for one in (signal, *others):
            self.ctx.set(one, 1)
        await self.ctx.tick()
        for one in (signal, *others):
            self.ctx.set(one, 0)

    async def commit(self, crc: int) -> None:
        self.ctx.set(self.dut.commit.data, crc)
        await self.pulse(self.dut.commit.strobe)

    async def write(self, address: int, data: int) -> None:
        self.ctx.set(self.dut.host.address, address)
        self.ctx.set(self.dut.host.data, data)
        await self.pulse(self.dut.host.write)

    async def decided(self) -> int:
        """Wait while a commit is pending; returns the cycles."""
        cycles = 0
        while self.ctx.get(self.dut.pending):
            await self.ctx.tick()
            cycles += 1
        return cycles

    def status(self) -> tuple[int, ...]:
        """Return pending, walking, refused, page."""
        dut = self.dut
        return tuple(self.ctx.get(bit) for bit in (dut.pending, dut.walking, dut.refused, dut.page))


@pytest.mark.parametrize("seed", range(3))
def test_a_matching_crc_flips_the_page_and_another_does_not(seed: int) -> None:
    draw = random.Random(seed)
    dut = TableSwitch(SMALL)
    memories = Memories(dut, draw)

    async def bench(ctx: Any) -> None:
        host = Host(ctx, dut)
        ctx.set(dut.idle, 1)
        page = 0
        for _ in range(10):
            good = memories.crc(1 - page)
            await host.commit(good ^ 1 << draw.randrange(32))
            assert await host.decided() == len(memories.tables) + WINDOW_LATENCY + 3
            assert host.status() == (0, 0, 1, page)
            await host.commit(good)
            assert host.status() == (1, 0, 0, page)
            await host.decided()
            page = 1 - page
            assert host.status() == (0, 0, 0, page)
            assert memories.flipped.pop() == good
            assert not memories.flipped
            # The page that was active is the next shadow.
            address, data = draw.choice(memories.tables), draw.getrandbits(32)
            await host.write(address, data)
            assert memories.pages[1 - page][address] == data

    simulate(dut, bench, background=(memories.serve,))


def test_the_tiny_image_is_walked_in_a_cycle_per_word() -> None:
    dut = TableSwitch(PRESETS["tiny"])
    memories = Memories(dut, random.Random(5))

    async def bench(ctx: Any) -> None:
        host = Host(ctx, dut)
        ctx.set(dut.idle, 1)
        await host.commit(memories.crc(1))
        assert await host.decided() == len(memories.tables) + WINDOW_LATENCY + 3
        assert host.status() == (0, 0, 0, 1)

    simulate(dut, bench, background=(memories.serve,))


@pytest.mark.parametrize("seed", range(6))
def test_writes_while_it_walks(seed: int) -> None:
    draw = random.Random(seed)
    dut = TableSwitch(SMALL)
    memories = Memories(dut, draw)

    async def bench(ctx: Any) -> None:
        host = Host(ctx, dut)
        ctx.set(dut.idle, 1)
        page = 0
        for _ in range(30):
            tables = dict(memories.pages[1 - page])
            await host.commit(memories.crc(1 - page))
            await ctx.tick()
            dropped, inputs = False, {}
            while ctx.get(dut.walking):
                action, data = draw.random(), draw.getrandbits(32)
                if action < 0.3:
                    address = draw.choice(list(memories.inputs))
                    inputs[address] = data
                    await host.write(address, data)
                elif action < 0.31:
                    dropped = True
                    await host.write(draw.choice(memories.tables), data)
                else:
                    await ctx.tick()
            page ^= not dropped
            assert host.status() == (0, 0, dropped, page)
            assert memories.pages[page if not dropped else 1 - page] == tables
            assert {address: memories.inputs[address] for address in inputs} == inputs

    simulate(dut, bench, background=(memories.serve,))


def test_a_write_in_the_last_cycle_of_a_check_is_not_lost_silently() -> None:
    # Around the decision, a table write is either dropped and refused, or stands in the next page.
    cycles = len(addresses(SMALL, "shadow")) + WINDOW_LATENCY + 3
    for delay in range(cycles - 3, cycles + 3):
        dut = TableSwitch(SMALL)
        memories = Memories(dut, random.Random(delay))

        async def bench(
            ctx: Any, dut: TableSwitch = dut, memories: Memories = memories, delay: int = delay
        ) -> None:
            host = Host(ctx, dut)
            ctx.set(dut.idle, 1)
            good = memories.crc(1)
            await host.commit(good)
            await ctx.tick().repeat(delay)
            data = memories.pages[1][memories.tables[0]] ^ 1
            await host.write(memories.tables[0], data)
            await host.decided()
            assert memories.crc(1) == good
            refused = ctx.get(dut.refused)
            assert refused == (delay < cycles)
            assert ctx.get(dut.page) == 1 - refused
            assert (memories.pages[0][memories.tables[0]] == data) == (not refused)

        simulate(dut, bench, background=(memories.serve,))


@pytest.mark.parametrize("forget", [False, True])
def test_a_check_that_was_broken_off_leaves_nothing_behind(forget: bool) -> None:
    dut = TableSwitch(SMALL)
    memories = Memories(dut, random.Random(7))

    async def bench(ctx: Any) -> None:
        host = Host(ctx, dut)
        ctx.set(dut.idle, 1)
        for delay in range(1, len(memories.tables) + WINDOW_LATENCY + 3):
            page = ctx.get(dut.page)
            good = memories.crc(1 - page)
            await host.commit(good ^ 1)
            await ctx.tick().repeat(delay)
            if forget:
                await host.pulse(dut.control, dut.forget)
                assert host.status() == (0, 0, 0, page)
            await host.commit(good)
            assert host.status() == (1, 0, 0, page)
            await host.decided()
            assert host.status() == (0, 0, 0, 1 - page), delay

    simulate(dut, bench, background=(memories.serve,))


def test_a_commit_waits_for_the_relaxation_and_a_start_for_the_commit() -> None:
    dut = TableSwitch(SMALL)
    memories = Memories(dut, random.Random(1))

    async def bench(ctx: Any) -> None:
        host = Host(ctx, dut)
        ctx.set(dut.idle, 1)
        ctx.set(dut.control, 1)
        ctx.set(dut.start, 1)
        assert ctx.get(dut.go)
        await ctx.tick()
        ctx.set(dut.idle, 0)
        assert not ctx.get(dut.go)
        await ctx.tick()
        assert host.status() == (0, 0, 1, 0)
        ctx.set(dut.start, 0)
        ctx.set(dut.control, 0)
        await host.commit(memories.crc(1))
        await ctx.tick().repeat(100)
        assert host.status() == (1, 0, 0, 0)
        ctx.set(dut.start, 1)
        assert not ctx.get(dut.go)
        await host.pulse(dut.control)
        assert host.status() == (1, 0, 1, 0)
        ctx.set(dut.idle, 1)
        # Idle again, but the commit comes first.
        assert not ctx.get(dut.go)
        ctx.set(dut.start, 0)
        await host.pulse(dut.control)
        assert host.status() == (1, 1, 0, 0)
        ctx.set(dut.start, 1)
        assert not ctx.get(dut.go)
        await host.decided()
        assert host.status() == (0, 0, 0, 1)
        assert ctx.get(dut.go)

    simulate(dut, bench, background=(memories.serve,))


@pytest.mark.parametrize("seed", range(4))
def test_random_commits_resets_and_starts(seed: int) -> None:
    draw = random.Random(seed)
    dut, reset = TableSwitch(SMALL), Signal()
    memories = Memories(dut, draw)

    async def bench(ctx: Any) -> None:
        host = Host(ctx, dut)
        left = 0
        for _ in range(4000):
            ctx.set(dut.idle, left == 0)
            left = max(0, left - 1)
            action = draw.random()
            if action < 0.02:
                page = ctx.get(dut.page)
                await host.commit(memories.crc(1 - page) if draw.random() < 0.8 else 0)
                assert host.status() == (1, 0, 0, page)
            elif action < 0.06:
                ctx.set(dut.start, 1)
                granted, pending = ctx.get(dut.go), ctx.get(dut.pending)
                assert granted == (ctx.get(dut.idle) and not pending)
                left = draw.randrange(1, 50) if granted else left
                walking = ctx.get(dut.walking)
                await host.pulse(dut.control)
                ctx.set(dut.start, 0)
                assert ctx.get(dut.refused) == (not granted)
                assert not (granted and walking)
            elif action < 0.07:
                await host.pulse(dut.control, dut.forget)
                assert host.status()[:3] == (0, 0, 0)
            elif action < 0.075:
                await host.pulse(reset)
                assert host.status() == (0, 0, 0, 0)
                left = 0
                memories.flipped.clear()
            elif action < 0.1:
                await host.write(draw.choice(memories.tables), draw.getrandbits(32))
            else:
                await ctx.tick()
            if memories.flipped:
                assert memories.flipped.pop() == ctx.get(dut.commit.data)
                assert left == 0

    simulate(ResetInserter(reset)(dut), bench, background=(memories.serve,))

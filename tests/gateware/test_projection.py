"""The projection unit against section 2 of numerics, with sums at every cycle or seldom."""

import random
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from blocks import SMALL, WindowHost, magnitude
from pbitstream.spec.fixed import rhu, sat
from pbitstream.spec.timing import (
    COUNT_STAGES,
    RESULT_STAGE,
    RESULTS_STAGE,
    SUM_STAGE,
    TREE_STAGES,
    WRITTEN_STAGE,
)
from pbitstream.spec.words import GAIN_SHIFTS, PROJECTION_SHIFTS
from pbitstream_gateware.projection import Projection
from simulation import simulate

TOTAL_STAGE = SUM_STAGE + TREE_STAGES
RESULTS = 2 * SMALL.max_gains
#: A sum, half a unit short of one, stays in 32 bits (numerics 2).
LARGEST = 128 * 32768 * 511


def projected(total: int, gain: int, shift_z: int, shift_u: int) -> tuple[int, int, int]:
    """Return u, and whether z and u were clipped."""
    wide_z = rhu(total, shift_z)
    z = sat(wide_z, 16)
    wide_u = rhu(gain * z, shift_u)
    u = sat(wide_u, 16)
    return u, int(z != wide_z), int(u != wide_u)


def drawn_total(draw: random.Random, shift: int) -> int:
    """Return a sum: often at a tie, at an end of z, or of the range."""
    kind = draw.randrange(5)
    half = 1 << shift >> 1
    if kind == 0:
        total = (draw.choice([-32769, -32768, 32767, 32768]) << shift) + half
        total += draw.choice([-half - 1, -half, -1, 0, 1])
    elif kind == 1:
        total = (magnitude(draw, 17) << shift) - half
    elif kind == 2:
        total = draw.choice([-LARGEST, LARGEST])
    else:
        total = magnitude(draw, 32)
    return max(-LARGEST, min(LARGEST, total))


def test_the_earliest_issue_after_the_count_reads_the_result() -> None:
    # Pulse, count, comparison, issue.
    assert WRITTEN_STAGE + COUNT_STAGES + RESULTS_STAGE - 1 == RESULT_STAGE


class Bench:
    """Drives the unit a cycle at a time, and knows when its results change."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.dut, self.reset = draw, Projection(SMALL), Signal()
        self.pages = [[0] * SMALL.max_gains for _ in range(2)]
        self.results = [0] * RESULTS
        self.page = self.cycle = 0
        self.clips, self.counted = [0, 0], [0, 0]
        self.forget()

    def forget(self) -> None:
        self.totals: dict[int, int] = {}
        # Results by the cycle from which on they can be addressed.
        self.ready: dict[int, tuple[int, int]] = {}
        self.written: set[int] = set()
        self.addressed: dict[int, int] = {}

    async def step(
        self, ctx: Any, start: dict[str, int] | None, read: int, reset: bool = False
    ) -> None:
        """Start a projection or none, and issue the read of a result."""
        dut, draw, now = self.dut, self.draw, self.cycle
        if now in self.ready:
            address, value = self.ready.pop(now)
            self.results[address] = value
        ctx.set(dut.start, start is not None)
        component = start or {"gain": draw.randrange(SMALL.max_gains), "result": read,
                              "shift_z": draw.randrange(23), "shift_u": draw.randrange(31)}
        ctx.set(dut.component, component)
        total = drawn_total(draw, component["shift_z"])
        if start is not None:
            u, *clips = projected(total, self.pages[self.page][start["gain"]], start["shift_z"],
                                  start["shift_u"])
            self.ready[now + RESULT_STAGE] = start["result"], u
            self.written.add(now + WRITTEN_STAGE)
            self.clips = [a + b for a, b in zip(self.clips, clips)]
        self.totals[now + TOTAL_STAGE] = total
        ctx.set(dut.total, self.totals.pop(now, 0))
        ctx.set(dut.read, read)
        self.addressed[now + RESULTS_STAGE - 1] = read
        address = self.addressed.pop(now, None)
        if reset:
            # What is not written at the end of this cycle never will be.
            self.ready = {at: ready for at, ready in self.ready.items() if at == now + 1}
            self.written = set()
        ctx.set(self.reset, reset)
        self.cycle += 1
        await ctx.tick()
        self.counted = [n + ctx.get(pulse) for n, pulse in zip(self.counted, dut.clips)]
        assert ctx.get(dut.written) == (self.cycle in self.written), self.cycle
        if address is not None:
            assert ctx.get(dut.result) == self.results[address], self.cycle

    async def drain(self, ctx: Any) -> None:
        for _ in range(RESULT_STAGE + RESULTS_STAGE):
            await self.step(ctx, None, 0)

    async def gains(self, ctx: Any) -> None:
        """Write a page of gains and turn it."""
        page = [magnitude(self.draw, 16) for _ in range(SMALL.max_gains)]
        host = WindowHost(ctx, self.dut.host)
        await host.write("gains", page)
        ctx.set(self.dut.idle, 1)
        assert await host.read("gains", len(page)) == [gain & 0xFFFFFFFF for gain in page]
        ctx.set(self.dut.idle, 0)
        self.page ^= 1
        self.pages[self.page] = page
        ctx.set(self.dut.page, self.page)


@pytest.mark.parametrize("seed", range(4))
def test_random_projections(seed: int) -> None:
    draw = random.Random(seed)
    bench = Bench(draw)
    host = WindowHost

    async def run(ctx: Any) -> None:
        for _ in range(3):
            bench.forget()
            await bench.gains(ctx)
            often = draw.choice([0.1, 0.5, 1])
            for _ in range(300):
                start = None
                if draw.random() < often:
                    start = {"gain": draw.randrange(SMALL.max_gains),
                             "result": draw.randrange(RESULTS),
                             "shift_z": draw.choice(PROJECTION_SHIFTS),
                             "shift_u": draw.choice(GAIN_SHIFTS)}
                # The next input comes meanwhile.
                host(ctx, bench.dut.host).ask(
                    "gains", draw.randrange(SMALL.max_gains), magnitude(draw, 16))
                recent = [address for address, _ in bench.ready.values()]
                read = draw.choice(recent) if recent and draw.random() < 0.8 else 0
                await bench.step(ctx, start, read)
            await bench.drain(ctx)
            assert bench.clips == bench.counted
        assert all(bench.clips)

    simulate(ResetInserter(bench.reset)(bench.dut), run)


@pytest.mark.parametrize("seed", range(2))
def test_a_result_appears_in_the_cycle_that_is_documented(seed: int) -> None:
    draw = random.Random(seed)
    bench = Bench(draw)

    async def run(ctx: Any) -> None:
        await bench.gains(ctx)
        for result in range(RESULTS):
            start = {"gain": result % SMALL.max_gains, "result": result, "shift_z": 8,
                     "shift_u": 12}
            await bench.step(ctx, start, 0)
            while not ctx.get(bench.dut.written):
                await bench.step(ctx, None, 0)
            # Reads issued in the cycles of the pulse, the count, the comparison, and of the issue
            # that these allow.
            seen = []
            for offset in range(COUNT_STAGES + 1 + RESULTS_STAGE):
                if offset >= RESULTS_STAGE:
                    seen.append(ctx.get(bench.dut.result))
                await bench.step(ctx, None, result)
            assert seen == [0] * COUNT_STAGES + [bench.results[result]]

    simulate(ResetInserter(bench.reset)(bench.dut), run)


@pytest.mark.parametrize("seed", range(3))
def test_a_reset_drops_what_is_under_way(seed: int) -> None:
    draw = random.Random(seed)
    bench = Bench(draw)

    async def run(ctx: Any) -> None:
        await bench.gains(ctx)
        for _ in range(6):
            for _ in range(draw.randrange(40)):
                start = {"gain": draw.randrange(SMALL.max_gains),
                         "result": draw.randrange(RESULTS), "shift_z": 10, "shift_u": 14}
                await bench.step(ctx, start, 0)
            await bench.step(ctx, None, 0, reset=True)
            bench.counted = list(bench.clips)
            # No pulse of before comes, and nothing more is written.
            for address in range(RESULTS):
                await bench.step(ctx, None, address)
            await bench.drain(ctx)
            assert bench.counted == bench.clips

    simulate(ResetInserter(bench.reset)(bench.dut), run)

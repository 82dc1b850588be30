"""The queue of rows and the walk through their units, cycle by cycle."""

import random
from collections import defaultdict
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from blocks import PIPED, SMALL, WindowHost
from pbitstream.spec.image import Image
from pbitstream.spec.instructions import MODULE, pack
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.timing import RETIRE_STAGE, RING, SUM_STAGE
from pbitstream_gateware.sequencer import FLUSH_CYCLES
from pbitstream_gateware.updater import Updater
from simulation import simulate

WIDE = Image(lanes=128, max_units=2048, max_rank_words=2, max_modules=8)
#: Cycles from the look at the queue to the first unit.
FETCH = 2

Row = dict[str, int]


class Bench:
    """Drives an updater a cycle at a time and knows what it does in each."""

    def __init__(self, image: Image, draw: random.Random) -> None:
        self.image, self.draw, self.dut, self.reset = image, draw, Updater(image), Signal()
        self.per_pipe = image.lanes // image.pipes
        self.pages: list[list[dict[str, int]]] = [[], []]
        self.page = self.cycle = 0
        self.forget()

    def forget(self) -> None:
        """Expect nothing of what was pushed."""
        self.walked = 0
        self.pushes = 0
        self.units: dict[int, tuple[Row, int, int]] = {}
        self.slots: dict[int, int] = {}
        self.freed: set[int] = set()
        self.retired: set[int] = set()
        self.late: dict[int, list[tuple[Any, Any]]] = defaultdict(list)

    @property
    def full(self) -> bool:
        """Whether no ring slot is free, as the sequencer counts."""
        return self.pushes - sum(at < self.cycle for at in self.freed) == RING

    def push(self, row: Row) -> None:
        looked = max(self.cycle + SUM_STAGE + 1, self.walked + 1)
        units = min(row["rest"] + 1, self.per_pipe)
        slot = self.pushes % RING
        self.slots[self.cycle + SUM_STAGE] = slot
        self.pushes += 1
        for place in range(units):
            self.units[looked + FETCH + place] = row, slot, place
        self.walked = looked + FETCH + units - 1
        self.freed.add(self.walked + 1)
        self.retired.add(self.walked + RETIRE_STAGE)

    async def step(self, ctx: Any, row: Row | None, flush: bool = False) -> None:
        """Compare the answers of a cycle, then let it pass."""
        dut = self.dut
        ctx.set(dut.push, row is not None)
        ctx.set(dut.update, row or self.row())
        ctx.set(dut.flush, flush)
        if row is not None:
            self.push(row)
        self.check(ctx)
        self.cycle += 1
        await ctx.tick()

    def check(self, ctx: Any) -> None:
        dut, now, image = self.dut, self.cycle, self.image
        if now in self.slots:
            assert ctx.get(dut.slot) == self.slots[now], now
        assert ctx.get(dut.freed) == (now in self.freed), now
        assert ctx.get(dut.retired) == (now in self.retired), now
        valid = [ctx.get(bit) for bit in dut.valid]
        if now not in self.units:
            assert not any(valid), now
            return
        row, slot, place = self.units[now]
        unit = ctx.get(dut.unit)
        assert ctx.get(dut.take) == slot, now
        expected = {name: row[name] for name in ("row", "init", "window", "copy")}
        assert {name: unit[name] for name in expected} == expected, now
        assert unit["lane"] == place, now
        constants = self.pages[self.page][row["module"]]
        assert {name: unit["constants"][name] for name in constants} == constants, now
        for pipe in range(image.pipes):
            inside = pipe * self.per_pipe + place
            assert valid[pipe] == (inside <= row["rest"]), now
            index = row["first"] + inside
            # A pipe keeps the streams of its lanes, in order.
            own = [s for s in range(STREAMS) if s % image.lanes // self.per_pipe == pipe]
            assert own[unit["stream"]] == index % STREAMS, now
            assert unit["spin_row"] == index // STREAMS, now

    def row(self) -> Row:
        draw, image = self.draw, self.image
        rows = min(image.rows, 4096 // image.lanes)
        rest = draw.choice([0, 1, image.lanes - 1, image.lanes, draw.randrange(4096),
                            draw.randrange(image.lanes)])
        return {"row": draw.randrange(image.rows), "module": draw.randrange(image.max_modules),
                "first": draw.randrange(rows) * image.lanes, "rest": rest,
                "init": draw.randrange(2), "window": draw.randrange(2), "copy": draw.randrange(2)}

    async def constants(self, ctx: Any) -> None:
        """Write a page of constants and turn it."""
        page = [{name: self.draw.getrandbits(bits) for name, bits in MODULE.items()}
                for _ in range(self.image.max_modules)]
        words = [pack(MODULE, **constants) >> 32 * n & 0xFFFFFFFF
                 for constants in page for n in range(2)]
        host = WindowHost(ctx, self.dut.host)
        await host.write("modules", words)
        ctx.set(self.dut.idle, 1)
        assert await host.read("modules", len(words)) == words
        ctx.set(self.dut.idle, 0)
        self.page ^= 1
        self.pages[self.page] = page
        ctx.set(self.dut.page, self.page)

    async def rows(self, ctx: Any, cycles: int) -> None:
        """Push rows for so many cycles, in bursts."""
        often = 0.5
        for _ in range(cycles):
            if self.draw.random() < 0.01:
                often = self.draw.choice([0.02, 0.2, 1])
            some = not self.full and self.draw.random() < often
            await self.step(ctx, self.row() if some else None)

    def simulate(self, bench: Any) -> None:
        simulate(ResetInserter(self.reset)(self.dut), bench)


IMAGES = pytest.mark.parametrize("image", [SMALL, PIPED, WIDE], ids=["one", "two", "wide"])


@IMAGES
@pytest.mark.parametrize("seed", range(1))
def test_rows_are_walked_in_order(image: Image, seed: int) -> None:
    bench = Bench(image, random.Random(seed))

    async def run(ctx: Any) -> None:
        for _ in range(2):
            await bench.constants(ctx)
            await bench.rows(ctx, 500)
            while bench.cycle <= bench.walked + RETIRE_STAGE:
                await bench.step(ctx, None)

    bench.simulate(run)


@IMAGES
@pytest.mark.parametrize("how", ["flush", "reset"])
@pytest.mark.parametrize("seed", range(2))
def test_it_forgets(image: Image, how: str, seed: int) -> None:
    draw = random.Random(seed)
    bench = Bench(image, draw)

    async def run(ctx: Any) -> None:
        await bench.constants(ctx)
        for _ in range(6):
            await bench.rows(ctx, draw.choice([draw.randrange(30), draw.randrange(200)]))
            if how == "flush":
                await bench.step(ctx, None if bench.full else bench.row(), flush=True)
                retired = {at for at in bench.retired if at - RETIRE_STAGE < bench.cycle}
                bench.forget()
                bench.retired = retired
                for _ in range(FLUSH_CYCLES - 1):
                    await bench.step(ctx, None, flush=True)
            else:
                ctx.set(bench.reset, 1)
                await bench.step(ctx, None)
                ctx.set(bench.reset, 0)
                bench.forget()
            for _ in range(draw.randrange(3)):
                await bench.step(ctx, None)
        await bench.rows(ctx, 100)

    bench.simulate(run)

"""The lanes, their rotator, tree and ring, against sums over lists."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from blocks import LANGEVIN, PBITS, PIPED, SMALL, WindowHost, magnitude
from pbitstream.spec.image import Image
from pbitstream.spec.timing import RESULTS_STAGE, RING, SUM_STAGE, TREE_STAGES
from pbitstream.spec.words import EXPOSED, FACTOR_LIMIT, MAX_LOW_RANK_DIM, PROJECTION_BITS
from pbitstream_gateware.array import LaneArray
from simulation import simulate

NARROW = Image(lanes=2, max_units=8, max_rank_words=16)
WIDE = Image(lanes=128, max_units=256, max_rank_words=2)
TOTAL_STAGE = SUM_STAGE + TREE_STAGES
#: Cycles from `take` to the field.
FIELD_LATE = 2

Issue = dict[str, int]
#: A cycle without work.
NOTHING: Issue = {"broadcast": 1}


class Bench:
    """Drives an array a cycle at a time and compares it with what the issues mean."""

    def __init__(self, dut: LaneArray, draw: random.Random) -> None:
        image = dut.image
        self.dut, self.draw, self.reset = dut, draw, Signal()
        self.lanes, self.rows, self.words = image.lanes, image.rows, image.max_rank_words
        self.per_pipe = image.lanes // image.pipes
        self.tables = [[0] * (self.words * self.lanes) for _ in range(2)]
        self.states = [[0] * image.max_units for _ in range(2)]
        self.page = self.cycle = 0
        self.forget()

    def simulate(self, bench: Any) -> None:
        simulate(ResetInserter(self.reset)(self.dut), bench)

    def forget(self) -> None:
        """Expect nothing of what is under way."""
        self.sums = [0] * self.lanes
        self.ring: dict[int, list[int]] = {}
        self.inputs: dict[int, list[tuple[Any, int]]] = defaultdict(list)
        self.totals: dict[int, int] = {}
        self.pushed: dict[int, tuple[int, list[int]]] = {}
        self.fields: dict[int, list[int]] = {}
        self.exposed: list[tuple[int, int, int]] = []

    async def step(
        self, ctx: Any, issue: Issue = NOTHING, *, result: int = 0, slot: int = 0,
        take: tuple[int, int] | None = None,
        expose: tuple[int, int, int, list[int | None]] | None = None,
        store: tuple[int, int] | None = None,
    ) -> None:
        """Drive one cycle.

        Parameters
        ----------
        result, slot
            Of an issue that expands, of one that updates.
        take
            Slot and place of the fields to read.
        expose
            Copy, row and place of the states to store, one or None per pipe.
        store
            Offset in the shadow page and word to store there.
        """
        dut, now = self.dut, self.cycle
        if now in self.pushed:
            kept, row = self.pushed.pop(now)
            self.ring[kept] = row
        for copy, unit, value in self.exposed:
            self.states[copy][unit] = value
        self.exposed = []

        ctx.set(dut.issue, {**issue, "rotate": issue.get("rotate", self.draw.randrange(self.lanes))}
                if issue.get("broadcast") else issue)
        self._issue(issue, result, slot)
        for signal, value in self.inputs.pop(now, []):
            ctx.set(signal, value)
        if take is not None:
            ctx.set(dut.take, take[0])
            ctx.set(dut.take_lane, take[1])
            self.fields[now + FIELD_LATE] = self.ring[take[0]][take[1] :: self.per_pipe]
        self._expose(ctx, expose)
        host = WindowHost(ctx, dut.host)
        if store is None:
            host.ask("noise", 0)
        else:
            offset, word = store
            host.ask("tables", offset, word)
            self.tables[1 - self.page][2 * offset : 2 * offset + 2] = _halves(word)

        self.cycle += 1
        await ctx.tick()
        if self.cycle in self.totals:
            assert ctx.get(dut.total) == self.totals.pop(self.cycle), self.cycle
        if self.cycle in self.fields:
            got = [ctx.get(field) for field in dut.fields]
            assert got == self.fields.pop(self.cycle), self.cycle

    def _issue(self, issue: Issue, result: int, slot: int) -> None:
        """Do what an issue means, and provide what it needs later."""
        now, at = self.cycle, issue.get("table", 0) * self.lanes
        weights = self.tables[self.page][at : at + self.lanes]
        if issue.get("broadcast"):
            operands = [result if issue.get("expand") else 0] * self.lanes
        else:
            # States are read a cycle later, with those that were exposed the cycle before.
            first = issue["row"] * self.lanes + issue.get("rotate", 0)
            states = self.states[issue.get("copy", 0)]
            operands = [states[(first + lane) % len(states)] for lane in range(self.lanes)]
        before = [0] * self.lanes if issue.get("clear") else self.sums
        self.sums = [a + w * x for a, w, x in zip(before, weights, operands)]
        assert all(-1 << 31 <= a < 1 << 31 for a in self.sums), "the test leaves the range"
        if issue.get("project"):
            self.totals[now + TOTAL_STAGE] = sum(self.sums)
        if issue.get("update"):
            self.pushed[now + SUM_STAGE + 1] = slot, self.sums
        # Rubbish where nobody should look.
        self.inputs[now + RESULTS_STAGE].append(
            (self.dut.result, result if issue.get("expand") else magnitude(self.draw, 16)))
        self.inputs[now + SUM_STAGE].append(
            (self.dut.slot, slot if issue.get("update") else self.draw.randrange(RING)))

    def _expose(self, ctx: Any, expose: tuple[int, int, int, list[int | None]] | None) -> None:
        copy, row, place, values = expose or (0, 0, 0, [None] * self.dut.image.pipes)
        ctx.set(self.dut.expose_row, copy * self.rows + row)
        ctx.set(self.dut.expose_lane, place)
        for pipe, value in enumerate(values):
            ctx.set(self.dut.expose[pipe], value is not None)
            ctx.set(self.dut.expose_data[pipe], value or 0)
            if value is not None:
                unit = row * self.lanes + pipe * self.per_pipe + place
                self.exposed.append((copy, unit, value))

    async def drain(self, ctx: Any) -> None:
        for _ in range(TOTAL_STAGE + 1):
            await self.step(ctx)

    async def fill(self, ctx: Any, table: list[int], states: list[list[int]]) -> None:
        """Store words from address 0 on, turn the page, and expose states of both copies."""
        table = table + [0] * (len(self.tables[0]) - len(table))
        for offset in range(len(table) // 2):
            await self.step(ctx, store=(offset, _pair(table[2 * offset : 2 * offset + 2])))
        await self.turn(ctx)
        for copy, values in enumerate(states):
            for row in range(self.rows):
                for place in range(self.per_pipe):
                    start = row * self.lanes + place
                    own: list[int | None] = [*values[start : start + self.lanes : self.per_pipe]]
                    await self.step(ctx, expose=(copy, row, place, own[: self.dut.image.pipes]))

    async def turn(self, ctx: Any) -> None:
        """Turn the page once the window shows all that was stored in the shadow page."""
        await self.drain(ctx)
        ctx.set(self.dut.idle, 1)
        host = WindowHost(ctx, self.dut.host)
        table = self.tables[1 - self.page]
        words = [_pair(table[n : n + 2]) for n in range(0, len(table), 2)]
        assert await host.read("tables", len(words)) == words
        assert await host.read("instructions", 3) == [0, 0, 0]
        ctx.set(self.dut.idle, 0)
        self.page ^= 1
        ctx.set(self.dut.page, self.page)

    async def row(self, ctx: Any, slot: int) -> list[int]:
        """Return the fields in a ring slot, lane by lane; each is also compared."""
        fields = []
        for place in range(self.per_pipe + FIELD_LATE):
            if place >= FIELD_LATE:
                fields.append([ctx.get(field) for field in self.dut.fields])
            await self.step(ctx, take=(slot, min(place, self.per_pipe - 1)))
        return [field for pipe in zip(*fields) for field in pipe]


def _pair(words: list[int]) -> int:
    return words[0] & 0xFFFF | (words[1] & 0xFFFF) << 16


def _halves(word: int) -> list[int]:
    return [(half ^ 0x8000) - 0x8000 for half in (word & 0xFFFF, word >> 16)]


def weight(draw: random.Random, bench: Bench, address: int) -> int:
    """Return a factor for the lower half of a table, a weight for the upper."""
    if address < bench.words // 2:
        return max(-FACTOR_LIMIT, min(FACTOR_LIMIT, magnitude(draw, 10)))
    return magnitude(draw, 16)


def work(draw: random.Random, bench: Bench) -> Iterator[tuple[Issue, dict[str, int]]]:
    """Yield projections and groups without end; a field has at most one weight, so that it fits."""
    lanes, rows, factors = bench.lanes, bench.rows, bench.words // 2
    kinds = bench.dut.image.kinds
    slot = 0
    while True:
        source = {"copy": draw.randrange(2), "row": draw.randrange(rows)}
        if "low-rank" in kinds and draw.random() < 0.5:
            count = min(draw.randint(1, 4), rows, MAX_LOW_RANK_DIM // lanes, factors)
            table = draw.randrange(factors - count + 1)
            for r in range(count):
                yield {"copy": source["copy"], "row": (source["row"] + r) % rows,
                       "table": table + r, "clear": int(r == 0),
                       "project": int(r == count - 1)}, {}
            continue
        group: list[tuple[Issue, dict[str, int]]] = [
            ({"broadcast": 1, "expand": 1, "table": draw.randrange(factors)},
             {"result": magnitude(draw, PROJECTION_BITS)})
            for _ in range(draw.randrange(5) if "low-rank" in kinds else 0)]
        if "band" in kinds and draw.random() < 0.7:
            group.append(({**source, "table": factors + draw.randrange(factors),
                           "rotate": draw.randrange(lanes)}, {}))
        draw.shuffle(group)
        group.append(({"broadcast": 1, "update": 1}, {"slot": slot}))
        group[0][0]["clear"] = 1
        yield from group
        slot = (slot + 1) % RING


@pytest.mark.parametrize(("image", "cycles", "runs", "seed"), [
    (NARROW, 400, 3, 0), (SMALL, 400, 2, 1), (PIPED, 400, 3, 2), (LANGEVIN, 200, 1, 3),
    (PBITS, 200, 1, 4), (WIDE, 70, 1, 5)])
def test_random_work(image: Image, cycles: int, runs: int, seed: int) -> None:
    draw = random.Random(seed)
    # Small tables are quickly filled.
    image = replace(image, max_rank_words=min(image.max_rank_words, 16))
    bench = Bench(LaneArray(image), draw)

    def state() -> int:
        return magnitude(draw, EXPOSED.bits)

    async def run(ctx: Any) -> None:
        units = range(image.max_units)
        await bench.fill(ctx, [weight(draw, bench, at // bench.lanes)
                               for at in range(bench.words * bench.lanes)],
                         [[state() for _ in units] for _ in range(1 if image.pipes > 1 else 2)])
        for _ in range(runs):
            items = work(draw, bench)
            for _ in range(cycles):
                issue, late = next(items) if draw.random() < 0.8 else (NOTHING, {})
                take = expose = store = None
                if bench.ring and draw.random() < 0.5:
                    take = draw.choice([*bench.ring]), draw.randrange(bench.per_pipe)
                if draw.random() < 0.7:
                    expose = (draw.randrange(2), draw.randrange(bench.rows),
                              draw.randrange(bench.per_pipe),
                              [draw.choice([None, state()]) for _ in range(image.pipes)])
                if draw.random() < 0.5:
                    offset = draw.randrange(bench.words * bench.lanes // 2)
                    address = 2 * offset // bench.lanes
                    store = offset, _pair([weight(draw, bench, address) for _ in range(2)])
                await bench.step(ctx, issue, take=take, expose=expose, store=store, **late)
            # Broken off wherever it is; what follows knows nothing of it.
            ctx.set(bench.reset, 1)
            await bench.step(ctx)
            ctx.set(bench.reset, 0)
            bench.forget()
            await bench.turn(ctx)

    bench.simulate(run)


@pytest.mark.parametrize("seed", [1, 2])
def test_low_rank_bank(seed: int) -> None:
    """Both directions of a bank between modules of 20 and 13 units, beside other states."""
    draw = random.Random(seed)
    bench = Bench(LaneArray(replace(SMALL, max_rank_words=16)), draw)
    lanes, rank = bench.lanes, 3
    first, dims, rows = (1, 4), (20, 13), (3, 2)
    factors = [[[draw.choice([-511, 511, draw.randint(-511, 511)]) for _ in range(rank)]
                for _ in range(dim)] for dim in dims]
    base = (0, rank * rows[0])
    table = [0] * (rank * sum(rows) * lanes)
    for end in range(2):
        for i, row in enumerate(factors[end]):
            for c, factor in enumerate(row):
                table[(base[end] + c * rows[end] + i // lanes) * lanes + i % lanes] = factor
    states = [[magnitude(draw, 16) for _ in range(SMALL.max_units)] for _ in range(2)]

    async def run(ctx: Any) -> None:
        await bench.fill(ctx, table, states)
        for copy in range(2):
            for near, far in ((0, 1), (1, 0)):
                x = states[copy][first[near] * lanes :][: dims[near]]
                sums = [sum(factors[near][i][c] * x[i] for i in range(dims[near]))
                        for c in range(rank)]
                expected = []
                for c in range(rank):
                    for r in range(rows[near]):
                        await bench.step(ctx, {
                            "copy": copy, "row": first[near] + r, "clear": int(r == 0),
                            "table": base[near] + c * rows[near] + r,
                            "project": int(r == rows[near] - 1)})
                    expected.append(bench.totals[bench.cycle - 1 + TOTAL_STAGE])
                assert expected == sums
                u = [magnitude(draw, 16) for _ in range(rank)]
                for t in range(rows[far]):
                    for c in range(rank):
                        await bench.step(ctx, {
                            "broadcast": 1, "expand": 1, "clear": int(c == 0),
                            "table": base[far] + t + c * rows[far]}, result=u[c])
                    await bench.step(ctx, {"broadcast": 1, "update": 1}, slot=t)
                await bench.drain(ctx)
                fields = [field for t in range(rows[far]) for field in await bench.row(ctx, t)]
                assert fields[: dims[far]] == [
                    sum(factors[far][j][c] * u[c] for c in range(rank)) for j in range(dims[far])]

    bench.simulate(run)


@pytest.mark.parametrize("seed", [1, 2])
def test_band(seed: int) -> None:
    """Every offset between a module at the memory's end and one at its start, rows wrapping."""
    draw = random.Random(seed)
    bench = Bench(LaneArray(SMALL), draw)
    lanes = bench.lanes
    dim_s, dim_t, first_s, rows_t = 22, 14, bench.rows - 3, 2
    offsets = [*range(-dim_t, dim_s + 1)]
    draw.shuffle(offsets)
    limit = 65535 // len(offsets)
    weights = [[draw.choice([-limit, limit, draw.randint(-limit, limit)])
                if 0 <= i + o < dim_s else 0 for i in range(dim_t)] for o in offsets]
    table = [0] * (len(offsets) * rows_t * lanes)
    for n in range(len(offsets)):
        for i in range(dim_t):
            table[(n * rows_t + i // lanes) * lanes + i % lanes] = weights[n][i]
    states = [[magnitude(draw, 16) for _ in range(SMALL.max_units)] for _ in range(2)]

    async def run(ctx: Any) -> None:
        await bench.fill(ctx, table, states)
        for copy in range(2):
            for t in range(rows_t):
                for n, offset in enumerate(offsets):
                    row, rotate = divmod(offset, lanes)
                    await bench.step(ctx, {
                        "copy": copy, "row": (first_s + row + t) % bench.rows, "rotate": rotate,
                        "clear": int(n == 0), "table": n * rows_t + t})
                await bench.step(ctx, {"broadcast": 1, "update": 1}, slot=t)
            await bench.drain(ctx)
            x = states[copy][first_s * lanes :][:dim_s]
            fields = [field for t in range(rows_t) for field in await bench.row(ctx, t)]
            assert fields[:dim_t] == [
                sum(w[i] * x[i + o] for o, w in zip(offsets, weights) if 0 <= i + o < dim_s)
                for i in range(dim_t)]

    bench.simulate(run)

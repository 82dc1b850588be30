"""The sequencer against a walk of the instructions: what it issues, and in which cycle."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, ResetInserter, Signal
from amaranth.hdl import Module as HdlModule

from blocks import PIPED, SMALL, WindowHost
from instruction_walk import Issue, program, walk
from pbitstream.spec.cycles import cycles_per_step, multiplying_per_step
from pbitstream.spec.image import Image
from pbitstream.spec.timing import JUMP_CYCLES, RING
from pbitstream_gateware.projection import Projection
from pbitstream_gateware.sequencer import FLUSH_CYCLES, Sequencer
from pbitstream_gateware.updater import Updater
from simulation import simulate

WIDE = Image(lanes=128, max_units=512, max_rank_words=128, max_modules=8, max_instructions=32,
             max_gains=16)
#: From the start, or from the last cycle before the steps, to the first decision to issue.
BEGIN = JUMP_CYCLES + 1


@dataclass
class Counts:
    """Pulses until the cycle before, against decisions until the cycle before.

    A wait sees the pulses of one cycle earlier: `seen_retired` and `seen_written`.
    """

    pushed: int = 0
    projected: int = 0
    retired: int = 0
    freed: int = 0
    written: int = 0
    seen_retired: int = 0
    seen_written: int = 0
    #: What had been pushed and projected when the step began.
    rows: int = 0
    results: int = 0

    def ready(self, issue: Issue) -> bool:
        """Whether an issue may go: its wait is met, or nothing is under way that could meet it."""
        if issue.item.kind == "update" and self.pushed - self.freed == RING:
            return False
        if not issue.begins:
            return True
        if issue.item.kind == "expand":
            return (self.seen_written - self.results >= issue.item["wait_results"]
                    or self.seen_written == self.projected)
        return (self.seen_retired - self.rows >= issue.item["wait"]
                or self.seen_retired == self.pushed)

    def see(self) -> None:
        self.seen_retired, self.seen_written = self.retired, self.written

    def issued(self, issue: Issue) -> None:
        self.pushed += issue.outputs["update"]
        self.projected += issue.outputs["project"]
        if issue.ends:
            self.rows, self.results = self.pushed, self.projected


@dataclass
class Run:
    """A relaxation under way, cycle by cycle: what is decided, and the pulses that come back."""

    draw: random.Random
    plan: Iterator[Issue]
    counts: Counts = field(default_factory=Counts)
    prologue: bool = True
    settling: bool = False
    idle_for: int = BEGIN

    def __post_init__(self) -> None:
        self.next = next(self.plan, None)
        self.pending: dict[str, deque[int]] = {name: deque() for name in
                                               ("freed", "retired", "written")}
        self.slow = self.draw.choice([1, 5, 40])

    def decide(self) -> Issue | None:
        """Return what is decided in this cycle."""
        if self.idle_for:
            self.idle_for -= 1
            return None
        if self.settling and self.counts.retired < self.counts.pushed:
            return None
        if self.settling:
            self.settling, self.idle_for = False, BEGIN - 1
            return None
        issue = self.next
        if issue is None or not self.counts.ready(issue):
            return None
        self.next = next(self.plan, None)
        if issue.ends and self.prologue:
            # Every row of the prologue is written before the first step begins.
            self.settling, self.prologue = True, False
        elif issue.repeats or issue.ends:
            self.idle_for = JUMP_CYCLES
        return issue

    def pulses(self, cycle: int, issue: Issue | None) -> dict[str, int]:
        """Return the pulses of this cycle; what is issued in it gets its own, later."""
        if self.draw.random() < 0.005:
            self.slow = self.draw.choice([1, 5, 40, 300])
        if issue is not None and issue.outputs["update"]:
            freed = cycle + 1 + self.draw.randint(1, self.slow)
            self.pending["freed"].append(freed)
            self.pending["retired"].append(freed + self.draw.randint(1, self.slow))
        if issue is not None and issue.outputs["project"]:
            self.pending["written"].append(cycle + 1 + self.draw.randint(1, self.slow))
        now = {}
        for name, queue in self.pending.items():
            now[name] = int(bool(queue) and queue[0] <= cycle)
            if now[name]:
                queue.popleft()
        return now


class Bench:
    """A sequencer with its host and the pulses that it waits for."""

    def __init__(self, dut: Sequencer, draw: random.Random) -> None:
        self.dut, self.image, self.draw, self.reset = dut, dut.image, draw, Signal()
        self.page = 0
        self.flushing = False

    async def load(self, ctx: Any, words: list[int]) -> None:
        """Write a program and turn the page."""
        dut = self.dut
        ctx.set(dut.idle, 1)
        halves = [word >> 32 * n & 0xFFFFFFFF for word in words for n in range(4)]
        host = WindowHost(ctx, dut.host)
        await host.write("instructions", halves)
        assert await host.read("instructions", len(halves)) == halves
        self.page ^= 1
        ctx.set(dut.page, self.page)
        ctx.set(dut.idle, 0)
        await ctx.tick()

    def compare(self, ctx: Any, issue: Issue | None) -> None:
        dut = self.dut
        got = ctx.get(dut.issue)
        kind = issue.item.kind if issue else None
        assert ctx.get(dut.multiplying) == (kind not in (None, "update"))
        outputs = issue.outputs if issue else {
            "broadcast": 1, "expand": 0, "clear": 0, "project": 0, "update": 0}
        assert ctx.get(dut.project) == outputs["project"]
        for name, value in outputs.items():
            if name == "component":
                component = ctx.get(dut.component)
                assert {field: component[field] for field in value} == value
            elif name == "row_update":
                row = ctx.get(dut.update)
                assert {field: row[field] for field in value} == value
            elif name == "read":
                assert ctx.get(dut.read) == value
            else:
                assert got[name] == value, name

    async def run(self, ctx: Any, words: list[int], cycles: int | None = None) -> bool:
        """Relax, for so many cycles at most; return whether it came to its end."""
        draw, dut = self.draw, self.dut
        burn_in, steps = draw.randrange(3), draw.randint(1, 3)
        ctx.set(dut.burn_in, burn_in)
        ctx.set(dut.steps, steps)
        assert not ctx.get(dut.busy)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        run, cycle, silent = Run(draw, walk(words, self.image, burn_in, steps)), 0, 0
        run.idle_for -= 1
        visible = None
        while silent <= FLUSH_CYCLES:
            if cycle == cycles:
                self.flushing = silent > 0
                return False
            assert ctx.get(dut.busy)
            assert ctx.get(dut.flush) == (silent > 0)
            self.compare(ctx, visible)
            visible = run.decide()
            pulses = run.pulses(cycle, visible)
            for name, pulse in pulses.items():
                ctx.set(getattr(dut, name), pulse)
            await ctx.tick()
            # The counts of the next cycle.
            if run.next is None and run.counts.retired == run.counts.pushed and visible is None:
                silent += 1
            run.counts.see()
            for name, pulse in pulses.items():
                setattr(run.counts, name, getattr(run.counts, name) + pulse)
            if visible is not None:
                run.counts.issued(visible)
            cycle += 1
            assert cycle < 20_000, "it waits for ever"
        assert not ctx.get(dut.busy)
        return True

    async def silence(self, ctx: Any) -> None:
        """Nothing is issued any more; pulses of what was under way still come."""
        for cycle in range(FLUSH_CYCLES + 1):
            # A stop after the last row update does not make it longer.
            assert self.flushing or ctx.get(self.dut.busy) == (cycle < FLUSH_CYCLES)
            assert ctx.get(self.dut.flush) == ctx.get(self.dut.busy)
            if cycle:
                self.compare(ctx, None)
            for name in ("freed", "retired", "written"):
                ctx.set(getattr(self.dut, name),
                        self.draw.randrange(2) if cycle < FLUSH_CYCLES // 2 else 0)
            await ctx.tick()
        assert not ctx.get(self.dut.busy)

    def simulate(self, bench: Any) -> None:
        simulate(ResetInserter(self.reset)(self.dut), bench)


@pytest.mark.parametrize("absurd", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_random_programs(seed: int, absurd: bool) -> None:
    draw = random.Random(seed)
    bench = Bench(Sequencer(SMALL), draw)

    async def run(ctx: Any) -> None:
        for _ in range(3):
            words = program(draw, SMALL, absurd)
            await bench.load(ctx, words)
            assert await bench.run(ctx, words)

    bench.simulate(run)


@pytest.mark.parametrize("how", ["stop", "reset"])
@pytest.mark.parametrize("seed", range(2))
def test_it_breaks_off_anywhere(how: str, seed: int) -> None:
    draw = random.Random(seed)
    bench = Bench(Sequencer(SMALL), draw)

    async def run(ctx: Any) -> None:
        words = program(draw, SMALL, absurd=False)
        await bench.load(ctx, words)
        for cycles in [*range(4), *(draw.randrange(100) for _ in range(6)), None]:
            if await bench.run(ctx, words, cycles):
                continue
            signal = bench.dut.stop if how == "stop" else bench.reset
            ctx.set(signal, 1)
            await ctx.tick()
            ctx.set(signal, 0)
            for name in ("freed", "retired", "written"):
                ctx.set(getattr(bench.dut, name), 0)
            if how == "stop":
                await bench.silence(ctx)
            else:
                assert not ctx.get(bench.dut.busy)
                bench.compare(ctx, None)
                await ctx.tick()

    bench.simulate(run)


class Paced(Elaboratable):
    """A sequencer with the blocks that pace it, as the top connects them."""

    def __init__(self, image: Image) -> None:
        self.sequencer, self.updater = Sequencer(image), Updater(image)
        self.projection = Projection(image)

    def elaborate(self, platform: Any) -> HdlModule:
        m = HdlModule()
        m.submodules.sequencer = sequencer = self.sequencer
        m.submodules.updater = updater = self.updater
        m.submodules.projection = projection = self.projection
        m.d.comb += [
            updater.push.eq(sequencer.issue.update),
            updater.update.eq(sequencer.update),
            sequencer.freed.eq(updater.freed),
            sequencer.retired.eq(updater.retired),
            projection.start.eq(sequencer.project),
            projection.component.eq(sequencer.component),
            sequencer.written.eq(projection.written),
        ]
        return m


def pace(starts: list[int], ends: list[int]) -> int:
    """Return the cycles per step by the rule of `cycles_per_step`.

    `starts` are the first issues of the steps, `ends` the last units of their updates.
    """
    for n in range(5, len(starts) + 1):
        paces = {b - a for times in (starts, ends) for a, b in pairwise(times[n - 5 : n])}
        if len(paces) == 1:
            return paces.pop()
    half = len(starts) // 2
    return -(-(starts[-1] - starts[half]) // (len(starts) - 1 - half))


@pytest.mark.parametrize("image", [SMALL, PIPED, WIDE], ids=["one", "two", "wide"])
@pytest.mark.parametrize("seed", range(3))
def test_cycles_per_step(image: Image, seed: int) -> None:
    """The blocks together take the cycles that the spec computes."""
    draw = random.Random(seed)
    dut, steps = Paced(image), 12
    bench = Bench(dut.sequencer, draw)

    async def run(ctx: Any) -> None:
        words = program(draw, image, absurd=draw.random() < 0.3)
        await bench.load(ctx, words)
        ctx.set(dut.sequencer.steps, steps)
        ctx.set(dut.sequencer.start, 1)
        await ctx.tick()
        ctx.set(dut.sequencer.start, 0)
        issued, freed, cycle, multiplied = [], [], 0, 0
        while ctx.get(dut.sequencer.busy):
            multiplying, update = (ctx.get(dut.sequencer.multiplying),
                                   ctx.get(dut.sequencer.issue.update))
            multiplied += multiplying
            if multiplying or update:
                issued.append(cycle)
            if ctx.get(dut.updater.freed):
                freed.append(cycle)
            cycle += 1
            await ctx.tick()
        step = [*walk(words, image, 0, 1)][len([*walk(words, image, 0, 0)]) :]
        rows = sum(issue.outputs["update"] for issue in step)
        starts = issued[len(issued) - steps * len(step) :: len(step)]
        ends = freed[len(freed) - (steps - 1) * rows - 1 :: rows]
        assert len(starts) == len(ends) == steps
        assert pace(starts, ends) == cycles_per_step(words, image, steps=steps), starts
        assert multiplied == steps * multiplying_per_step(words)

    simulate(dut, run)

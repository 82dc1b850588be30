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
from pbitstream.spec.cycles import cycles_per_step, multiplying_per_step
from pbitstream.spec.image import Image
from pbitstream.spec.instructions import COMMON, COPIES, Decoded, decode, encode
from pbitstream.spec.timing import RING
from pbitstream_gateware.projection import Projection
from pbitstream_gateware.sequencer import FLUSH_CYCLES, Sequencer
from pbitstream_gateware.updater import Updater
from simulation import simulate

WIDE = Image(lanes=128, max_units=512, max_rank_words=128, max_modules=8, max_instructions=32,
             max_gains=16)
NEVER = -(1 << COMMON["wait"] - 1)
#: From the start, or from the last cycle before the steps, to the first decision to issue.
BEGIN = 2


def program(draw: random.Random, image: Image, absurd: bool) -> list[int]:
    """Return a prologue of some updates and a step of projections and groups.

    Waits are what a program may ask for, or any number at all.
    """
    results = 0

    def wait() -> int:
        if absurd:
            return draw.choice([draw.randrange(-8, 9), draw.randrange(NEVER, -NEVER)])
        return draw.choice([NEVER, NEVER, -20, -3, -2, -1, 0, 0])

    def rows() -> tuple[int, int]:
        count = draw.choice([1, 1, 2, 3, 8])
        return count, (count - 1) * image.lanes + draw.randint(1, image.lanes)

    def source() -> dict[str, int]:
        return {"copy": draw.choice(list(COPIES.values())), "wait": wait(),
                "table": draw.randrange(64)}

    def update(group: int, clear: bool, last: bool, count: int, dim: int) -> int:
        return encode("update", wait=wait(), clear=int(clear), group=group, last=int(last),
                      row=draw.randrange(image.rows), rows=count, dim=dim,
                      module=draw.randrange(image.max_modules))

    words = []
    for left in reversed(range(draw.randint(1, 3))):
        words.append(update(len(words), True, not left, *rows()))
    for left in reversed(range(draw.randint(1, 3))):
        for _ in range(draw.randrange(3)):
            count = draw.randint(1, 4)
            results += count
            words.append(encode(
                "project", **source(), rows=draw.randint(1, 3), row=draw.randrange(1024),
                count=count, gain=draw.randrange(12), result=draw.randrange(28),
                shift_z=draw.randrange(23), shift_u=draw.randrange(31)))
        group = len(words)
        count, dim = rows()
        for _ in range(draw.randrange(4)):
            first = int(len(words) == group)
            if draw.random() < 0.5:
                needed = draw.choice([0, results, results])
                words.append(encode(
                    "expand", **source(), clear=first, rows=count, count=draw.randint(1, 4),
                    result=draw.randrange(28),
                    wait_results=draw.randrange(4096) if absurd and draw.randrange(2) else needed))
            else:
                words.append(encode("band", **source(), clear=first, row=draw.randrange(1024),
                                    rotate=draw.randrange(image.lanes)))
        words.append(update(group, len(words) == group, not left, count, dim))
    return words


@dataclass
class Issue:
    """One issue of an instruction: what stands at the outputs, and what it waits for."""

    item: Decoded
    outputs: dict[str, Any]
    begins: bool
    repeats: bool = False
    ends: bool = False


def issues(item: Decoded, t: int, parity: int, image: Image) -> Iterator[Issue]:
    """Yield what an instruction issues, as `pbitstream.spec.instructions` says."""
    copy = {"fixed": 0, "old": parity, "new": 1 - parity}[
        next(name for name, code in COPIES.items() if code == item["copy"])]
    base = {"broadcast": 0, "expand": 0, "project": 0, "update": 0, "clear": 0}
    if item.kind == "project":
        for c in range(item["count"]):
            for r in range(item["rows"]):
                last = r == item["rows"] - 1
                outputs = {**base, "clear": int(r == 0), "project": int(last), "rotate": 0,
                           "copy": copy, "row": (item["row"] + r) % image.rows,
                           "table": item["table"] + c * item["rows"] + r}
                if last:
                    outputs["component"] = {
                        "gain": item["gain"] + c, "result": item["result"] + c,
                        "shift_z": item["shift_z"], "shift_u": item["shift_u"]}
                yield Issue(item, outputs, begins=c == r == 0)
    elif item.kind == "expand":
        for c in range(item["count"]):
            yield Issue(item, {**base, "broadcast": 1, "expand": 1, "read": item["result"] + c,
                               "clear": item["clear"] * (c == 0),
                               "table": item["table"] + t + c * item["rows"]}, begins=c == 0)
    elif item.kind == "band":
        yield Issue(item, {**base, "clear": item["clear"], "rotate": item["rotate"], "copy": copy,
                           "row": (item["row"] + t) % image.rows, "table": item["table"] + t},
                    begins=True)
    else:
        yield Issue(item, {**base, "broadcast": 1, "update": 1, "clear": item["clear"]}, True,
                    repeats=t + 1 < item["rows"], ends=t + 1 == item["rows"] and bool(item["last"]))


def walk(words: list[int], image: Image, burn_in: int, steps: int) -> Iterator[Issue]:
    """Yield all issues of a relaxation: the prologue, then each step."""
    items = [decode(word) for word in words]
    at, begin = 0, None
    for number in range(-1, burn_in + steps):
        parity, prologue = max(number, 0) % 2, number < 0
        t = 0
        while True:
            item = items[at]
            for issue in issues(item, t, parity, image):
                if item.kind == "update":
                    issue.outputs["row_update"] = {
                        "row": (item["row"] + t) % image.rows, "module": item["module"],
                        "first": t * image.lanes, "rest": item["dim"] - t * image.lanes - 1,
                        "init": int(prologue), "window": int(number >= burn_in),
                        "copy": 0 if prologue else 1 - parity}
                yield issue
            at += 1
            if issue.repeats:
                at, t = item["group"], t + 1
            else:
                t = 0 if item.kind == "update" else t
                if issue.ends:
                    break
        begin = at if begin is None else begin
        at = begin


@dataclass
class Counts:
    """Pulses until the cycle before, against decisions until the cycle before."""

    pushed: int = 0
    projected: int = 0
    retired: int = 0
    freed: int = 0
    written: int = 0
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
            return (self.written - self.results >= issue.item["wait_results"]
                    or self.written == self.projected)
        return (self.retired - self.rows >= issue.item["wait"] or self.retired == self.pushed)

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
            self.idle_for = 1
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


def settled(starts: list[int]) -> int:
    """Return the period of a step by the rule of `cycles_per_step`."""
    periods = [b - a for a, b in pairwise(starts)]
    for n in range(4, len(periods) + 1):
        if len(set(periods[n - 4 : n])) == 1:
            return periods[n - 1]
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
        times, cycle, multiplied = [], 0, 0
        while ctx.get(dut.sequencer.busy):
            multiplying, update = (ctx.get(dut.sequencer.multiplying),
                                   ctx.get(dut.sequencer.issue.update))
            multiplied += multiplying
            if multiplying or update:
                times.append(cycle)
            cycle += 1
            await ctx.tick()
        per_step = len(list(walk(words, image, 0, 1))) - len(list(walk(words, image, 0, 0)))
        starts = times[len(times) - steps * per_step :: per_step]
        assert len(starts) == steps
        assert settled(starts) == cycles_per_step(words, image, steps=steps), starts
        assert multiplied == steps * multiplying_per_step(words)

    simulate(dut, run)

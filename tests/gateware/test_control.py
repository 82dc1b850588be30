"""The life of a relaxation: starts, stops, pages, counters."""

import random
from typing import Any

import pytest
from amaranth.hdl import Cat, Elaboratable, ResetInserter, Signal
from amaranth.hdl import Module as HdlModule

from blocks import SMALL
from pbitstream.spec.registers import OPTIONS
from pbitstream_gateware.control import Controller, counted
from pbitstream_gateware.switch import TableSwitch
from simulation import simulate

#: Cycles from `running` to the start of the sequencer, at least: `idle` falls, memories turn.
TURN = 3


class Worker:
    """A seeder or a sequencer: busy from the cycle after its start for some cycles."""

    def __init__(self, draw: random.Random, longest: int) -> None:
        self.draw, self.longest, self.left = draw, longest, 0

    def step(self, start: int, stop: int, flush: int) -> None:
        """A cycle; a stop leaves so many cycles at most, and overrides a start."""
        if stop:
            self.left = min(self.left, flush)
        elif start:
            self.left = self.draw.randint(1, self.longest)
        elif self.left:
            self.left -= 1


class Bench:
    """A controller between a seeder and a sequencer that take random times."""

    def __init__(self, draw: random.Random) -> None:
        self.draw, self.dut, self.reset = draw, Controller(), Signal()
        self.seeder, self.sequencer = Worker(draw, 30), Worker(draw, 60)
        self.cycles = self.multiplied = 0
        self.pages, self.idle = [0, 0], 1
        #: Starts of the seeder and the sequencer since the last `go`, as cycles after it.
        self.seeds: list[int] = []
        self.sequences: list[int] = []

    async def step(self, ctx: Any, *, go: int = 0, stop: int = 0, options: int = 0) -> None:
        dut, draw = self.dut, self.draw
        ctx.set(dut.go, go)
        ctx.set(dut.stop, stop)
        ctx.set(dut.options, options)
        ctx.set(dut.seeding, self.seeder.left > 0)
        ctx.set(dut.sequencing, self.sequencer.left > 0)
        multiplied = draw.randrange(2) if self.sequencer.left else 0
        ctx.set(dut.multiplied, multiplied)
        running, seed, sequence = (ctx.get(s) for s in (dut.running, dut.seed, dut.sequence))
        assert ctx.get(dut.idle) == self.idle
        self.idle = 1 - running
        assert ctx.get(dut.cycles) == self.cycles
        assert ctx.get(dut.multiplying) == self.multiplied
        assert [ctx.get(dut.input_page), ctx.get(dut.readout_page)] == self.pages
        assert not (seed and self.seeder.left)
        assert not (sequence and (self.sequencer.left or self.seeder.left))
        if seed:
            self.seeds.append(self.cycles)
        if sequence:
            self.sequences.append(self.cycles)
        self.seeder.step(seed, stop, 0)
        self.sequencer.step(sequence, stop, 8)
        self.cycles, self.multiplied = ((0, 0) if go else
                                        (self.cycles + running, self.multiplied + multiplied))
        if go:
            assert not running
            for which, kept in enumerate(("keep_page", "keep_readout")):
                self.pages[which] ^= not options & _option(kept)
            self.seeds, self.sequences = [], []
        await ctx.tick()

    async def rest(self, ctx: Any) -> None:
        """Wait until nothing runs."""
        for _ in range(200):
            if not ctx.get(self.dut.running):
                assert self.seeder.left == self.sequencer.left == 0
                return
            await self.step(ctx)
        raise AssertionError("it does not end")

    def simulate(self, bench: Any) -> None:
        simulate(ResetInserter(self.reset)(self.dut), bench)


def _option(name: str) -> int:
    return 1 << OPTIONS.index(name)


@pytest.mark.parametrize("seed", range(2))
def test_a_relaxation_seeds_and_runs_as_its_options_say(seed: int) -> None:
    draw = random.Random(seed)
    bench = Bench(draw)

    async def run(ctx: Any) -> None:
        for options in [*range(1 << len(OPTIONS))] * 2:
            await bench.step(ctx, go=1, options=options)
            assert ctx.get(bench.dut.running)
            # Held while it runs, whatever the register says meanwhile.
            while ctx.get(bench.dut.running):
                assert ctx.get(bench.dut.moments) == bool(options & _option("moments"))
                assert ctx.get(bench.dut.keep) == bool(options & _option("keep_state"))
                await bench.step(ctx, options=draw.getrandbits(32))
            await bench.rest(ctx)
            assert len(bench.seeds) == (not options & _option("keep_state"))
            assert len(bench.sequences) == 1
            assert bench.sequences[0] >= TURN
            for _ in range(draw.randrange(5)):
                await bench.step(ctx, stop=draw.randrange(2))
                assert not ctx.get(bench.dut.running)

    bench.simulate(run)


@pytest.mark.parametrize("how", ["stop", "reset"])
@pytest.mark.parametrize("keep", [0, 1])
def test_it_breaks_off_in_any_cycle(how: str, keep: int) -> None:
    bench = Bench(random.Random(keep))

    async def run(ctx: Any) -> None:
        for after in range(70):
            await bench.step(ctx, go=1, options=keep * _option("keep_state"))
            for _ in range(after):
                await bench.step(ctx)
            if how == "stop":
                begun = len(bench.sequences)
                await bench.step(ctx, stop=1)
                await bench.rest(ctx)
                # Nothing begins after the stop.
                assert len(bench.sequences) == begun
                continue
            ctx.set(bench.reset, 1)
            await ctx.tick()
            ctx.set(bench.reset, 0)
            bench.seeder.left = bench.sequencer.left = 0
            bench.cycles = bench.multiplied = 0
            bench.pages, bench.idle = [0, 0], 1
            await bench.rest(ctx)

    bench.simulate(run)


class Granted(Elaboratable):
    """A controller behind the table switch that grants its starts, as in the top."""

    def __init__(self) -> None:
        self.control, self.switch = Controller(), TableSwitch(SMALL)

    def elaborate(self, platform: Any) -> HdlModule:
        m = HdlModule()
        m.submodules.control, m.submodules.switch = self.control, self.switch
        m.d.comb += [self.control.go.eq(self.switch.go),
                     self.switch.idle.eq(~self.control.running)]
        return m


@pytest.mark.parametrize("seed", range(2))
def test_a_start_is_refused_while_it_runs_or_a_commit_is_pending(seed: int) -> None:
    draw = random.Random(seed)
    dut = Granted()
    control, switch = dut.control, dut.switch

    async def start(ctx: Any) -> None:
        for value in (1, 0):
            ctx.set(switch.control, value)
            ctx.set(switch.start, value)
            if value:
                await ctx.tick()

    async def commit(ctx: Any) -> None:
        # The CRC is that of nothing.
        ctx.set(switch.commit.data, draw.getrandbits(32))
        ctx.set(switch.commit.strobe, 1)
        await ctx.tick()
        ctx.set(switch.commit.strobe, 0)

    async def bench(ctx: Any) -> None:
        page = 0
        for _ in range(6):
            await start(ctx)
            page ^= 1
            assert (ctx.get(control.running), ctx.get(switch.refused)) == (1, 0)
            for _ in range(draw.randrange(4)):
                await ctx.tick()
            # A long run.
            ctx.set(control.sequencing, 1)
            for _ in range(10):
                await ctx.tick()
            cycles = ctx.get(control.cycles)
            await start(ctx)
            assert (ctx.get(control.running), ctx.get(switch.refused)) == (1, 1)
            # Page and counters are those of the run.
            assert ctx.get(control.input_page) == ctx.get(control.readout_page) == page
            assert ctx.get(control.cycles) == cycles + 1
            await commit(ctx)
            assert (ctx.get(switch.pending), ctx.get(switch.refused)) == (1, 0)
            ctx.set(control.sequencing, 0)
            await ctx.tick()
            await ctx.tick()
            assert not ctx.get(control.running)
            await start(ctx)
            assert (ctx.get(control.running), ctx.get(switch.refused)) == (0, 1)
            assert ctx.get(control.input_page) == ctx.get(control.readout_page) == page
            while ctx.get(switch.pending):
                await ctx.tick()

    simulate(dut, bench)


class Counter(Elaboratable):
    """A counter of two kinds of event."""

    def __init__(self, bits: int) -> None:
        self.events, self.clear, self.count, self.bits = Signal(2), Signal(), Signal(bits), bits

    def elaborate(self, platform: Any) -> HdlModule:
        m = HdlModule()
        events = Cat(self.events[0], self.events[1])
        m.d.comb += self.count.eq(counted(m, events, self.clear, self.bits, "count"))
        return m


@pytest.mark.parametrize("seed", range(2))
def test_a_counter_sticks_at_its_top(seed: int) -> None:
    draw = random.Random(seed)
    dut, bits = Counter(4), 4

    async def bench(ctx: Any) -> None:
        count, tops = 0, 0
        for _ in range(1000):
            events, clear = draw.getrandbits(2), draw.random() < 0.05
            ctx.set(dut.events, events)
            ctx.set(dut.clear, clear)
            await ctx.tick()
            count = 0 if clear else min(count + events % 2 + events // 2, (1 << bits) - 1)
            tops += count == (1 << bits) - 1
            assert ctx.get(dut.count) == count
        assert tops

    simulate(dut, bench)

"""The AXI slave against a memory: random bursts of both kinds at once, every one answered."""

import random
from collections import deque
from typing import Any

import pytest
from amaranth.hdl import Module

from pbitstream.spec.registers import BOARD_BYTES, RESPONSE_CYCLES
from pbitstream_gateware.axi import FULL, ID_BITS, INCR, OKAY, SLVERR, WORD_SIZE, AxiSlave
from simulation import simulate

WORDS = BOARD_BYTES // 4


class Burst:
    """A burst to come: what its address says, and of a write its beats as (data, strb)."""

    def __init__(self, draw: random.Random, *, write: bool, longest: int) -> None:
        self.beats = draw.choice([1, 1, draw.randrange(1, 17), draw.randrange(1, longest + 1)])
        # Reads and writes keep apart, since which of two at once is first is not theirs to say.
        half = WORDS // 2
        self.word = draw.randrange(half - self.beats) + (half if write else 0)
        self.fields = {
            "id": draw.randrange(1 << ID_BITS),
            # The low bits say nothing.
            "addr": 4 * self.word + draw.choice([0, 0, 0, 3]),
            "len": self.beats - 1,
            "size": draw.choice([WORD_SIZE] * 9 + [0, 1, 3]),
            "burst": draw.choice([INCR] * 9 + [0, 2, 3]),
        }
        self.data = [(draw.getrandbits(32), draw.choice([FULL] * 9 + [0, draw.randrange(16)]))
                     for _ in range(self.beats if write else 0)]

    @property
    def refused(self) -> bool:
        return self.fields["size"] != WORD_SIZE or self.fields["burst"] != INCR


def held(word: int) -> int:
    """What the memory holds at a word at first."""
    return word * 0x9E3779B1 & 0xFFFFFFFF


@pytest.mark.parametrize(("seed", "pauses"), [(0, 0.0), (1, 0.3), (2, 0.7)])
def test_random_bursts(seed: int, pauses: float) -> None:
    draw = random.Random(seed)
    dut = AxiSlave()
    writes = [Burst(draw, write=True, longest=40) for _ in range(40)]
    reads = [Burst(draw, write=False, longest=40) for _ in range(40)]
    stored: list[tuple[int, int]] = []
    waiting = deque(writes)
    answers = {"b": 0, "r": 0}

    async def pause(ctx: Any) -> None:
        while draw.random() < pauses:
            await ctx.tick()

    async def give(ctx: Any, channel: Any, **fields: int) -> None:
        await pause(ctx)
        for name, value in {"valid": 1, **fields}.items():
            ctx.set(getattr(channel, name), value)
        await ctx.tick().until(channel.ready)
        ctx.set(channel.valid, 0)

    async def take(ctx: Any, channel: Any) -> dict[str, int]:
        await pause(ctx)
        ctx.set(channel.ready, 1)
        names = [name for name in channel.signature.members if name not in ("valid", "ready")]
        values = await ctx.tick().sample(*(getattr(channel, n) for n in names)).until(channel.valid)
        ctx.set(channel.ready, 0)
        return dict(zip(names, values))

    def addresses(channel: Any, bursts: list[Burst]) -> Any:
        async def bench(ctx: Any) -> None:
            for burst in bursts:
                await give(ctx, channel, **burst.fields)
        return bench

    async def data(ctx: Any) -> None:
        for burst in writes:
            for number, (word, strb) in enumerate(burst.data):
                await give(ctx, dut.axi.w, data=word, strb=strb,
                           last=int(number == burst.beats - 1))

    async def write_answers(ctx: Any) -> None:
        for burst in writes:
            answer = await take(ctx, dut.axi.b)
            partial = any(strb not in (0, FULL) for _, strb in burst.data)
            assert answer == {"id": burst.fields["id"],
                              "resp": SLVERR if burst.refused or partial else OKAY}
            # Whatever is to be written has been.
            assert waiting.popleft() is burst
            expected = [(burst.word + n, word) for n, (word, strb) in enumerate(burst.data)
                        if strb == FULL and not burst.refused]
            assert stored == expected
            stored.clear()
            answers["b"] += 1

    async def read_answers(ctx: Any) -> None:
        for burst in reads:
            for number in range(burst.beats):
                answer = await take(ctx, dut.axi.r)
                assert answer == {
                    "id": burst.fields["id"],
                    "data": 0 if burst.refused else held(burst.word + number),
                    "resp": SLVERR if burst.refused else OKAY,
                    "last": int(number == burst.beats - 1),
                }
            answers["r"] += 1

    async def memory(ctx: Any) -> None:
        bus = dut.bus
        while True:
            while not ctx.get(bus.valid):
                await ctx.tick()
            for _ in range(draw.randrange(RESPONSE_CYCLES - 2)):
                await ctx.tick()
            if ctx.get(bus.write):
                stored.append((ctx.get(bus.address), ctx.get(bus.data)))
            ctx.set(bus.read, held(ctx.get(bus.address)))
            ctx.set(bus.ack, 1)
            await ctx.tick()
            ctx.set(bus.ack, 0)

    simulate(dut, addresses(dut.axi.aw, writes), data, write_answers,
             addresses(dut.axi.ar, reads), read_answers, background=(memory,))
    assert answers == {"b": len(writes), "r": len(reads)}, f"seed {seed}"


def test_the_longest_burst_of_axi4() -> None:
    dut = AxiSlave()
    m = Module()
    m.submodules.dut = dut
    # A bus that answers at once with the address.
    m.d.comb += [dut.bus.ack.eq(dut.bus.valid), dut.bus.read.eq(dut.bus.address)]

    async def bench(ctx: Any) -> None:
        axi = dut.axi
        for name, value in {"valid": 1, "addr": 0x400, "len": 255, "size": WORD_SIZE,
                            "burst": INCR}.items():
            ctx.set(getattr(axi.ar, name), value)
        await ctx.tick().until(axi.ar.ready)
        ctx.set(axi.ar.valid, 0)
        ctx.set(axi.r.ready, 1)
        for beat in range(256):
            word, last = await ctx.tick().sample(axi.r.data, axi.r.last).until(axi.r.valid)
            assert (word, last) == (0x100 + beat, beat == 255)
        for _ in range(20):
            assert not ctx.get(axi.r.valid)
            await ctx.tick()

    simulate(m, bench)

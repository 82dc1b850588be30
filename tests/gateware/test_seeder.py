"""Seeding a chain against the spec: words, spins, a word of zero, a stop in between."""

import random
from typing import Any

import pytest

from pbitstream.spec.noise import (
    GOLDEN,
    MIX_MULTIPLIERS,
    MIX_SHIFTS,
    STREAMS,
    WORD_MASK,
    mix,
    reset_spin,
    stream_state,
)
from pbitstream_gateware.seeder import (
    SEED_CYCLES,
    SPIN_CYCLES,
    SPIN_ROWS,
    WORD_CYCLES,
    Multiplier,
    Seeder,
)
from simulation import simulate


def unmix(z: int) -> int:
    """Return the inverse of `mix`."""
    for shift, multiplier in zip(reversed(MIX_SHIFTS), (*reversed(MIX_MULTIPLIERS), 1)):
        y = z
        for _ in range(64 // shift + 1):
            y = z ^ (y >> shift)
        z = y * pow(multiplier, -1, WORD_MASK + 1) & WORD_MASK
    return z


@pytest.mark.parametrize("seed", range(3))
def test_multiplier(seed: int) -> None:
    draw = random.Random(seed)
    factors = (WORD_MASK, *(draw.getrandbits(64) for _ in range(2)))
    dut = Multiplier(factors)

    async def bench(ctx: Any) -> None:
        for _ in range(100):
            value, factor = draw.getrandbits(64), draw.randrange(len(factors))
            ctx.set(dut.value, value)
            ctx.set(dut.factor, factor)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.value, draw.getrandbits(64))
            ctx.set(dut.factor, draw.randrange(len(factors)))
            if draw.random() < 0.3:
                # Abandoned: the next start finds it under way.
                await ctx.tick().repeat(draw.randrange(1, 9))
                continue
            await ctx.tick().until(dut.done)
            assert ctx.get(dut.product) == value * factors[factor] & WORD_MASK
            if draw.random() < 0.5:
                await ctx.tick().repeat(draw.randrange(1, 9))

    simulate(dut, bench)


async def seeded(ctx: Any, dut: Seeder, seed: int, chain: int, rows: int) -> None:
    """Start, and compare every write and the cycles with the spec."""
    ctx.set(dut.seed, seed)
    ctx.set(dut.chain, chain)
    ctx.set(dut.spin_rows, rows)
    ctx.set(dut.start, 1)
    await ctx.tick()
    ctx.set(dut.start, 0)
    # Only the values at the start count, and a start while busy does not.
    ctx.set(dut.seed, seed ^ 1)
    ctx.set(dut.chain, chain ^ 1)
    ctx.set(dut.spin_rows, 1)
    words: list[tuple[int, int]] = []
    spins: list[tuple[int, int, int]] = []
    cycles = 1
    while ctx.get(dut.busy):
        if ctx.get(dut.word_write):
            words.append((ctx.get(dut.stream), ctx.get(dut.word)))
            ctx.set(dut.start, 1)
        if ctx.get(dut.spin_write):
            spins.append((ctx.get(dut.stream), ctx.get(dut.spin_row), ctx.get(dut.spin)))
        await ctx.tick()
        ctx.set(dut.start, 0)
        cycles += 1
    expected = [stream_state(seed, chain, stream) for stream in range(STREAMS)]
    assert words == list(enumerate(expected))
    assert spins == [(stream, row, reset_spin(word, row))
                     for stream, word in enumerate(expected) for row in range(rows)]
    assert cycles == SEED_CYCLES + 1 + STREAMS * (WORD_CYCLES + rows * SPIN_CYCLES)


@pytest.mark.parametrize("seed", range(3))
def test_seeds(seed: int) -> None:
    draw = random.Random(seed)
    dut = Seeder()

    async def bench(ctx: Any) -> None:
        for rows in (0, draw.randrange(1, 4)):
            await seeded(ctx, dut, draw.getrandbits(64), draw.getrandbits(32), rows)

    simulate(dut, bench)


def test_the_ends_of_the_ranges_and_a_word_of_zero() -> None:
    dut = Seeder()
    inverse = unmix(-GOLDEN & WORD_MASK)
    assert mix(inverse) == -GOLDEN & WORD_MASK
    assert stream_state(inverse, 0, 0) == GOLDEN

    async def bench(ctx: Any) -> None:
        await seeded(ctx, dut, inverse, 0, 1)
        await seeded(ctx, dut, 0, 0, 0)
        await seeded(ctx, dut, WORD_MASK, (1 << 32) - 1, 0)

    simulate(dut, bench)


def test_every_row() -> None:
    dut = Seeder()

    async def bench(ctx: Any) -> None:
        await seeded(ctx, dut, 1, 0, SPIN_ROWS)

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(3))
def test_a_stop_leaves_nothing_behind(seed: int) -> None:
    draw = random.Random(seed)
    dut = Seeder()

    async def bench(ctx: Any) -> None:
        for _ in range(20):
            ctx.set(dut.seed, draw.getrandbits(64))
            ctx.set(dut.spin_rows, draw.randrange(3))
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick().repeat(draw.randrange(1, 100))
            ctx.set(dut.stop, 1)
            await ctx.tick()
            ctx.set(dut.stop, 0)
            for _ in range(draw.randrange(20)):
                assert not ctx.get(dut.busy | dut.word_write | dut.spin_write)
                await ctx.tick()
        await seeded(ctx, dut, seed, 3, 1)

    simulate(dut, bench)

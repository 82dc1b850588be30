"""The streams of an update pipe against the spec's generator."""

import random
from typing import Any

import pytest

from pbitstream.spec.noise import stream_state, xorshift64
from pbitstream_gateware.noise import NoiseStreams
from simulation import simulate


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("depth", [2, 64, 128])
def test_streams(depth: int, seed: int) -> None:
    draw = random.Random(seed)
    dut = NoiseStreams(depth)
    states = [stream_state(seed, 0, stream) for stream in range(depth)]

    async def bench(ctx: Any) -> None:
        ctx.set(dut.seed_write, 1)
        for stream, state in enumerate(states):
            ctx.set(dut.seed_stream, stream)
            ctx.set(dut.seed_word, state)
            await ctx.tick()
        last, due = -1, None
        for _ in range(1500):
            # Few streams, so that the same one is often drawn from again as soon as it may be.
            stream = draw.choice([s for s in range(min(depth, 4)) if s != last])
            peeked = draw.choice([s for s in range(depth) if s != last])
            drawn, advance, seeded = (draw.random() < 0.7 for _ in range(3))
            ctx.set(dut.stream, stream)
            ctx.set(dut.draw, drawn)
            ctx.set(dut.advance, advance)
            ctx.set(dut.peek_stream, peeked)
            word, target = draw.getrandbits(64), draw.randrange(depth)
            # A seed comes while nothing is drawn, nor was in the cycle before.
            seeded = seeded and not drawn and due is None
            ctx.set(dut.seed_write, seeded)
            ctx.set(dut.seed_stream, target)
            ctx.set(dut.seed_word, word)
            if due is not None:
                assert ctx.get(dut.word) == due
            last, due = -1, None
            if drawn:
                state = states[stream]
                due = states[stream] = xorshift64(state) if advance else state
                last = stream
            else:
                assert ctx.get(dut.peek) == states[peeked]
            if seeded:
                states[target] = word
            await ctx.tick()
        ctx.set(dut.draw, 0)
        ctx.set(dut.seed_write, 0)
        await ctx.tick()
        for stream, state in enumerate(states):
            ctx.set(dut.peek_stream, stream)
            assert ctx.get(dut.peek) == state

    simulate(dut, bench)

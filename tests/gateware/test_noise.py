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
    """One page is seeded and drawn from, while the host looks at both and sets the other's."""
    draw = random.Random(seed)
    dut = NoiseStreams(depth)
    pages = [[stream_state(seed, chain, stream) for stream in range(depth)] for chain in range(2)]

    async def bench(ctx: Any) -> None:
        ctx.set(dut.seed_write, 1)
        for page, states in enumerate(pages):
            ctx.set(dut.page, page)
            for stream, state in enumerate(states):
                ctx.set(dut.seed_stream, stream)
                ctx.set(dut.seed_word, state)
                await ctx.tick()
        page, last, due = 1, -1, None
        for _ in range(1500):
            # Pages turn while nothing is drawn, nor was in the cycle before.
            page ^= due is None and draw.random() < 0.1
            looked = draw.randrange(2)
            states = pages[page]
            # Few streams, so that the same one is often drawn from again as soon as it may be.
            stream = draw.choice([s for s in range(min(depth, 4)) if s != last])
            peeked = draw.choice([s for s in range(depth) if s != last])
            drawn, advance, seeded, poked = (draw.random() < 0.7 for _ in range(4))
            word, target, poke = draw.getrandbits(64), draw.randrange(depth), draw.getrandbits(64)
            # So do seeds, and words that the host sets in the same page.
            seeded = seeded and not drawn and due is None
            poked = poked and (looked != page or (not drawn and not seeded and due is None))
            for signal, value in (
                (dut.page, page), (dut.stream, stream), (dut.draw, drawn), (dut.advance, advance),
                (dut.seed_write, seeded), (dut.seed_stream, target), (dut.seed_word, word),
                (dut.peek_page, looked), (dut.peek_stream, peeked), (dut.poke, poked),
                (dut.poke_word, poke),
            ):
                ctx.set(signal, value)
            if due is not None:
                assert ctx.get(dut.word) == due
            if looked != page or not drawn:
                assert ctx.get(dut.peek) == pages[looked][peeked]
            last, due = -1, None
            if drawn:
                state = states[stream]
                due = states[stream] = xorshift64(state) if advance else state
                last = stream
            if seeded:
                states[target] = word
            if poked:
                pages[looked][peeked] = poke
            await ctx.tick()
        for signal in (dut.draw, dut.seed_write, dut.poke):
            ctx.set(signal, 0)
        await ctx.tick()
        for page, states in enumerate(pages):
            ctx.set(dut.peek_page, page)
            for stream, state in enumerate(states):
                ctx.set(dut.peek_stream, stream)
                assert ctx.get(dut.peek) == state

    simulate(dut, bench)

"""What the tests of single blocks share: a host at their windows, and numbers with corners."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pbitstream.spec.image import Image
from pbitstream.spec.registers import WINDOWS
from pbitstream_gateware.ports import WINDOW_LATENCY


class Piped(Image):
    """An image with two update pipes whatever its lanes."""

    @property
    def pipes(self) -> int:
        return 2


#: 8 rows of 8 lanes.
SMALL = Image(lanes=8, max_units=64, max_rank_words=128, max_modules=8, max_instructions=32,
              max_gains=16)
PIPED = Piped(**vars(SMALL))
LANGEVIN = replace(SMALL, kinds=("langevin", "low-rank"))
PBITS = replace(SMALL, kinds=("pbit", "band"))


def magnitude(draw: random.Random, bits: int) -> int:
    """Return a signed number of any magnitude, often at an end."""
    top = 1 << bits - 1
    if draw.random() < 0.2:
        return draw.choice([-top, top - 1, 0, -1, 1])
    return draw.randrange(-top, top) >> draw.randrange(bits - 1)


def base(window: str) -> int:
    """Return the word address of a window."""
    return next(w.address for w in WINDOWS if w.name == window) // 4


class WindowHost:
    """The host at the window port of a block, `offset` words from where it is: a word per cycle."""

    def __init__(self, ctx: Any, port: Any, offset: int = 0) -> None:
        self.ctx, self.port, self.offset = ctx, port, offset

    def ask(self, window: str, offset: int, data: int | None = None) -> None:
        """Read, or write `data`, in this cycle."""
        self.ctx.set(self.port.address, base(window) + self.offset + offset)
        self.ctx.set(self.port.write, data is not None)
        self.ctx.set(self.port.data, (data or 0) & 0xFFFFFFFF)

    async def write(self, window: str, words: Sequence[int], first: int = 0) -> None:
        for offset, word in enumerate(words, first):
            self.ask(window, offset, word)
            await self.ctx.tick()
        self.ctx.set(self.port.write, 0)
        # The memory has the last word a cycle later.
        await self.ctx.tick()

    async def read(self, window: str, count: int, first: int = 0) -> list[int]:
        words = []
        for offset in range(count + WINDOW_LATENCY):
            if offset >= WINDOW_LATENCY:
                words.append(self.ctx.get(self.port.read))
            self.ask(window, first + offset)
            await self.ctx.tick()
        return words

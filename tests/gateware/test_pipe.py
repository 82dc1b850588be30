"""An update pipe against sections 4 to 8 of numerics, unit by unit."""

import random
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from blocks import LANGEVIN, PBITS, PIPED, SMALL, WindowHost, magnitude
from pbitstream.spec.fixed import rhu, sat
from pbitstream.spec.image import Image
from pbitstream.spec.instructions import MODULE
from pbitstream.spec.noise import NOISE_MEAN, NOISE_SHIFTS, STREAMS, fields, xorshift64
from pbitstream.spec.registers import OTHER_PAGE
from pbitstream.spec.sigmoid import sigmoid_table
from pbitstream.spec.timing import FIELD_STAGE, UNIT_STAGES
from pbitstream.spec.words import FIELD_FRACTIONS
from pbitstream_gateware.pipe import UpdatePipe
from simulation import simulate

WIDE = Image(lanes=128, max_units=256, max_rank_words=2, max_modules=2)
FIELD_LATE = 2
#: Cycles after a unit's address in which its last memory has been written.
EMPTY = FIELD_STAGE + UNIT_STAGES + 6
SPIN = 4096
WORD = (1 << 64) - 1


class Module:
    """Random constants, and which rows of slots it has.

    In half of the modules rows follow each other as if they were `STREAMS` units long, so that few
    lanes see all rows of streams.
    """

    def __init__(self, draw: random.Random, image: Image, row: int, rows: int) -> None:
        self.row, self.rows = row, rows
        self.dim = draw.randint((rows - 1) * image.lanes + 1, rows * image.lanes)
        self.stride = draw.choice([image.lanes, STREAMS])
        self.pbit = draw.choice([code for code, kind in enumerate(("langevin", "pbit"))
                                 if kind in image.kinds])
        self.clamped = draw.random() < 0.3
        self.fraction = draw.randrange(len(FIELD_FRACTIONS))
        self.s = draw.randrange(9)
        self.gain = draw.choice([0, 4096, 8191, draw.randint(4096, 8191)])
        self.q = draw.choice(NOISE_SHIFTS)
        self.beta = draw.getrandbits(16) >> draw.randrange(8)

    def constants(self) -> dict[str, int]:
        values = {"pbit": self.pbit, "clamped": int(self.clamped), "fraction": self.fraction,
                  "dt_shift": self.s, "noise_shift": self.q, "noise_gain": self.gain,
                  "beta": self.beta}
        return {name: values.get(name, 0) for name in MODULE}


class Model:
    """What one pipe remembers, and what an update makes of it."""

    def __init__(self, image: Image, part: int) -> None:
        self.image, self.part = image, part
        self.per_pipe = image.lanes // image.pipes
        slots = image.max_units
        #: States, sums and squares of the page that is worked on, and of the other.
        self.readout, self.other = ([[0] * slots for _ in range(3)] for _ in range(2))
        self.k2, self.k4, self.biases = [1] * slots, [0] * slots, [0] * slots
        self.noise = [0] * STREAMS
        #: Its streams, in the order in which it keeps them.
        self.streams = [stream for stream in range(STREAMS) if self.owns(stream)]
        self.spins = [[0] * STREAMS for _ in range(32)]
        self.clips = [0, 0, 0]
        self.keep = self.moments = 0

    @property
    def states(self) -> list[int]:
        return self.readout[0]

    @property
    def sums(self) -> list[int]:
        return self.readout[1]

    @property
    def squares(self) -> list[int]:
        return self.readout[2]

    def owns(self, lane: int) -> bool:
        return lane % self.image.lanes // self.per_pipe == self.part

    def slots(self) -> list[int]:
        return [slot for slot in range(self.image.max_units) if self.owns(slot)]

    def first(self, module: Module, index: int, slot: int) -> int:
        """Give a unit its first state, and return what the lanes see of it."""
        bias = self.biases[slot]
        if module.clamped:
            state = int(bias > 0) if module.pbit else bias << 8
        elif self.keep:
            state = self.states[slot]
        else:
            state = self.spins[index // STREAMS][index % STREAMS] if module.pbit else 0
        self.states[slot] = state
        self.sums[slot] = self.squares[slot] = 0
        return self.exposed(module, state)

    @staticmethod
    def exposed(module: Module, state: int) -> int:
        if module.pbit:
            return SPIN if state else -SPIN
        return sat(rhu(state, 8), 16)

    def update(self, module: Module, index: int, slot: int, field: int, window: bool) -> int:
        f = field + (self.biases[slot] << FIELD_FRACTIONS[module.fraction] - 12)
        assert -1 << 31 <= f < 1 << 31
        change = self.pbit if module.pbit else self.langevin
        self.states[slot] = change(module, index, slot, f)
        exposed = self.exposed(module, self.states[slot])
        if window:
            value = exposed // SPIN if module.pbit else exposed
            self.sums[slot] += value
            self.squares[slot] += value * value * self.moments
        return exposed

    def langevin(self, module: Module, index: int, slot: int, f: int) -> int:
        x24 = self.states[slot]
        x = self.exposed(module, x24)
        stiffness = self.k2[slot] + rhu(self.k4[slot] * rhu(x * x, 14), 12)
        kappa = min(32767, stiffness)
        self.clips[0] += kappa != stiffness
        drift = (f << 30 - FIELD_FRACTIONS[module.fraction]) - kappa * x24
        kick = 0
        if module.gain:
            stream = index % STREAMS
            self.noise[stream] = xorshift64(self.noise[stream])
            kick = rhu((sum(fields(self.noise[stream])) - NOISE_MEAN) * module.gain, module.q)
        total = x24 + rhu(drift, 10 + module.s) + kick
        self.clips[1] += sat(total, 24) != total
        return sat(total, 24)

    def pbit(self, module: Module, index: int, slot: int, f: int) -> int:
        row, stream = divmod(index, STREAMS)
        if row % 4 == 0:
            self.noise[stream] = xorshift64(self.noise[stream])
        w = fields(self.noise[stream])[row % 4]
        wide = rhu(f, FIELD_FRACTIONS[module.fraction] - 10)
        y = sat(wide, 18)
        self.clips[2] += y != wide
        p = module.beta * y
        entry = sigmoid_table()[min(rhu(abs(p), 15), 1023)]
        return int(w < (entry if p >= 0 else 65536 - entry))


class Bench:
    """A pipe with its host and its updater."""

    def __init__(self, image: Image, part: int, draw: random.Random) -> None:
        self.image, self.draw = image, draw
        self.dut, self.reset = UpdatePipe(image, part), Signal()
        self.model = Model(image, part)
        self.pages, self.readout_page = [0, 0], 0
        self.exposed: list[tuple[int, int, int, int]] = []
        self.clips = [0, 0, 0]
        self.fields = [0] * FIELD_LATE

    async def watch(self, ctx: Any) -> None:
        """Note clips and exposed states."""
        dut = self.dut
        signals = [dut.expose, dut.expose_row, dut.expose_lane, dut.expose_data, *dut.clips]
        rows = self.image.rows
        async for _, _, expose, row, lane, data, *clips in ctx.tick().sample(*signals):
            if expose:
                self.exposed.append((row // rows, row % rows, lane, data))
            self.clips = [a + b for a, b in zip(self.clips, clips)]

    def draw_modules(self) -> list[Module]:
        modules, row = [], 0
        while row < self.image.rows and len(modules) < self.image.max_modules:
            rows = min(self.draw.choice([1, 1, 2, 6]), self.image.rows - row)
            modules.append(Module(self.draw, self.image, row, rows))
            row += rows
        return modules

    def turn(self, ctx: Any) -> None:
        """Work in the other page of the readout."""
        model = self.model
        model.readout, model.other = model.other, model.readout
        self.readout_page ^= 1
        ctx.set(self.dut.readout_page, self.readout_page)

    async def load(self, ctx: Any) -> None:
        """Fill every memory, of stream words through the window or from the seeder."""
        draw, model, dut, image = self.draw, self.model, self.dut, self.image
        host = WindowHost(ctx, dut.host)
        units = range(image.max_units)
        model.k2 = [draw.randint(1, 32767) >> draw.randrange(14) or 1 for _ in units]
        model.k4 = [draw.getrandbits(15) >> draw.randrange(15) for _ in units]
        model.biases = [magnitude(draw, 16) for _ in units]
        await host.write("stiffness", [k2 | k4 << 16 for k2, k4 in zip(model.k2, model.k4)])
        await host.write("biases", [low & 0xFFFF | (high & 0xFFFF) << 16 for low, high in
                                    zip(model.biases[::2], model.biases[1::2])])
        self.pages = [1 - page for page in self.pages]
        ctx.set(dut.table_page, self.pages[0])
        ctx.set(dut.input_page, self.pages[1])
        ctx.set(dut.idle, 1)
        words = [draw.getrandbits(64) for _ in range(STREAMS)]
        model.noise = words
        if draw.randrange(2):
            halves = [word >> 32 * n & 0xFFFFFFFF for word in words for n in range(2)]
            await host.write("noise", halves)
        else:
            ctx.set(dut.seed_write, 1)
            for number, stream in enumerate(model.streams):
                ctx.set(dut.seed_stream, number)
                ctx.set(dut.seed_word, words[stream])
                await ctx.tick()
            ctx.set(dut.seed_write, 0)
        ctx.set(dut.spin_write, 1)
        for row in range(image.rows):
            for number, stream in enumerate(model.streams):
                model.spins[row][stream] = draw.randrange(2)
                ctx.set(dut.seed_stream, number)
                ctx.set(dut.spin_row, row)
                ctx.set(dut.spin, model.spins[row][stream])
                await ctx.tick()
        ctx.set(dut.spin_write, 0)

    async def store_states(self, ctx: Any, modules: list[Module]) -> None:
        for module in modules:
            for slot in range(module.row * self.image.lanes, (module.row + module.rows)
                              * self.image.lanes):
                self.model.states[slot] = (
                    self.draw.randrange(2) if module.pbit else magnitude(self.draw, 24))
        await WindowHost(ctx, self.dut.host).write("states", self.model.states)

    async def step(self, ctx: Any, unit: dict[str, Any] | None, field: int = 0) -> None:
        """One cycle with a unit or none; its field goes in two cycles later."""
        self.fields.append(field)
        ctx.set(self.dut.field, self.fields.pop(0))
        ctx.set(self.dut.valid, unit is not None)
        if unit is not None or self.draw.random() < 0.3:
            ctx.set(self.dut.unit, unit or self.rubbish())
        await ctx.tick()

    def rubbish(self) -> dict[str, Any]:
        """Return a unit that is none."""
        draw, image = self.draw, self.image
        return {"row": draw.randrange(image.rows), "lane": draw.randrange(self.model.per_pipe),
                "stream": draw.randrange(STREAMS // image.pipes), "spin_row": draw.randrange(32),
                "init": draw.randrange(2), "window": 1, "copy": draw.randrange(2),
                "constants": {"pbit": draw.randrange(2), "noise_gain": 5000}}

    async def rows(self, ctx: Any, module: Module, **flags: int) -> list[tuple[int, int, int, int]]:
        """Hand over the rows of a module as an updater does; return what should be exposed."""
        draw, model, image = self.draw, self.model, self.image
        expected = []
        for t in range(module.rows):
            for _ in range(draw.choice([2, 2, draw.randrange(2, 30)])):
                await self.step(ctx, None, magnitude(draw, 32))
            for place in range(model.per_pipe):
                lane = model.part * model.per_pipe + place
                unit, index = t * image.lanes + lane, t * module.stride + lane
                if unit >= module.dim:
                    await self.step(ctx, None, magnitude(draw, 32))
                    continue
                slot = module.row * image.lanes + unit
                # Field and bias together fit 32 bits.
                lifted = model.biases[slot] << FIELD_FRACTIONS[module.fraction] - 12
                field = sat(sat(magnitude(draw, 32) + lifted, 32) - lifted, 32)
                if flags["init"]:
                    exposed = model.first(module, index, slot)
                else:
                    exposed = model.update(module, index, slot, field, bool(flags["window"]))
                await self.step(ctx, {
                    "row": module.row + t, "lane": place,
                    "stream": model.streams.index(index % STREAMS), "spin_row": index // STREAMS,
                    "constants": module.constants(), **flags}, field)
                expected.append((flags["copy"], module.row + t, place, exposed))
        return expected

    async def break_off(self, ctx: Any, modules: list[Module]) -> None:
        """Begin to update some units, and reset: nothing of it shows later, or is drawn."""
        ctx.set(self.dut.idle, 0)
        first = self.model.part * self.model.per_pipe
        for _ in range(self.draw.randrange(2 * EMPTY)):
            module = self.draw.choice(modules)
            place = self.draw.randrange(self.model.per_pipe)
            # Only what the next prologue sets again.
            await self.step(ctx, None if first + place >= module.dim else {
                "row": module.row, "lane": place, "init": self.draw.randrange(2), "window": 1,
                "constants": module.constants()})
        ctx.set(self.reset, 1)
        await self.step(ctx, None)
        ctx.set(self.reset, 0)
        self.exposed.clear()
        self.clips, self.model.clips = [0, 0, 0], [0, 0, 0]

    async def compare(self, ctx: Any) -> None:
        """Read every memory through the windows, at rest or in the other page."""
        model, dut = self.model, self.dut
        for _ in range(EMPTY):
            await self.step(ctx, None)
        other = self.draw.random() < 0.5
        ctx.set(dut.idle, not other)
        ctx.set(dut.readout_page, self.readout_page ^ other)
        host, own = WindowHost(ctx, dut.host, other * OTHER_PAGE // 4), model.slots()

        async def shown(window: str, words: int, count: int) -> list[int]:
            read = await host.read(window, words * count)
            return [sum(word << 32 * n for n, word in enumerate(read[words * i : words * (i + 1)]))
                    for i in range(count)]

        for name, words, values in (("states", 1, model.states), ("sums", 2, model.sums),
                                    ("squares", 2, model.squares)):
            got = await shown(name, words, len(values))
            mask = (1 << 32 * words) - 1
            assert [got[slot] for slot in own] == [values[slot] & mask for slot in own], name
            assert not any(got[slot] for slot in range(len(values)) if slot not in own), name
        streams = await shown("noise", 2, STREAMS)
        assert streams == [word if model.owns(s) else 0 for s, word in enumerate(model.noise)]
        assert self.clips == model.clips
        ctx.set(dut.idle, 0)


@pytest.mark.parametrize(("image", "part", "steps", "seed"), [
    (SMALL, 0, 4, 1), (PIPED, 1, 4, 3), (WIDE, 0, 2, 4), (WIDE, 1, 2, 5),
    (LANGEVIN, 0, 2, 6), (PBITS, 0, 2, 7)])
def test_relaxations(image: Image, part: int, steps: int, seed: int) -> None:
    draw = random.Random(seed)
    bench = Bench(image, part, draw)
    dut, model = bench.dut, bench.model

    async def run(ctx: Any) -> None:
        for keep in (seed % 2,) if image is WIDE else (0, 1):
            modules = bench.draw_modules()
            bench.turn(ctx)
            await bench.break_off(ctx, modules)
            await bench.load(ctx)
            await bench.store_states(ctx, modules)
            model.keep, model.moments = keep, draw.randrange(2)
            ctx.set(dut.keep, model.keep)
            ctx.set(dut.moments, model.moments)
            ctx.set(dut.idle, 0)
            expected = []
            for module in modules:
                expected += await bench.rows(ctx, module, init=1, window=0, copy=0)
            free = [module for module in modules if not module.clamped]
            for step in range(steps):
                for _ in range(EMPTY):
                    await bench.step(ctx, None)
                draw.shuffle(free)
                for module in free:
                    expected += await bench.rows(
                        ctx, module, init=0, window=int(step > 0), copy=step % 2)
            await bench.compare(ctx)
            assert bench.exposed == expected
            bench.exposed.clear()

    simulate(ResetInserter(bench.reset)(dut), run, background=(bench.watch,))

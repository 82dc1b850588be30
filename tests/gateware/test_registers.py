"""The register bank under random requests, against a model generated from the same map."""

import random
from collections import deque
from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal

from pbitstream.spec.image import Image
from pbitstream.spec.registers import (
    MAGIC,
    OTHER_PAGE,
    REGISTERS,
    RESPONSE_CYCLES,
    UNMAPPED,
    WINDOWS,
)
from pbitstream_gateware.ports import ADDRESS_BITS, WINDOW_LATENCY
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.registers import RegisterBank
from simulation import simulate

DIGEST = 0x0123456789ABCDEF
WORDS = {register.address // 4 + word: (register, word)
         for register in REGISTERS for word in range(register.words)}
MASK = 0xFFFFFFFF


def constants(image: Image) -> dict[str, int]:
    return {
        "magic": MAGIC, "spec_digest": DIGEST, "kinds": image.kinds_code, "lanes": image.lanes,
        "max_units": image.max_units, "max_rank_words": image.max_rank_words,
        "max_modules": image.max_modules, "max_instructions": image.max_instructions,
        "max_gains": image.max_gains,
    }


def memory_word(address: int) -> int:
    return address * 0x9E3779B1 & MASK


class Host:
    """Sends requests and counts the cycles until their answers."""

    def __init__(self, ctx: Any, dut: RegisterBank) -> None:
        self.ctx, self.dut = ctx, dut
        self.slowest = 0

    async def __call__(self, address: int, data: int | None = None) -> int:
        ctx, bus = self.ctx, self.dut.bus
        ctx.set(bus.valid, 1)
        ctx.set(bus.write, data is not None)
        ctx.set(bus.address, address)
        ctx.set(bus.data, data or 0)
        cycles = 0
        while not ctx.get(bus.ack):
            assert cycles < RESPONSE_CYCLES, f"no answer for word {address:#x}"
            await ctx.tick()
            cycles += 1
        self.slowest = max(self.slowest, cycles)
        word: int = ctx.get(bus.read)
        await ctx.tick()
        ctx.set(bus.valid, 0)
        return word


def memories(dut: RegisterBank, written: list[tuple[int, int]]) -> Any:
    """Answer the window port as memories do, and keep what it writes."""

    async def bench(ctx: Any) -> None:
        answers = deque([0] * WINDOW_LATENCY)
        while True:
            port = dut.window
            ctx.set(port.read, answers.popleft())
            _, _, address, write, data = await ctx.tick().sample(
                port.address, port.write, port.data)
            answers.append(memory_word(address))
            if write:
                written.append((address, data))

    return bench


def any_address(draw: random.Random, image: Image) -> int:
    """Draw an address: mostly registers, and the edges of windows."""
    kind = draw.random()
    if kind < 0.5:
        return draw.choice(list(WORDS))
    if kind < 0.9:
        window = draw.choice(WINDOWS)
        words = image.window_words()[window.name]
        return (window.address + draw.choice([0, OTHER_PAGE])) // 4 + draw.choice([
            0, words - 1, words % (window.size // 4), draw.randrange(words), -1])
    return draw.randrange(1 << ADDRESS_BITS)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["tiny", "pynq_z2"])
def test_random_requests(name: str, seed: int) -> None:
    draw = random.Random(seed)
    image = PRESETS[name]
    dut = RegisterBank(image, DIGEST)
    fixed = constants(image)
    reach = {window.address // 4 + word: window
             for window in WINDOWS for word in range(image.window_words()[window.name])}
    others = {address + OTHER_PAGE // 4 for address, window in reach.items()
              if window.access == "readout"}
    held = {register.name: 0 for register in REGISTERS if register.access in ("rw", "rs")}
    written: list[tuple[int, int]] = []
    expected: list[tuple[int, int]] = []
    strobes: list[tuple[str, int]] = []

    async def watch(ctx: Any) -> None:
        async for _, _, control, data, commit, crc in ctx.tick().sample(
                dut.control.strobe, dut.control.data, dut.commit.strobe, dut.commit.data):
            if control:
                strobes.append(("control", data))
            if commit:
                strobes.append(("commit", crc))

    async def bench(ctx: Any) -> None:
        request = Host(ctx, dut)
        for _ in range(600):
            inputs = {register.name: draw.getrandbits(32 * register.words)
                      for register in REGISTERS
                      if register.access == "r" and register.name not in fixed}
            for register, value in inputs.items():
                ctx.set(getattr(dut, register), value)
            busy = draw.random() < 0.4
            checking = busy and draw.random() < 0.4
            ctx.set(dut.busy, busy)
            ctx.set(dut.checking, checking)
            for _ in range(draw.randrange(3)):
                event = draw.random() < 0.3
                ctx.set(dut.link_errors, event)
                await ctx.tick()
                held["link_errors"] += event
            ctx.set(dut.link_errors, 0)
            address, data = any_address(draw, image), draw.getrandbits(32)
            asked = f"word {address:#x}, busy {busy}, checking {checking}"
            seen = len(strobes)
            if draw.random() < 0.5:
                await request(address, data)
                if address in others or (address in reach and (
                        reach[address].access != "readout" or not busy)):
                    expected.append((address, data))
                if address in WORDS:
                    register, word = WORDS[address]
                    if register.access == "rw":
                        kept = held[register.name] & ~(MASK << 32 * word)
                        held[register.name] = kept | data << 32 * word
                    if register.access == "rs":
                        held[register.name] &= ~data
                    if register.access == "w":
                        assert strobes[seen:] == [(register.name, data)], asked
                        seen += 1
            elif address in WORDS:
                register, word = WORDS[address]
                value = {**inputs, **fixed, **held}.get(register.name, 0)
                assert await request(address) == value >> 32 * word & MASK, asked
            else:
                shown = not checking if address in others else address in reach and not busy
                answer = memory_word(address) if shown else UNMAPPED
                assert await request(address) == answer, asked
            assert len(strobes) == seen, asked
            assert written == expected, asked
            for register in REGISTERS:
                if register.access == "rw":
                    assert ctx.get(getattr(dut, register.name)) == held[register.name], asked
        assert 0 < request.slowest <= WINDOW_LATENCY + 1

    simulate(dut, bench, background=(memories(dut, written), watch))


def test_requests_back_to_back_are_answered_each_once() -> None:
    image = PRESETS["tiny"]
    dut = RegisterBank(image, DIGEST)
    addresses = [0, WINDOWS[0].address // 4, 1, WINDOWS[0].address // 4 + 1, 2]
    answers: list[int] = []

    async def bench(ctx: Any) -> None:
        ctx.set(dut.bus.valid, 1)
        for address in addresses:
            ctx.set(dut.bus.address, address)
            await ctx.tick().until(dut.bus.ack)
            # `until` ends with the edge that ends the request.
        ctx.set(dut.bus.valid, 0)
        await ctx.tick().repeat(20)

    async def watch(ctx: Any) -> None:
        async for _, _, ack, read in ctx.tick().sample(dut.bus.ack, dut.bus.read):
            if ack:
                answers.append(read)

    simulate(dut, bench, background=(memories(dut, []), watch))
    assert answers == [MAGIC, memory_word(addresses[1]), DIGEST & MASK, memory_word(addresses[3]),
                       DIGEST >> 32]


def test_a_counter_sticks_at_its_top_and_loses_no_event_to_a_clear() -> None:
    dut = RegisterBank(PRESETS["tiny"], DIGEST)
    address = next(word for word, (register, _) in WORDS.items() if register.access == "rs")

    async def bench(ctx: Any) -> None:
        request = Host(ctx, dut)
        ctx.set(dut.link_errors, 1)
        await ctx.tick().repeat(5)
        ctx.set(dut.bus.valid, 1)
        ctx.set(dut.bus.write, 1)
        ctx.set(dut.bus.address, address)
        ctx.set(dut.bus.data, MASK)
        await ctx.tick().until(dut.bus.ack)
        ctx.set(dut.bus.valid, 0)
        ctx.set(dut.link_errors, 0)
        assert await request(address) == 1
        # Ones are cleared, the other bits stay.
        ctx.set(dut.link_errors, 1)
        await ctx.tick().repeat(6)
        ctx.set(dut.link_errors, 0)
        await request(address, 0b101)
        assert await request(address) == 0b010
        (counter,) = dut.counters.values()
        ctx.set(counter, MASK - 1)
        ctx.set(dut.link_errors, 1)
        await ctx.tick().repeat(3)
        assert await request(address) == MASK

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(3))
def test_a_reset_at_any_time_clears_what_the_host_wrote(seed: int) -> None:
    draw = random.Random(seed)
    dut = RegisterBank(PRESETS["tiny"], DIGEST)
    reset = Signal()
    ours = [address for address, (register, _) in WORDS.items() if register.access == "rw"]

    async def bench(ctx: Any) -> None:
        request = Host(ctx, dut)
        for _ in range(20):
            for address in ours:
                await request(address, draw.getrandbits(32))
            ctx.set(dut.bus.valid, 1)
            ctx.set(dut.bus.write, draw.random() < 0.5)
            ctx.set(dut.bus.address, any_address(draw, dut.image))
            await ctx.tick().repeat(draw.randrange(1, 5))
            ctx.set(dut.bus.valid, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            for address in ours:
                assert await request(address) == 0

    simulate(ResetInserter(reset)(dut), bench)

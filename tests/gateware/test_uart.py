"""The UART bit by bit: every rate, rates that do not quite agree, noise, breaks."""

import random
from typing import Any

import pytest
from amaranth.hdl import Module

from pbitstream.spec.frames import BAUDS
from pbitstream_gateware.uart import PHASE_BITS, UartReceiver, UartTransmitter, rate_of
from simulation import simulate


class Listener:
    """Collects what a receiver gives."""

    def __init__(self, dut: UartReceiver) -> None:
        self.dut, self.data, self.broken = dut, bytearray(), 0

    async def listen(self, ctx: Any) -> None:
        dut = self.dut
        async for _, _, valid, data, broken in ctx.tick().sample(dut.valid, dut.data, dut.broken):
            if valid and broken:
                self.broken += 1
            elif valid:
                self.data.append(data)


async def send(ctx: Any, dut: UartReceiver, data: bytes, cycles: float, *, stop: int = 1) -> None:
    """Put bytes on the line, each bit as long as the time says, back to back."""
    due = done = 0.0
    for byte in data:
        for bit in (0, *(byte >> n & 1 for n in range(8)), stop):
            ctx.set(dut.rx, bit)
            due += cycles
            while done < due:
                await ctx.tick()
                done += 1


@pytest.mark.parametrize("clock", [6_000_000, 25_000_000, 80_000_000])
def test_rates_are_those_asked_for(clock: int) -> None:
    for baud in BAUDS:
        got = rate_of(baud, clock) * clock / (1 << PHASE_BITS)
        assert abs(got / baud - 1) < 0.001


@pytest.mark.parametrize(("baud", "clock"), [
    (3_000_000, 6_000_000), (3_000_000, 80_000_000), (2_000_000, 25_000_000),
    (115_200, 6_000_000)])
def test_what_is_transmitted_is_received(baud: int, clock: int) -> None:
    m = Module()
    m.submodules.tx, m.submodules.rx = tx, rx = UartTransmitter(), UartReceiver()
    rate = rate_of(baud, clock)
    m.d.comb += [rx.rx.eq(tx.tx), tx.rate.eq(rate), rx.rate.eq(rate)]
    listener = Listener(rx)
    data = random.Random(baud).randbytes(40)
    cycles = 0

    async def bench(ctx: Any) -> None:
        nonlocal cycles
        ctx.set(tx.i.valid, 1)
        for byte in data:
            ctx.set(tx.i.data, byte)
            while not ctx.get(tx.i.ready):
                await ctx.tick()
                cycles += 1
            await ctx.tick()
            cycles += 1
        ctx.set(tx.i.valid, 0)
        while not ctx.get(tx.idle):
            await ctx.tick()
            cycles += 1
        await ctx.tick().repeat(4)

    simulate(m, bench, background=(listener.listen,))
    assert bytes(listener.data) == data
    assert listener.broken == 0
    # Back to back, with no cycle in between.
    assert abs(cycles - len(data) * 10 * clock / baud) < 4


@pytest.mark.parametrize("off", [-0.03, -0.015, 0.015, 0.03])
def test_clocks_that_do_not_agree(off: float) -> None:
    rx = UartReceiver()
    listener = Listener(rx)
    cycles, data = 80 / 3, random.Random(1).randbytes(60)

    async def bench(ctx: Any) -> None:
        ctx.set(rx.rate, rate_of(3_000_000, 80_000_000))
        await ctx.tick().repeat(5)
        await send(ctx, rx, data, cycles * (1 + off))
        await ctx.tick().repeat(60)

    simulate(rx, bench, background=(listener.listen,))
    assert bytes(listener.data) == data


def test_noise_breaks_and_the_byte_behind_them() -> None:
    rx = UartReceiver()
    listener = Listener(rx)
    draw = random.Random(2)
    cycles = 8

    async def bench(ctx: Any) -> None:
        ctx.set(rx.rate, 1 << PHASE_BITS - 3)
        for number in range(40):
            kind = number % 4
            if kind == 0:
                for _ in range(draw.randrange(200)):
                    ctx.set(rx.rx, draw.randrange(2))
                    await ctx.tick()
            elif kind == 1:
                ctx.set(rx.rx, 0)
                await ctx.tick().repeat(draw.randrange(100, 400))
            elif kind == 2:
                await send(ctx, rx, draw.randbytes(1), cycles, stop=0)
            else:
                # Shorter than half a bit: no start bit.
                ctx.set(rx.rx, 0)
                await ctx.tick().repeat(3)
            ctx.set(rx.rx, 1)
            await ctx.tick().repeat(10 * cycles)
            seen = len(listener.data)
            await send(ctx, rx, bytes([number]), cycles)
            await ctx.tick().repeat(10)
            assert listener.data[seen:] == bytes([number]), (number, kind)

    simulate(rx, bench, background=(listener.listen,))
    # A break, and a byte without a stop bit, are told.
    assert listener.broken >= 20


def test_a_rate_may_change_between_bytes() -> None:
    rx = UartReceiver()
    listener = Listener(rx)

    async def bench(ctx: Any) -> None:
        for number, bits in enumerate((4, 2, 6, 1, 3)):
            ctx.set(rx.rate, 1 << PHASE_BITS - bits)
            await ctx.tick().repeat(3)
            await send(ctx, rx, bytes([number, 255 - number]), 1 << bits)
            await ctx.tick().repeat(1 << bits + 1)

    simulate(rx, bench, background=(listener.listen,))
    assert list(listener.data) == [b for n in range(5) for b in (n, 255 - n)]

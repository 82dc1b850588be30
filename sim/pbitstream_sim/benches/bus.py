"""The host bus as cocotb drives it, and the bridge that lets the ordinary driver use it."""

from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, FallingEdge, First, RisingEdge, Timer

from pbitstream.errors import DeviceError
from pbitstream.spec.registers import RESPONSE_CYCLES
from pbitstream_sim.device import POLL_CYCLES

__all__ = ["BusDriver", "BusTransport", "bridge"]

#: Nanoseconds; the simulation has no delays, so any will do.
PERIOD = 10


class BusDriver:
    """Requests on the ports ``bus__*`` of a top with the ports ``clk``, ``rst`` and ``busy``.

    Inputs change just after a rising edge, outputs are looked at at the falling edge, when they
    have settled: so the driver works alike in every simulator.

    Attributes
    ----------
    slowest
        Most cycles that a request has taken so far.
    requests
        How many there were.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.slowest = 0
        self.requests = 0

    async def start(self) -> None:
        """Start the clock and reset the design."""
        dut = self.dut
        dut.rst.value = 1
        dut.bus__valid.value = 0
        Clock(dut.clk, PERIOD, "ns").start()
        await ClockCycles(dut.clk, 2)
        dut.rst.value = 0
        await RisingEdge(dut.clk)

    async def read(self, address: int, count: int = 1) -> list[int]:
        """Return words from a word address on."""
        return [await self._request(address + n, None) for n in range(count)]

    async def write(self, address: int, *words: int) -> None:
        """Write words from a word address on."""
        for n, word in enumerate(words):
            await self._request(address + n, word)

    async def pass_cycles(self, cycles: int) -> None:
        """Let cycles pass, fewer if the design becomes idle."""
        await First(FallingEdge(self.dut.busy), Timer(cycles * PERIOD, "ns"))
        await RisingEdge(self.dut.clk)

    async def _request(self, address: int, word: int | None) -> int:
        dut = self.dut
        dut.bus__valid.value = 1
        dut.bus__write.value = word is not None
        dut.bus__address.value = address
        dut.bus__data.value = word or 0
        middle = FallingEdge(dut.clk)
        self.requests += 1
        for cycle in range(1, RESPONSE_CYCLES + 1):
            await middle
            if dut.bus__ack.value:
                answer = 0 if word is not None else int(dut.bus__read.value)
                await RisingEdge(dut.clk)
                dut.bus__valid.value = 0
                self.slowest = max(self.slowest, cycle)
                return answer
        dut.bus__valid.value = 0
        what = "read" if word is None else "write"
        raise DeviceError(f"sent a {what} of byte address {4 * address:#x}; no answer came within "
                          f"{RESPONSE_CYCLES} cycles")


class BusTransport:
    """A `Transport` over a `BusDriver`, for code that runs in a function made by `bridge`.

    In a test: ``await bridge(use)()``, where `use` is a plain function that opens
    ``Board(BusTransport(bus))``.
    """

    def __init__(self, bus: BusDriver) -> None:
        self.bus = bus

    def read(self, address: int, count: int) -> bytes:
        """Return bytes; a busy design gets some cycles first."""
        return resume(self._read)(address, count)

    def write(self, address: int, data: bytes) -> None:
        """Store bytes."""
        resume(self.bus.write)(address // 4, *np.frombuffer(data, "<u4").tolist())

    def close(self) -> None:
        """Let go of it; the simulation goes on."""

    async def _read(self, address: int, count: int) -> bytes:
        if self.bus.dut.busy.value:
            await self.bus.pass_cycles(POLL_CYCLES)
        words = await self.bus.read(address // 4, count // 4)
        return np.array(words, "<u4").tobytes()

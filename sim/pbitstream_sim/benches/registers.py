"""Bench: the register bank answers, everywhere and in time, and tells what image it is."""

from typing import Any

import cocotb

from pbitstream.spec import spec_register
from pbitstream.spec.registers import (
    BOARD_BYTES,
    MAGIC,
    OTHER_PAGE,
    REGISTERS,
    RESPONSE_CYCLES,
    UNMAPPED,
    WINDOWS,
    Register,
)
from pbitstream_gateware.presets import PRESETS
from pbitstream_sim.benches.bus import BusDriver
from pbitstream_sim.benches.task import Task

_REGISTERS = {register.name: register for register in REGISTERS}


async def started(dut: Any) -> BusDriver:
    """Return a driver of a design that has been reset."""
    bus = BusDriver(dut)
    await bus.start()
    return bus


async def get(bus: BusDriver, register: Register) -> int:
    """Return a register of any number of words."""
    words = await bus.read(register.address // 4, register.words)
    return sum(word << 32 * n for n, word in enumerate(words))


@cocotb.test()
async def identity(dut: Any) -> None:
    """Compare magic word, digest of the spec and parameters of the image."""
    bus, image = await started(dut), PRESETS[Task.load().image]
    expected = {"magic": MAGIC, "spec_digest": spec_register(), "kinds": image.kinds_code}
    for name in ("lanes", "max_units", "max_rank_words", "max_modules", "max_instructions",
                 "max_gains"):
        expected[name] = getattr(image, name)
    for name, value in expected.items():
        found = await get(bus, _REGISTERS[name])
        assert found == value, f"{name} is {found:#x}, expected {value:#x}"


@cocotb.test()
async def writing(dut: Any) -> None:
    """Expect registers to hold what may be written, and nothing else to change."""
    bus = await started(dut)
    kept = {r.name: await get(bus, r) for r in REGISTERS if r.access == "r"}
    for register in REGISTERS:
        if register.access == "rw":
            for value in (5, 0, 2):
                await bus.write(register.address // 4, *[value] * register.words)
                words = await bus.read(register.address // 4, register.words)
                assert words == [value] * register.words, f"{register.name} holds {words}"
        elif register.access == "r":
            await bus.write(register.address // 4, *[0xFFFFFFFF] * register.words)
    for name, value in kept.items():
        found = await get(bus, _REGISTERS[name])
        assert found == value, f"{name} is {found:#x} after a write, {value:#x} before"
    for register in REGISTERS:
        if register.access == "w":
            assert await bus.read(register.address // 4) == [0], f"{register.name} is not 0"


@cocotb.test()
async def unmapped(dut: Any) -> None:
    """Expect UNMAPPED where there is neither register nor memory, and silence at writes there."""
    bus, image = await started(dut), PRESETS[Task.load().image]
    mapped = {r.address // 4 + n for r in REGISTERS for n in range(r.words)}
    empty = [n for n in range(WINDOWS[0].address // 4) if n not in mapped]
    words = image.window_words()
    for window in WINDOWS:
        end = window.address + 4 * words[window.name]
        if end < window.address + window.size:
            empty += [end // 4, (window.address + window.size) // 4 - 1]
    for address in empty:
        await bus.write(address, 0x12345678)
        found, = await bus.read(address)
        assert found == UNMAPPED, f"byte address {4 * address:#x} reads {found:#x}"


@cocotb.test()
async def windows(dut: Any) -> None:
    """Expect the first and last words of every window, and page, to hold what is written."""
    bus, image = await started(dut), PRESETS[Task.load().image]
    words = image.window_words()
    # Sums may be for reading only.
    places = [(window.address, window.name) for window in WINDOWS
              if window.access != "readout" or window.name == "states"]
    places += [(first + OTHER_PAGE, name) for first, name in places if name == "states"]
    addresses = [first // 4 + n for first, name in places
                 for n in (0, 1, words[name] - 2, words[name] - 1)]
    held = {address: n % 7 for n, address in enumerate(addresses)}
    for address, value in held.items():
        await bus.write(address, value)
    for address, value in held.items():
        found, = await bus.read(address)
        assert found == value, f"byte address {4 * address:#x} is {found}, {value} was written"


@cocotb.test()
async def in_time(dut: Any) -> None:
    """Expect an answer within RESPONSE_CYCLES, at any distance from the last request."""
    bus = await started(dut)
    addresses = [r.address // 4 for r in REGISTERS] + [w.address // 4 for w in WINDOWS]
    addresses += [BOARD_BYTES // 4 - 1, WINDOWS[0].address // 4 - 1]
    for gap in range(3):
        for address in addresses:
            await bus.read(address)
            await bus.pass_cycles(gap + 1)
            if not any(address == r.address // 4 and r.access == "w" for r in REGISTERS):
                await bus.write(address, 1)
    Task.load().remark(f"slowest of {bus.requests:,} answers: {bus.slowest} cycles, "
                       f"{RESPONSE_CYCLES} allowed")

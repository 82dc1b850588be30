"""A board's address map by name: registers, windows, and waiting until it is idle."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.board.transport import Transport
from pbitstream.errors import DeviceError, DeviceTimeoutError
from pbitstream.spec.registers import CONTROL, OTHER_PAGE, REGISTERS, STATUS, WINDOWS

__all__ = ["Link"]

_REGISTERS = {register.name: register for register in REGISTERS}
_WINDOWS = {window.name: window for window in WINDOWS}

#: How long a board that is not idle may leave its cycle counter as it is.
SECONDS = 30.0
#: The next look at a busy board comes late by this share of the time waited so far.
PATIENCE = 0.01


class Link:
    """Named access to a board over a `Transport`."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def get(self, name: str) -> int:
        """Return a register as one little-endian integer."""
        return int.from_bytes(self._read(name), "little")

    def words(self, name: str) -> list[int]:
        """Return the words of a register."""
        return [int(word) for word in np.frombuffer(self._read(name), "<u4")]

    def set(self, name: str, value: int) -> None:
        """Write a register."""
        register = _REGISTERS[name]
        self.transport.write(register.address, value.to_bytes(4 * register.words, "little"))

    def control(self, name: str) -> None:
        """Give one of the pulses of `CONTROL`."""
        self.set("control", 1 << CONTROL.index(name))

    def status(self) -> list[str]:
        """Return the names of the bits of `STATUS` that are set."""
        value = self.get("status")
        return [name for bit, name in enumerate(STATUS) if value >> bit & 1]

    def read_window(self, name: str, dtype: str, count: int, *, other: bool) -> NDArray[Any]:
        """Return the first entries of a readout window or of its `other` page, little-endian."""
        address = _WINDOWS[name].address + other * OTHER_PAGE
        return np.frombuffer(self._bytes(name, address, np.dtype(dtype).itemsize * count), dtype)

    def write_other(self, name: str, values: NDArray[Any]) -> None:
        """Write the first entries of a readout window's other page, of a little-endian type."""
        self.transport.write(_WINDOWS[name].address + OTHER_PAGE, values.tobytes())

    def settle(self, sent: str, cycles: int = 0) -> None:
        """Wait until the board is idle and no table switch is pending.

        Parameters
        ----------
        sent
            What it was asked to do, for the message.
        cycles
            How many cycles of its clock a relaxation may take; 0 if none was asked for.

        Raises
        ------
        DeviceError
            If it refused.
        DeviceTimeoutError
            If its cycle counter passed `cycles`, or stood still for `SECONDS`.
        """
        began = moved = time.monotonic()
        before = -1
        while (status := self.status()) and status != ["refused"]:
            now, counted = time.monotonic(), self.get("cycles")
            # The words of the counter are not read at once: look again before believing it.
            if cycles and counted > cycles and self.get("cycles") > cycles:
                raise DeviceTimeoutError(f"sent {sent}; the board is {', '.join(status)} after "
                                         f"{counted} of its cycles, more than the {cycles} that "
                                         "it may take; reset() it")
            if counted != before:
                moved, before = now, counted
            elif now - moved > SECONDS:
                raise DeviceTimeoutError(f"sent {sent}; the board is {', '.join(status)} and has "
                                         f"stood still for {SECONDS:g} s; reset() it")
            time.sleep((now - began) * PATIENCE)
        if status:
            raise DeviceError(f"sent {sent}; the board refused it: what arrived is not what was "
                              "sent, or it was busy; load the program again")

    def _read(self, name: str) -> bytes:
        register = _REGISTERS[name]
        return self._bytes(name, register.address, 4 * register.words)

    def _bytes(self, name: str, address: int, count: int) -> bytes:
        data = self.transport.read(address, count)
        if len(data) != count:
            raise DeviceError(f"sent a read of {count} bytes of {name} at {address:#x}; "
                              f"{len(data)} bytes came back")
        return data

"""The narrow waist between the driver and a board: bytes at addresses."""

from typing import Protocol

__all__ = ["Transport"]


class Transport(Protocol):
    """Reads and writes the address map of a board (`pbitstream.spec.registers`).

    Addresses and counts are in bytes and multiples of 4, words are little-endian. A request of any
    length is served in the order of its addresses, and has been when the call returns. A link that
    fails raises `DeviceError`, which says what was sent and what came back; every request may be
    made again.
    """

    def read(self, address: int, count: int) -> bytes:
        """Return `count` bytes from an address on."""

    def write(self, address: int, data: bytes) -> None:
        """Store bytes from an address on."""

    def close(self) -> None:
        """Let go of the link; nothing else is called after this."""

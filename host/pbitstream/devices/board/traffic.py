"""What went over a link: bytes and requests, counted where the driver hands them over."""

from dataclasses import dataclass

from pbitstream.devices.board.transport import Transport

__all__ = ["CountedTransport", "Traffic"]


@dataclass(frozen=True)
class Traffic:
    """Payload of registers and windows, without what a line adds: frames, CRCs, repetitions."""

    bytes_read: int = 0
    bytes_written: int = 0
    read_requests: int = 0
    write_requests: int = 0

    def since(self, before: "Traffic") -> "Traffic":
        """Return what came on top of an earlier count."""
        return Traffic(*(now - then for now, then in
                         zip(vars(self).values(), vars(before).values())))


class CountedTransport:
    """A `Transport` that passes everything on and counts what was served.

    Attributes
    ----------
    inner
        The link itself.
    """

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self._read = self._written = self._reads = self._writes = 0

    @property
    def traffic(self) -> Traffic:
        """Everything so far."""
        return Traffic(self._read, self._written, self._reads, self._writes)

    def read(self, address: int, count: int) -> bytes:
        """Return `count` bytes from an address on."""
        data = self.inner.read(address, count)
        self._read += len(data)
        self._reads += 1
        return data

    def write(self, address: int, data: bytes) -> None:
        """Store bytes from an address on."""
        self.inner.write(address, data)
        self._written += len(data)
        self._writes += 1

    def close(self) -> None:
        """Let go of the link."""
        self.inner.close()

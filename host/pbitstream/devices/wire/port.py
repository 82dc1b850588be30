"""The line below the transport: bytes that may be lost, and a clock."""

from typing import Protocol

from pbitstream.errors import DeviceError

__all__ = ["Port", "PortLostError"]


class PortLostError(DeviceError):
    """The line is gone, as when a plug is pulled; `Port.reopen` takes it up again."""


class Port(Protocol):
    """A serial line, or what stands for one. Anything may happen to the bytes on it.

    All but `now` and `close` raise `PortLostError` when the line is gone.
    """

    def read(self, seconds: float) -> bytes:
        """Return what has come; if nothing has, wait up to so long for something."""

    def write(self, data: bytes) -> None:
        """Send bytes, or hand them to something that does."""

    def set_baud(self, baud: int) -> None:
        """Change the rate of the line, when everything written has left; a line may have none."""

    def now(self) -> float:
        """Return seconds on the clock of this line, which never runs back."""

    def reopen(self, seconds: float) -> None:
        """Take the line up again, for so long at most, with nothing on it."""

    def close(self) -> None:
        """Let go of the line; nothing else is called after this."""

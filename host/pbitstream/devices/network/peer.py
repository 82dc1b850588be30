"""One connection of a server: what has come, what has not gone yet, and until when it may take."""

import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

__all__ = ["INBOX_BYTES", "MESSAGE_SECONDS", "Peer", "shown"]

#: Bytes kept of what has come: any message fits, and some more to work on.
INBOX_BYTES = 1 << 16
#: Seconds for a message that has begun to come whole, and for an answer to be taken.
MESSAGE_SECONDS = 10.0
#: Seconds of silence after which a connection is looked at, and between looks; then the count.
KEEPALIVE = 30, 10, 3


@dataclass(eq=False)
class Peer:
    """A connection; a server never waits for it.

    Attributes
    ----------
    name
        Where it comes from.
    challenge
        What its proof must answer.
    deadline
        When it is too slow; None while nothing is expected of it.
    number
        Of its next request.
    failure
        What every request is answered with, until one stops the board.
    """

    line: socket.socket
    name: str
    deadline: float | None
    challenge: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    inbox: bytearray = field(default_factory=bytearray, repr=False)
    outbox: bytearray = field(default_factory=bytearray, repr=False)
    admitted: bool = False
    number: int = 1
    failure: tuple[int, str] | None = None
    began: float = field(default_factory=time.monotonic)
    requests: int = 0
    moved: int = 0

    def __post_init__(self) -> None:
        self.line.setblocking(False)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A client whose computer is gone says nothing; the system finds out.
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), KEEPALIVE):
            if hasattr(socket, name):
                self.line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def receive(self) -> bool:
        """Take what has come, as far as there is room; returns whether the line is still open."""
        room = INBOX_BYTES - len(self.inbox)
        if not room:
            return True
        try:
            data = self.line.recv(room)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        self.inbox += data
        return bool(data)

    def send(self, data: bytes = b"") -> bool:
        """Send what waits and this; what the line does not take waits on."""
        self.outbox += data
        try:
            if self.outbox:
                del self.outbox[: self.line.send(self.outbox)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            return False
        return True

    def expect(self, now: float, *, anew: bool) -> None:
        """Set the deadline if something has begun and is not whole; `anew` begins to count."""
        if not self.inbox and not self.outbox:
            self.deadline = None
        elif self.deadline is None or anew:
            self.deadline = now + MESSAGE_SECONDS

    def close(self) -> None:
        """Let go of the line."""
        with suppress(OSError):
            self.line.close()


def shown(address: tuple[str, int]) -> str:
    """Return an address as it stands in a URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

"""The transport over a network: a server passes requests on to the board that it has.

Requests are sent without waiting for the answers of the writes before them, so a network's round
trips are paid for by reads alone.
"""

import json
import socket
import struct
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pbitstream.devices.network.messages import (
    DONE,
    LATE,
    MAX_COUNT,
    READ,
    WRITE,
    Answer,
    Introduction,
    MalformedError,
    Request,
    proof,
    take_answer,
    take_introduction,
)
from pbitstream.devices.network.peer import shown
from pbitstream.devices.network.tokens import VARIABLE
from pbitstream.errors import DeviceError, DeviceTimeoutError, SpecError
from pbitstream.spec import spec_digest
from pbitstream.spec.registers import BOARD_BYTES

__all__ = ["NetworkTransport"]

#: Seconds for a connection, and for what comes next from the server.
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 10.0
#: Bytes and requests that may be under way without an answer: bytes so that a board that is slow
#: never has seconds of work before it that nobody wants any more.
WINDOW_BYTES, WINDOW = 1 << 16, 64
RECEIVE_BYTES = 1 << 16
#: A connection closed so takes what is under way with it, and the server notices at once.
ABORT = struct.pack("ii", 1, 0)


class NetworkTransport:
    """Reads and writes of a board's address map over TCP; implements `Transport`.

    A write returns when it has been sent; one that fails is reported by itself, or by the next
    read, or by `close`. A write that stops or resets the board returns when it has been executed.

    A connection that is lost is not taken up again: one `DeviceError` says why, and every request
    is refused with the same reason, until one that stops or resets the board, which connects anew.

    Parameters
    ----------
    host, port
        Of a `pbitstream serve`.
    token
        What it asks for, or None.

    Raises
    ------
    DeviceError
        If no server is there, it does not know the token, or its board is in use.
    """

    def __init__(self, host: str, port: int, *, token: bytes | None = None) -> None:
        self.name = f"tcp:{shown((host, port))}"
        self._address, self._token = (host, port), token
        self._line: socket.socket | None = None
        self._inbox, self._read = bytearray(), bytearray()
        self._flight: deque[Request] = deque()
        self._number = 1
        self._failure: DeviceError | None = None
        self._lost: str | None = None
        #: What the server says of its board: device, kind, image.
        self.about: dict[str, Any] = {}
        self._connect()

    def read(self, address: int, count: int) -> bytes:
        """Return `count` bytes from an address on."""
        self._check(address, count)
        with self._exchange(f"a read of {count} bytes at {address:#x}"):
            for at in range(0, count, MAX_COUNT):
                self._put(READ, address + at, min(MAX_COUNT, count - at))
            self._collect()
        data, self._read = bytes(self._read), bytearray()
        self._report()
        return data

    def write(self, address: int, data: bytes) -> None:
        """Store bytes from an address on."""
        self._check(address, len(data))
        stops = Request(0, WRITE, address, len(data), bytes(data)).stops
        if stops and self._lost is not None:
            self._connect()
        with self._exchange(f"a write of {len(data)} bytes at {address:#x}"):
            for at in range(0, len(data), MAX_COUNT):
                part = bytes(data[at : at + MAX_COUNT])
                self._put(WRITE, address + at, len(part), part)
            if stops:
                self._collect()
        self._report()

    def close(self) -> None:
        """Wait for what is under way and let go of the connection."""
        try:
            if self._lost is None:
                with self._exchange("what is under way"):
                    self._collect()
                self._report()
        finally:
            self._let_go()

    # Requests.

    def _check(self, address: int, count: int) -> None:
        if address % 4 or count % 4 or not 0 <= address <= address + count <= BOARD_BYTES:
            raise SpecError(f"address and count must be multiples of 4 within {BOARD_BYTES:#x} "
                            f"bytes, not {address:#x} and {count}")

    @contextmanager
    def _exchange(self, sent: str) -> Iterator[None]:
        """Talk to the server; if anything comes in between, nobody knows where the talk stands."""
        if self._lost is not None:
            raise DeviceError(f"{self._lost}; reset() the device, or open it again")
        self._lost = f"{self.name}: {sent} was interrupted"
        try:
            yield
        except TimeoutError as error:
            self._lost = (f"sent {sent} to {self.name}; nothing came back within "
                          f"{ANSWER_SECONDS:g} s")
            raise DeviceTimeoutError(self._lost) from error
        except OSError as error:
            self._lost = f"sent {sent} to {self.name}; {_reason(error)}"
            raise DeviceError(self._lost) from error
        else:
            self._lost = None
        finally:
            if self._lost is not None:
                self._abort()

    def _put(self, operation: int, address: int, count: int, data: bytes = b"") -> None:
        """Send a request, when those under way leave room for it."""
        while self._flight and (
            len(self._flight) >= WINDOW
            or sum(len(r.data) for r in self._flight) + len(data) > WINDOW_BYTES
        ):
            self._take()
        request = Request(self._number, operation, address, count, data)
        self._number = self._number + 1 & 0xFFFFFFFF
        self._flight.append(request)
        self._socket().sendall(request.pack())

    def _collect(self) -> None:
        """Wait for all answers."""
        while self._flight:
            self._take()

    def _take(self) -> None:
        """Wait for the answer to the first request under way; keep what it brings."""
        request = self._flight.popleft()
        wanted = request.count if request.operation == READ else 0
        answer = self._answer(request.number, wanted, time.monotonic() + ANSWER_SECONDS)
        if request.stops:
            # What failed before it is of no interest any more.
            self._failure = None
        if answer.status == DONE:
            self._read += answer.payload
        else:
            kind = DeviceTimeoutError if answer.status == LATE else DeviceError
            self._failure = self._failure or kind(f"{self.name}: {answer.text}")

    def _report(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _answer(self, number: int, wanted: int | None, end: float) -> Answer:
        while (answer := take_answer(self._inbox, number, wanted)) is None:
            self._receive(end)
        return answer

    def _receive(self, end: float) -> None:
        """Take something from the server; TimeoutError at the end."""
        line = self._socket()
        line.settimeout(max(1e-3, end - time.monotonic()))
        data = line.recv(RECEIVE_BYTES)
        line.settimeout(ANSWER_SECONDS)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._inbox += data

    # The connection.

    def _socket(self) -> socket.socket:
        assert self._line is not None, "inside an exchange there is a connection"
        return self._line

    def _connect(self) -> None:
        """Connect and show who we are."""
        self._let_go()
        self._inbox, self._read = bytearray(), bytearray()
        self._flight.clear()
        self._number, self._failure, self._lost = 1, None, None
        with self._exchange("an introduction"):
            try:
                self._line = socket.create_connection(self._address, CONNECT_SECONDS)
            except (OSError, UnicodeError) as error:
                raise ConnectionError(f"no server can be reached: {_reason(error)}; start "
                                      "pbitstream serve there") from error
            self._line.settimeout(ANSWER_SECONDS)
            self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end = time.monotonic() + ANSWER_SECONDS
            while (theirs := take_introduction(self._inbox)) is None:
                self._receive(end)
            self._line.sendall(self._introduction(theirs).pack())
            welcome = self._answer(0, None, end)
            if welcome.status != DONE:
                raise ConnectionError(welcome.text)
            about = _about(welcome.payload)
            if self.about not in ({}, about):
                raise ConnectionError("another board answers there; open the device again")
            self.about = about

    def _introduction(self, theirs: Introduction) -> Introduction:
        """Return our answer to a server's introduction."""
        if theirs.digest.hex() != spec_digest():
            raise ConnectionError(
                f"its spec is {theirs.digest.hex()[:16]}, this is spec {spec_digest()[:16]}; "
                "install the same pbitstream on both sides")
        if theirs.token and self._token is None:
            raise ConnectionError(f"it asks for a token; set {VARIABLE}, or write "
                                  "?token-file=FILE behind the device")
        answer = bytes(32) if self._token is None else proof(self._token, theirs.challenge)
        return Introduction(theirs.digest, answer, theirs.token)

    def _abort(self) -> None:
        """Let go of the connection, and of all that is under way."""
        if self._line is not None:
            with suppress(OSError):
                self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self._let_go()

    def _let_go(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            with suppress(OSError):
                line.close()


def _about(payload: bytes) -> dict[str, Any]:
    """Return what a server says of its board."""
    try:
        about = json.loads(payload)
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict) or not {"device", "kind"} <= about.keys():
        raise MalformedError("what came back is no description of a board")
    return about


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__

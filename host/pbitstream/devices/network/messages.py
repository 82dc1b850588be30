"""What server and client say to each other over TCP, and the limits on all of it.

Everything is little-endian and begins with a magic and the version of the protocol. The server
speaks first: its introduction holds the spec digest and a challenge. So does the client's, with the
proof that it knows the token, HMAC-SHA256(token, purpose + challenge), in the challenge's place;
the token itself is never sent. Answer 0 then says whether the device is there, and what it is.

Requests are numbered from 1, executed in their order, and answered one by one; nobody has to wait
for an answer before the next request. After a request that failed all others fail too, with the
same words, until one that stops or resets the board: whoever stops a board knows that nothing can
be relied on.
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from pbitstream.errors import DeviceError
from pbitstream.spec import spec_digest
from pbitstream.spec.registers import CONTROL, REGISTERS

__all__ = [
    "DONE",
    "FAILED",
    "LATE",
    "MAX_COUNT",
    "READ",
    "WRITE",
    "Answer",
    "Introduction",
    "MalformedError",
    "Request",
    "proof",
    "take_answer",
    "take_introduction",
    "take_request",
]

MAGIC, VERSION = b"pbitsrv", 1
#: Bytes that a request may read or write: a slow line takes a second or two for them.
MAX_COUNT = 1 << 14
#: Bytes of a text about a failure.
MAX_TEXT = 1000
SHORT_MAGIC = MAGIC[:2]
PURPOSE = b"pbitstream serve, version 1: "

READ, WRITE = 1, 2
_NAMES = {READ: "read", WRITE: "write"}


#: How a request ended: done, failed, or failed because the device did not answer in time.
DONE, FAILED, LATE = 0, 1, 2

#: Magic, version, whether a token is asked for, spec digest, and a challenge or its proof.
_INTRODUCTION = Struct("<7sBI32s32s")
#: Magic, version, operation, number, address, count; then the data of a write.
_REQUEST = Struct("<2sBBIII")
#: Magic, version, status, number, count of the payload; then the payload.
_ANSWER = Struct("<2sBBII")
_CONTROL = next(r.address for r in REGISTERS if r.name == "control")
_STOPS = 1 << CONTROL.index("stop") | 1 << CONTROL.index("reset")


class MalformedError(DeviceError):
    """What came is not what the protocol allows; nothing after it can be understood."""


@dataclass(frozen=True)
class Introduction:
    """The first message of either side."""

    digest: bytes
    challenge: bytes
    token: bool = False

    def pack(self) -> bytes:
        """Return it as bytes."""
        return _INTRODUCTION.pack(MAGIC, VERSION, self.token, self.digest, self.challenge)


@dataclass(frozen=True)
class Request:
    """A read or a write of `count` bytes at an address."""

    number: int
    operation: int
    address: int
    count: int
    data: bytes = b""

    def pack(self) -> bytes:
        """Return it as bytes."""
        head = _REQUEST.pack(SHORT_MAGIC, VERSION, self.operation, self.number, self.address,
                             self.count)
        return head + self.data

    @property
    def stops(self) -> bool:
        """Whether it stops or resets the board."""
        return (self.operation == WRITE and self.address == _CONTROL
                and bool(int.from_bytes(self.data[:4], "little") & _STOPS))

    def __str__(self) -> str:
        """Return what it asks for."""
        return f"a {_NAMES[self.operation]} of {self.count} bytes at {self.address:#x}"


@dataclass(frozen=True)
class Answer:
    """How the request of this number ended, with what was read or a text about the failure."""

    number: int
    status: int
    payload: bytes = b""

    @classmethod
    def of_failure(cls, number: int, text: str, status: int = FAILED) -> "Answer":
        """Return an answer that says what failed."""
        return cls(number, status, text.encode()[:MAX_TEXT])

    @property
    def text(self) -> str:
        """The payload as text, without what could steer a terminal."""
        text = self.payload[:MAX_TEXT].decode(errors="replace")
        return "".join(c if c.isprintable() else "?" for c in text)

    def pack(self) -> bytes:
        """Return it as bytes."""
        return _ANSWER.pack(SHORT_MAGIC, VERSION, self.status, self.number,
                            len(self.payload)) + self.payload


def proof(token: bytes, challenge: bytes) -> bytes:
    """Return what only somebody who knows the token can answer to a challenge."""
    digest = bytes.fromhex(spec_digest())
    return hmac.new(token, PURPOSE + digest + challenge, hashlib.sha256).digest()


def take_introduction(inbox: bytearray) -> Introduction | None:
    """Remove an introduction from the front of what has come; None if it is not whole yet."""
    if not MAGIC.startswith(inbox[: len(MAGIC)]):
        raise MalformedError("what came is no introduction")
    if len(inbox) > len(MAGIC) and inbox[len(MAGIC)] != VERSION:
        raise MalformedError(f"version {inbox[len(MAGIC)]} of the protocol came, this is version "
                             f"{VERSION}; install the same pbitstream on both sides")
    if len(inbox) < _INTRODUCTION.size:
        return None
    _, _, token, digest, challenge = _INTRODUCTION.unpack_from(inbox)
    if token > 1:
        raise MalformedError("what came is no introduction")
    del inbox[: _INTRODUCTION.size]
    return Introduction(digest, challenge, bool(token))


def take_request(inbox: bytearray, number: int) -> Request | None:
    """Remove request `number` from the front of what has come; None if it is not whole yet.

    Raises
    ------
    MalformedError
        As soon as its head is there and breaks a rule, whatever it announces to follow.
    """
    head = _head(inbox, _REQUEST)
    if head is None:
        return None
    operation, found, address, count = head
    _check("operation", operation, lambda value: value in _NAMES)
    _check("number", found, lambda value: value == number)
    _check("count", count, lambda value: 0 < value <= MAX_COUNT and value % 4 == 0)
    _check("address", address, lambda value: value % 4 == 0)
    end = _REQUEST.size + (count if operation == WRITE else 0)
    if len(inbox) < end:
        return None
    data = bytes(inbox[_REQUEST.size : end])
    del inbox[:end]
    return Request(number, operation, address, count, data)


def take_answer(inbox: bytearray, number: int, wanted: int | None = None) -> Answer | None:
    """Remove answer `number` from the front of what has come; None if it is not whole yet.

    `wanted` is the count of bytes that must have been read if the request is done.
    """
    head = _head(inbox, _ANSWER)
    if head is None:
        return None
    status, found, count = head
    _check("status", status, lambda value: value <= LATE)
    _check("number", found, lambda value: value == number)
    right = wanted if wanted is not None and status == DONE else None
    _check("count", count, lambda value: value <= MAX_COUNT if right is None else value == right)
    end = _ANSWER.size + count
    if len(inbox) < end:
        return None
    payload = bytes(inbox[_ANSWER.size : end])
    del inbox[:end]
    return Answer(number, status, payload)


def _head(inbox: bytearray, form: Struct) -> list[int] | None:
    """Return the fields after magic and version, once they are there."""
    if len(inbox) < form.size:
        return None
    magic, version, *fields = form.unpack_from(inbox)
    if (magic, version) != (SHORT_MAGIC, VERSION):
        raise MalformedError(f"{bytes(inbox[:3]).hex()} came where a message begins")
    return list(fields)


def _check(name: str, value: int, rule: Callable[[int], bool]) -> None:
    if not rule(value):
        raise MalformedError(f"a message came whose {name} is {value}")

"""Frames of the serial link to bytes and back; see `pbitstream.spec.frames`."""

import struct
import zlib
from dataclasses import dataclass

from pbitstream.spec.frames import (
    CRC_BYTES,
    DELIMITER,
    HEADER_STRUCT,
    MAX_PAYLOAD,
    OPERATIONS,
)

__all__ = ["Frame", "FrameDecoder", "LONGEST", "cobs_decode", "cobs_encode", "decode", "encode"]

_HEADER = struct.Struct(HEADER_STRUCT)
_CRC = struct.Struct("<I")
_END = bytes([DELIMITER])
#: Bytes of a block of COBS without its code, at most.
BLOCK = 254
_LONGEST_RAW = _HEADER.size + MAX_PAYLOAD + CRC_BYTES
#: Bytes of the longest frame between its delimiters: a code per block, and the first one.
LONGEST = _LONGEST_RAW + _LONGEST_RAW // BLOCK + 1


@dataclass(frozen=True)
class Frame:
    """A frame; `op` is a value of `OPERATIONS`, `count` its bytes of payload or those wanted."""

    seq: int
    op: int
    addr: int
    count: int
    payload: bytes = b""


def cobs_encode(data: bytes) -> bytes:
    """Return data without zeros: each run up to one is preceded by its length and one more."""
    encoded = bytearray()
    full = False
    for run in data.split(b"\0"):
        # A full block stands for no zero behind it.
        while full := len(run) >= BLOCK:
            encoded.append(BLOCK + 1)
            encoded += run[:BLOCK]
            run = run[BLOCK:]
            if not run:
                break
        encoded.append(len(run) + 1)
        encoded += run
    # At the end of the data a full block needs no further one.
    return bytes(encoded[:-1] if full else encoded)


def cobs_decode(block: bytes) -> bytes | None:
    """Return what `cobs_encode` made a block of, or None if it is not one's work."""
    data = bytearray()
    at, length = 0, len(block)
    while at < length:
        code = block[at]
        end = at + code
        if not code or end > length:
            return None
        data += block[at + 1 : end]
        at = end
        if code <= BLOCK and at < length:
            data.append(0)
    return bytes(data)


def encode(frame: Frame) -> bytes:
    """Return a frame as it stands on the wire, with the delimiter at its end."""
    raw = _HEADER.pack(frame.seq, frame.op, frame.addr, frame.count) + frame.payload
    return cobs_encode(raw + _CRC.pack(zlib.crc32(raw))) + _END


def decode(block: bytes) -> Frame | None:
    """Return the frame between two delimiters, or None if it is damaged."""
    if len(block) > LONGEST:
        return None
    raw = cobs_decode(block)
    if raw is None or len(raw) % 4 or len(raw) < _HEADER.size + CRC_BYTES:
        return None
    body = raw[:-CRC_BYTES]
    if zlib.crc32(body) != _CRC.unpack_from(raw, len(body))[0]:
        return None
    seq, op, addr, count = _HEADER.unpack_from(body)
    payload = body[_HEADER.size :]
    wanted = 0 if op == OPERATIONS["read"] else count
    if len(payload) != wanted or wanted > MAX_PAYLOAD:
        return None
    return Frame(seq, op, addr, count, payload)


class FrameDecoder:
    """Finds frames in a stream of bytes, whatever pieces it comes in.

    After any garbage the frame behind the next delimiter is found. Holds at most `LONGEST` bytes.

    Attributes
    ----------
    dropped
        Frames that were damaged; an empty one is none.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._part = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that end in `data`, the next bytes of the stream."""
        frames = []
        *ended, rest = data.split(_END)
        for piece in ended:
            block = bytes(self._part + piece)
            self._part.clear()
            frame = decode(block)
            if frame is not None:
                frames.append(frame)
            elif block:
                self.dropped += 1
        # One byte too many says that the frame is damaged; more need not be kept.
        self._part += rest[: LONGEST + 1 - len(self._part)]
        return frames

"""The two decoders of frames, host and RTL: the same frames out of the same bytes, any bytes.

A CRC of 32 bits takes one random damaged frame in 2^32 for a whole one, so none is expected here.
"""

import ctypes
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pbitstream.devices.wire.codec import Frame, FrameDecoder, encode
from pbitstream.spec.frames import DELIMITER, MAX_PAYLOAD, OPERATIONS
from pbitstream_gateware.frames import FrameReceiver
from pbitstream_sim.verilated import library, to_verilog

SHIM = Path(__file__).parent.parent / "receiver_shim.cpp"
END = bytes([DELIMITER])
#: Frames per round; the RTL's buffer is emptied after each.
ROUND = 500


class Rtl:
    """The RTL receiver, as something that is fed bytes and gives the frames in them."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL(str(library(to_verilog(FrameReceiver()), shim=SHIM)))
        pointer = ctypes.c_void_p
        self.library.receiver_create.restype = pointer
        self.library.receiver_dropped.restype = ctypes.c_uint64
        for name in ("destroy", "feed", "wait", "count", "words", "dropped"):
            function = getattr(self.library, f"receiver_{name}")
            function.argtypes = [pointer, *{
                "feed": [ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32],
                "wait": [ctypes.c_uint32],
                "words": [pointer],
            }.get(name, [])]
        self.receiver = self.library.receiver_create()

    def feed(self, data: bytes, idle: int) -> list[bytes]:
        """Return the frames without CRC that end in `data`, each as its bytes."""
        self.library.receiver_feed(self.receiver, data, len(data), idle)
        self.library.receiver_wait(self.receiver, 4 * MAX_PAYLOAD)
        words = np.zeros(self.library.receiver_count(self.receiver), "<u8")
        self.library.receiver_words(self.receiver, words.ctypes.data)
        frames, ends = words.astype("<u4").tobytes(), np.flatnonzero(words >> np.uint64(32)) + 1
        assert not len(words) or ends[-1] == len(words)
        starts = [0, *ends[:-1]]
        return [frames[4 * start : 4 * end] for start, end in zip(starts, ends)]

    @property
    def dropped(self) -> int:
        return int(self.library.receiver_dropped(self.receiver))

    def close(self) -> None:
        self.library.receiver_destroy(self.receiver)


@pytest.fixture
def rtl() -> Iterator[Rtl]:
    receiver = Rtl()
    yield receiver
    receiver.close()


def raw(frame: Frame) -> bytes:
    """Return header and payload, from the frame's own definition and not from the encoder."""
    fields = ((frame.seq, 1), (frame.op, 1), (frame.addr, 4), (frame.count, 2))
    return b"".join(value.to_bytes(size, "little") for value, size in fields) + frame.payload


def random_frame(draw: random.Random) -> Frame:
    op = draw.choice([*OPERATIONS.values(), draw.randrange(256)])
    size = 4 * draw.choice([0, 1, 1, 2, draw.randrange(12), draw.randrange(MAX_PAYLOAD // 4 + 1)]
                           if draw.random() < 0.1 else [0, 1, 2, draw.randrange(10)])
    # Runs of zeros, of other bytes, and mixtures, since stuffing is about zeros.
    zeros = draw.choice([0.0, 0.02, 0.5, 1.0])
    payload = bytes(0 if draw.random() < zeros else byte for byte in draw.randbytes(size))
    if op == OPERATIONS["read"]:
        return Frame(draw.randrange(256), op, draw.getrandbits(32), draw.randrange(1 << 16))
    return Frame(draw.randrange(256), op, draw.getrandbits(32), size, payload)


def damaged(draw: random.Random, block: bytes) -> bytes:
    """Return a frame's bytes on the wire with one of many kinds of damage."""
    kind, at = draw.randrange(10), draw.randrange(len(block))
    if kind == 0:
        return block[:at] + bytes([block[at] ^ 1 << draw.randrange(8)]) + block[at + 1 :]
    if kind == 1:
        return block[:at] + draw.randbytes(1) + block[at + 1 :]
    if kind == 2:
        return block[:at] + block[at + 1 :]
    if kind == 3:
        return block[:at] + draw.randbytes(draw.randrange(1, 5)) + block[at:]
    if kind == 4:
        return block[:at]
    if kind == 5:
        return block[:at] + END + block[at:]
    if kind == 6:
        other = draw.randrange(len(block))
        return block[:at] + block[other:]
    if kind == 7:
        return draw.randbytes(draw.randrange(1, 40))
    if kind == 8:
        return block[:-1] + draw.randbytes(draw.choice([4, 400, 1500]) if draw.random() < 0.1
                                           else 4) + END
    return block[:at] + bytes(draw.choice([4, 4, 40])) + block[at:]


def compare(rtl: Rtl, seed: int, count: int) -> dict[str, int]:
    """Feed both decoders `count` frames, every second one damaged, and compare what they find."""
    draw = random.Random(seed)
    host = FrameDecoder()
    totals = {"frames": 0, "whole": 0, "damaged": 0, "accepted": 0, "corrupt": 0, "differences": 0}
    for _ in range(-(-count // ROUND)):
        data, sent = [], []
        for _ in range(ROUND):
            frame = random_frame(draw)
            block = encode(frame)
            # A damaged frame may swallow the one behind it, which then counts for nothing.
            if draw.random() < 0.5:
                block = damaged(draw, block)
                totals["damaged"] += 1
            else:
                totals["whole"] += 1
            sent.append(raw(frame))
            data.append(block)
        totals["frames"] += ROUND
        stream, known = b"".join(data), set(sent)
        found = [raw(frame) for frame in host.feed(stream)]
        totals["accepted"] += len(found)
        totals["corrupt"] += sum(frame not in known for frame in found)
        totals["differences"] += rtl.feed(stream, draw.choice([0, 0, 1, 3])) != found
    totals["differences"] += rtl.dropped != host.dropped
    return totals


def report(totals: dict[str, int], seed: int) -> None:
    assert totals["corrupt"] == totals["differences"] == 0, (seed, totals)
    # The test is about something: frames come through, and others do not.
    assert totals["whole"] * 0.6 < totals["accepted"] < totals["frames"] * 0.75, (seed, totals)


@pytest.mark.parametrize("seed", range(4))
def test_random_and_damaged_frames(rtl: Rtl, seed: int) -> None:
    totals = compare(rtl, seed, 25_000)
    assert totals["frames"] >= 25_000
    report(totals, seed)


@pytest.mark.long
def test_a_million_frames(rtl: Rtl) -> None:
    totals = compare(rtl, 100, 1_000_000)
    assert totals["frames"] >= 1_000_000
    report(totals, 100)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 8, 252, 253, 254, 255, 508, 1023, 1024, 1025, 1028])
def test_lengths(rtl: Rtl, size: int) -> None:
    """Whole words up to the limit, whatever the count says; an odd byte makes no frame."""
    good = size % 4 == 0 and size <= MAX_PAYLOAD
    for count in {size, size + 4, 4, 0, 0xFFFF}:
        frame = Frame(1, OPERATIONS["write"], 2, count, bytes([7]) * size)
        found = [raw(f) for f in FrameDecoder().feed(encode(frame))]
        assert found == ([raw(frame)] if good and count == size else [])
        assert rtl.feed(encode(frame), 0) == found


def test_the_frame_behind_any_garbage_is_found(rtl: Rtl) -> None:
    frame = Frame(9, OPERATIONS["write"], 0x1234, 8, bytes(8))
    draw = random.Random(5)
    host = FrameDecoder()
    for n in range(300):
        garbage = draw.randbytes(draw.randrange(3000)).replace(END, b"\x01" if n % 2 else END)
        stream = garbage + END + encode(frame)
        assert rtl.feed(stream, 0)[-1:] == [raw(frame)], n
        assert host.feed(stream)[-1:] == [frame], n


def test_damage_is_always_found_in_up_to_four_bits(rtl: Rtl) -> None:
    """Each single bit of a frame, and random pairs to quadruples, as a CRC of 32 bits promises."""
    frame = Frame(3, OPERATIONS["write"], 0xABCDEF, 16, bytes(range(16)))
    block = encode(frame)
    draw = random.Random(8)
    bits = range(8 * (len(block) - 1))
    for chosen in [*([bit] for bit in bits), *(draw.sample(bits, n % 3 + 2) for n in range(600))]:
        number = int.from_bytes(block, "little")
        for bit in chosen:
            number ^= 1 << bit
        stream = number.to_bytes(len(block), "little")
        assert FrameDecoder().feed(stream) == [], chosen
        assert rtl.feed(stream, 0) == [], chosen

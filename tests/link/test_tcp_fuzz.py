"""Nonsense, thrown at a server: nothing breaks, nothing gets in, nothing piles up."""

import gc
import random
import socket
import struct
import time
import tracemalloc

import pytest

from pbitstream.devices.network import messages
from pbitstream.devices.network.messages import Introduction, Request
from served import ADDRESSES, IMAGE, Memory, Served, serving

TOKEN = b"correct-horse-battery"
#: Bytes by which what the server holds may differ between two looks: buffers, a few caches.
FLAT = 1 << 18
ABORT = struct.pack("ii", 1, 0)
INTERESTING = (0, 1, 2, 3, 4, 0x20, 0x40, 0x7FFC, 0x8000, 1 << 14, (1 << 14) + 4, 1 << 20,
               (1 << 31) - 4, 1 << 31, (1 << 32) - 4, (1 << 32) - 1)


class Thrower:
    """Draws what to throw from a seed."""

    def __init__(self, served: Served, seed: int) -> None:
        self.served, self.draw = served, random.Random(f"tcp {seed}")
        self.thrown = self.connections = self.welcomes = 0

    def connect(self) -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self.served.port), 10)
        # Ends of connections would be kept for a minute, and ports run out.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        self.connections += 1
        return line

    def number(self) -> int:
        draw = self.draw
        return draw.choice(INTERESTING) if draw.random() < 0.5 else draw.getrandbits(32)

    def spoilt(self, data: bytes) -> bytes:
        """Return bytes of which some are changed, missing, doubled or new."""
        draw, spoilt = self.draw, bytearray(data)
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(spoilt) + 1)
            match draw.randrange(4):
                case 0:
                    spoilt[at : at + 1] = draw.randbytes(1)
                case 1:
                    del spoilt[at : at + draw.randrange(1, 9)]
                case 2:
                    spoilt[at:at] = spoilt[: draw.randrange(17)]
                case _:
                    spoilt[at:at] = draw.randbytes(draw.randrange(1, 40))
        return bytes(spoilt)

    def request(self) -> bytes:
        """Return a request that is wrong in some field, or all."""
        draw = self.draw
        fields = [draw.choice((b"pb", draw.randbytes(2))), draw.choice((1, draw.randrange(256))),
                  draw.choice((1, 2, draw.randrange(256))), draw.choice((1, self.number())),
                  self.number(), self.number()]
        return struct.pack("<2sBBIII", *fields) + draw.randbytes(draw.choice((0, 3, 4, 64, 999)))

    def sent(self, line: socket.socket, data: bytes) -> bytes:
        """Send something, and return what the server says until it closes, if we care to look."""
        draw = self.draw
        back = b""
        try:
            line.sendall(data)
            if draw.random() < 0.5:
                line.shutdown(socket.SHUT_WR)
                while more := line.recv(1 << 16):
                    back += more
        except OSError:
            pass
        return back

    def stranger(self) -> None:
        """Come without the token."""
        draw = self.draw
        with self.connect() as line:
            hello = bytearray(line.recv(4096)) if draw.random() < 0.7 else bytearray()
            theirs = messages.take_introduction(bytearray(hello)) if hello else None
            challenge = draw.randbytes(32) if theirs is None else theirs.challenge
            word = draw.choice((b"", TOKEN[:-1], TOKEN + b"x", draw.randbytes(16)))
            answer = draw.choice((messages.proof(word, challenge), challenge, bytes(32)))
            digest = bytes(32) if theirs is None else theirs.digest
            whole = Introduction(digest, answer, draw.random() < 0.5).pack()
            first = draw.choice((whole, self.spoilt(whole), draw.randbytes(draw.randrange(300)),
                                 b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", b"\0" * 70000))
            steps = Request(1, messages.WRITE, ADDRESSES["steps"], 4, b"evil").pack()
            back = self.sent(line, first + steps * draw.randrange(3))
            self.thrown += 1
            assert b"pb\1\0" not in back, "a stranger was let in"
            assert len(back) <= 100 + 1000

    def guest(self) -> None:
        """Come with the token and talk nonsense."""
        draw = self.draw
        with self.connect() as line:
            inbox = bytearray()
            while (theirs := messages.take_introduction(inbox)) is None:
                inbox += line.recv(4096)
            line.sendall(Introduction(theirs.digest, messages.proof(TOKEN, theirs.challenge))
                         .pack())
            while (answer := messages.take_answer(inbox, 0)) is None:
                inbox += line.recv(4096)
            # The one before may be dying; that this happens is no fault, if it is seldom.
            self.welcomes += answer.status == messages.DONE
            data, number = b"", 1
            for _ in range(draw.randrange(3)):
                count = draw.choice((4, 8, 64))
                good = Request(number, draw.choice((messages.READ, messages.WRITE)),
                               draw.choice((0x28, 0x2000, 0x80000)), count, bytes(count))
                data += good.pack() if good.operation == messages.WRITE else good.pack()[:16]
                number += 1
            data += draw.choice((self.request, lambda: self.spoilt(self.request()),
                                 lambda: draw.randbytes(draw.randrange(1, 200))))()
            self.sent(line, data)
            self.thrown += 1


class Ended:
    """Counts the connections that a server has ended; keeps no line of its log."""

    count = 0

    def __call__(self, line: str) -> None:
        assert line.isprintable()
        assert len(line) < 300
        self.count += 1

    def wait(self, count: int) -> None:
        end = time.monotonic() + 30
        while self.count < count:
            assert time.monotonic() < end, f"{self.count} of {count} connections have ended"
            time.sleep(0.005)


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_nonsense(count: int) -> None:
    ended, held = Ended(), []
    with serving(Memory(IMAGE), token=TOKEN, log=ended) as served:
        thrower = Thrower(served, seed=1)
        tracemalloc.start()
        try:
            for part in range(10):
                before = served.transport.served
                while thrower.thrown < (part + 0.7) * count / 10:
                    thrower.stranger()
                ended.wait(thrower.connections)
                assert served.transport.served == before, "a stranger got at the board"
                while thrower.thrown < (part + 1) * count / 10:
                    thrower.guest()
                ended.wait(thrower.connections)
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        # As it was, for those who know the token.
        link = served.client(token=TOKEN)
        link.write(ADDRESSES["steps"], b"good")
        assert link.read(ADDRESSES["steps"], 4) == b"good"
        link.close()
    assert thrower.thrown == count
    assert thrower.welcomes > 0.29 * count
    assert max(held[1:]) - held[0] < FLAT, held

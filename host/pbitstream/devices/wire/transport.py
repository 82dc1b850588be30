"""The transport over a serial line: several requests under way, each executed exactly once.

The rules are those of `pbitstream.spec.frames`. Requests stand in the order in which they were
made: those in flight have been sent and are not answered, the others wait for a place in the
window. When nothing comes back in time, or the board has met a request before its turn, all that
are in flight are sent again, from the first.
"""

import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle

from pbitstream.devices.wire.codec import LONGEST, Frame, FrameDecoder, encode
from pbitstream.devices.wire.port import Port, PortLostError
from pbitstream.devices.wire.request import Request, detail
from pbitstream.errors import DeviceError, SpecError
from pbitstream.spec.frames import (
    ADDRESS_BITS,
    BAUDS,
    DELIMITER,
    ERRORS,
    MAX_PAYLOAD,
    OPERATIONS,
    SESSION_BITS,
    WINDOW,
)
from pbitstream.spec.registers import BOARD_BYTES, CONTROL, REGISTERS

__all__ = ["SerialTransport"]

#: Seconds without any progress after which a link has failed.
PATIENCE = 1.3
#: Seconds until what is in flight is sent again, besides twice the time of the longest frames, and
#: at most; an adapter holds answers back for up to 16 ms.
RESEND_FIRST, RESEND_MOST = 0.06, 0.4
#: Seconds to find a board on a line, and to find it again.
OPENING, REOPENING = 1.5, 0.4
#: Seconds for the answer to an attempt, besides the time of its frames; and to one at a likely rate
#: when all rates have been tried, for a board that is simulated.
ATTEMPT, PATIENT_ATTEMPT = 0.04, 0.2
#: Bytes of payload asked for at a time: what every system keeps for a program that looks away.
READ_BYTES = 4 * MAX_PAYLOAD

_NAMES = {code: name for name, code in OPERATIONS.items()}
_REASONS = {code: name for name, code in ERRORS.items()}
_CONTROL = next(r.address for r in REGISTERS if r.name == "control")
_STOPS = 1 << CONTROL.index("stop") | 1 << CONTROL.index("reset")
_MASK = 0xFF


class SerialTransport:
    """Reads and writes of a board's address map over a `Port`; implements `Transport`.

    A write returns when its last frame has been sent; what becomes of it is known, at the latest,
    when the next read returns: requests are executed in their order, so the read says that all
    before it were. An error of a write is raised by it, or by the next call.

    When the line fails for `PATIENCE` seconds, or the board has lost the session, one `DeviceError`
    says so. From then on every request is refused with the same reason, until one that stops or
    resets the board: whoever stops a board knows that nothing can be relied on, and that request
    begins a new session.

    Parameters
    ----------
    port
        The line; the transport closes it.
    baud
        The rate to use, of `BAUDS`; whatever the board's is now, it is found.

    Raises
    ------
    SpecError
        If `baud` is not one of `BAUDS`.
    DeviceError
        If no board answers.
    """

    def __init__(self, port: Port, *, baud: int = BAUDS[0]) -> None:
        if baud not in BAUDS:
            raise SpecError(f"baud must be one of {', '.join(map(str, BAUDS))}, not {baud}")
        self._port, self._wanted_baud, self._baud = port, baud, 0
        self._decoder = FrameDecoder()
        self._session = self._credit = self._next = 0
        self._waiting: deque[Request] = deque()
        self._flight: deque[Request] = deque()
        # How many in flight have been sent since they were last to be sent again.
        self._sent = 0
        self._went_back = False
        # Half a frame may be on the line: the next one needs a delimiter before it.
        self._torn = True
        self._deadline = self._moved = 0.0
        self._lost: str | None = None
        #: Frames that were sent again.
        self.resent = 0
        try:
            self._open(OPENING)
        except BaseException:
            port.close()
            raise

    def read(self, address: int, count: int) -> bytes:
        """Return `count` bytes from an address on."""
        self._check(address, count)
        requests = [Request("read", address + at, min(MAX_PAYLOAD, count - at))
                    for at in range(0, count, MAX_PAYLOAD)]
        self._waiting += requests
        self._run(lambda: all(request.answer is not None for request in requests))
        return b"".join(request.answer or b"" for request in requests)

    def write(self, address: int, data: bytes) -> None:
        """Store bytes from an address on."""
        self._check(address, len(data))
        if self._lost is not None and _stops(address, data):
            self._open(REOPENING)
        for at in range(0, len(data), MAX_PAYLOAD):
            part = data[at : at + MAX_PAYLOAD]
            self._waiting.append(Request("write", address + at, len(part), part))
        self._run(lambda: not self._waiting and self._sent == len(self._flight))

    def close(self) -> None:
        """Wait for what is under way and let go of the line."""
        try:
            # A link that is broken can only be let go of.
            with suppress(DeviceError):
                if self._lost is None:
                    self._run(lambda: not self._waiting and not self._flight)
        finally:
            self._port.close()

    # Requests.

    def _check(self, address: int, count: int) -> None:
        if address % 4 or count % 4 or not 0 <= address <= address + count <= BOARD_BYTES:
            raise SpecError(f"address and count must be multiples of 4 within {BOARD_BYTES:#x} "
                            f"bytes, not {address:#x} and {count}")

    def _run(self, done: Callable[[], bool]) -> None:
        """Send and receive until something is the case."""
        if self._lost is not None:
            self._waiting.clear()
            raise DeviceError(f"{self._lost}; reset() the device, or open it again")
        self._moved = self._deadline = self._port.now()
        self._deadline += self._patience()
        try:
            self._take(0)
            while not done():
                if self._send():
                    continue
                if not done():
                    self._take(self._deadline - self._port.now())
        except BaseException:
            # Nobody waits for the rest any more; what is in flight will be told apart by its seq.
            self._waiting.clear()
            self._back()
            raise

    def _send(self) -> bool:
        """Send a frame if one may be sent; returns whether one was."""
        if self._sent < len(self._flight):
            request = self._flight[self._sent]
            self.resent += 1
        elif self._waiting and self._fits(self._waiting[0]):
            request = self._waiting.popleft()
            request.seq, self._next = self._next, self._next + 1 & _MASK
            self._flight.append(request)
            if len(self._flight) == 1:
                self._deadline = self._port.now() + self._patience()
        else:
            return False
        self._put(self._frame(request.operation, request.seq, request.address, request.count,
                              request.data))
        self._sent += 1
        return True

    def _fits(self, request: Request) -> bool:
        """Return whether the window and the credit let one more request go."""
        flight = self._flight
        return not flight or (
            len(flight) < WINDOW
            and sum(r.cost for r in flight) + request.cost <= self._credit
            and sum(r.wanted for r in flight) + request.wanted <= READ_BYTES)

    def _frame(self, operation: str, seq: int, address: int, count: int = 0,
               data: bytes = b"") -> bytes:
        addr = self._session << ADDRESS_BITS | address
        return encode(Frame(seq, OPERATIONS[operation], addr, count, data))

    def _put(self, data: bytes) -> None:
        """Write to the line; one that is gone is taken up again."""
        torn, self._torn = self._torn, True
        try:
            self._port.write(bytes([DELIMITER]) + data if torn else data)
        except PortLostError as error:
            self._reopen(error)
        else:
            self._torn = False

    def _take(self, seconds: float) -> None:
        """Receive what comes; after a deadline send again, in the end give up."""
        try:
            data = self._port.read(max(0.0, seconds))
        except PortLostError as error:
            self._reopen(error)
            return
        for frame in self._decoder.feed(data):
            self._answered(frame)
        now = self._port.now()
        if not self._flight or now < self._deadline:
            return
        if now - self._moved >= PATIENCE:
            raise self._fail(f"sent {self._flight[0]}; nothing came back within {PATIENCE:g} s")
        # The next time later, but in time to give up.
        waited = self._deadline - self._moved
        self._back()
        self._deadline = now + min(max(waited, self._patience()), RESEND_MOST,
                                   max(0.01, self._moved + PATIENCE - now))

    def _patience(self) -> float:
        return min(RESEND_MOST, RESEND_FIRST + 4 * self._line_time(LONGEST))

    def _line_time(self, count: int) -> float:
        """Return seconds that bytes take on the line, 8N1."""
        return 10 * count / self._baud

    def _back(self) -> None:
        """Send all that is in flight again."""
        self._sent, self._torn, self._went_back = 0, True, True

    def _reopen(self, error: PortLostError) -> None:
        """Take up a line that is gone and send again, if that is possible in time."""
        left = self._moved + PATIENCE - self._port.now()
        sent = self._flight[0] if self._flight else "nothing yet"
        try:
            if left <= 0:
                raise error
            self._port.reopen(left)
            self._port.set_baud(self._baud)
        except PortLostError as further:
            raise self._fail(f"sent {sent}; {further}") from error
        self._decoder = FrameDecoder()
        self._back()
        self._deadline = self._port.now() + self._patience()

    # Answers.

    def _answered(self, frame: Frame) -> None:
        """Take an answer to something in flight; any other is of no interest."""
        kind = _NAMES.get(frame.op)
        if not self._flight or frame.addr >> ADDRESS_BITS != self._session:
            return
        if kind == "reply":
            place = frame.seq - self._flight[0].seq & _MASK
            if place < len(self._flight) and self._flight[place].is_met(frame):
                self._flight[place].answer = frame.payload
                self._executed(place + 1)
        elif kind == "error" and frame.count == 4:
            number, expected = detail(frame)
            self._refused(frame, _REASONS.get(number, str(number)), expected)

    def _refused(self, frame: Frame, reason: str, expected: int) -> None:
        place = frame.seq - self._flight[0].seq & _MASK
        if reason == "session":
            raise self._fail(f"sent {self._flight[0]}; the board does not know this session: it "
                             "was reset, or somebody else has opened it")
        if reason == "sequence":
            executed = expected - self._flight[0].seq & _MASK
            if executed == 0 and not self._went_back:
                self._back()
            elif 0 < executed <= len(self._flight):
                self._executed(executed)
        elif place < len(self._flight) and frame.addr & BOARD_BYTES - 1 == (
                self._flight[place].address):
            raise self._fail(f"sent {self._flight[place]}; the board refused it: {reason}")

    def _executed(self, count: int) -> None:
        """Note that so many of the first in flight were executed; answers that are lost are reads'.

        Those are asked for again: a read has no effect, and no write stands behind it.
        """
        for _ in range(count):
            request = self._flight.popleft()
            if request.wanted and request.answer is None:
                self._waiting.appendleft(request)
        self._sent = max(0, self._sent - count)
        self._went_back = False
        self._moved = self._port.now()
        self._deadline = self._moved + self._patience()

    # Sessions.

    def _open(self, seconds: float) -> None:
        """Find the board at whatever rate, begin a session, and change to the rate wanted."""
        port = self._port
        end = port.now() + seconds
        self._waiting.clear()
        self._flight.clear()
        self._sent, self._torn = 0, True
        # Any number but the last one; the clock's is as good as drawn, and a replay draws it again.
        drawn = zlib.crc32(repr((port.now(), self._session)).encode())
        self._session ^= 1 + drawn % ((1 << SESSION_BITS) - 1)
        likely = dict.fromkeys((self._wanted_baud, BAUDS[0]))
        attempts = [*((baud, ATTEMPT) for baud in likely | dict.fromkeys(BAUDS)),
                    *((baud, PATIENT_ATTEMPT) for baud in likely)]
        for baud, patience in cycle(attempts):
            if port.now() >= end:
                break
            try:
                if self._try(baud, patience):
                    self._lost = None
                    return
            except PortLostError:
                try:
                    port.reopen(max(0.0, end - port.now()))
                except PortLostError as error:
                    raise self._fail(f"sent the beginning of a session; {error}") from error
        raise self._fail(f"sent the beginning of a session at {self._wanted_baud} baud and others;"
                         f" no board answered within {seconds:g} s")

    def _try(self, baud: int, seconds: float) -> bool:
        """Open the session at a rate, and at the one wanted; returns whether that is done."""
        answer = self._ask(baud, seconds, "open")
        if answer is None:
            return False
        self._credit, self._next = detail(answer)
        if baud == self._wanted_baud:
            return True
        seq, self._next = self._next, self._next + 1 & _MASK
        self._ask(baud, seconds, "baud", seq, BAUDS.index(self._wanted_baud))
        # Whether it has changed is seen by asking there.
        return self._try(self._wanted_baud, seconds)

    def _ask(self, baud: int, seconds: float, operation: str, seq: int = 0,
             address: int = 0) -> Frame | None:
        """Return the reply to a request that stands alone, or None if it does not come."""
        port = self._port
        if baud != self._baud:
            port.set_baud(baud)
            self._baud = baud
        self._decoder = FrameDecoder()
        port.read(0)
        port.write(bytes([DELIMITER]) + self._frame(operation, seq, address))
        addr = self._session << ADDRESS_BITS | address
        end = port.now() + seconds + self._line_time(40)
        while port.now() < end:
            for frame in self._decoder.feed(port.read(end - port.now())):
                if (frame.seq, frame.addr, _NAMES.get(frame.op)) == (seq, addr, "reply"):
                    return frame
        return None

    def _fail(self, reason: str) -> DeviceError:
        """Return the error that ends the session."""
        self._lost = reason
        self._waiting.clear()
        self._flight.clear()
        self._sent = 0
        return DeviceError(reason)


def _stops(address: int, data: bytes) -> bool:
    """Return whether a write stops or resets the board."""
    return address == _CONTROL and bool(int.from_bytes(data[:4], "little") & _STOPS)

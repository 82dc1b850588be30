"""A line on which things go wrong, on purpose and in a way that a seed repeats."""

import random
from collections import deque
from collections.abc import Callable

from pbitstream.devices.wire.port import Port, PortLostError

__all__ = ["FAULTS", "ChaosPort", "Direction", "Plan", "random_plan"]

#: What may happen to the bytes of one write, or to those that one read brings: they are lost; some
#: bits turn over; they come twice; they come after the next ones; their end is lost; they and all
#: after them come late; the plug is pulled, and comes back after a while or not at all.
FAULTS = ("drop", "corrupt", "duplicate", "reorder", "truncate", "delay", "disconnect")
#: Seconds of a delay at most, and for which a plug is out; it may stay out.
DELAY, OUT, FOR_GOOD = 0.3, 0.5, 1e9

#: ``write`` or ``read``.
Direction = str
#: Names the fault of the next bytes in a direction, if any.
Plan = Callable[[Direction], "str | None"]


def random_plan(seed: int, rate: float) -> Plan:
    """Return a plan in which each piece has one of `FAULTS` with a probability."""
    draw = random.Random(seed)
    return lambda direction: draw.choice(FAULTS) if draw.random() < rate else None


class _Side:
    """Bytes on their way in one direction: those held back, and those that wait for their time."""

    def __init__(self) -> None:
        self.held = b""
        self.queue: deque[tuple[float, bytes]] = deque()

    def put(self, due: float, data: bytes) -> None:
        """Append bytes; they never overtake those before them."""
        if data:
            self.queue.append((max(due, self.queue[-1][0]) if self.queue else due, data))

    def take(self, now: float) -> bytes:
        """Return the bytes whose time has come."""
        data = b""
        while self.queue and self.queue[0][0] <= now:
            data += self.queue.popleft()[1]
        return data

    def clear(self) -> None:
        """Lose everything."""
        self.held = b""
        self.queue.clear()


class ChaosPort:
    """A port with faults; implements `Port`.

    Parameters
    ----------
    port
        What is behind it, which must not fail itself.
    plan
        Which fault befalls which bytes.
    seed
        Of everything else that is drawn: which bits, how much, how long.

    Attributes
    ----------
    faults
        How often each fault has occurred.
    last
        When the last one did, on the port's clock.
    """

    def __init__(self, port: Port, plan: Plan, seed: int = 0) -> None:
        self._port, self._plan = port, plan
        self._draw = random.Random(f"chaos {seed}")
        self._sides = {"write": _Side(), "read": _Side()}
        self._back: float | None = None
        self.faults = dict.fromkeys(FAULTS, 0)
        self.last = 0.0

    def read(self, seconds: float) -> bytes:
        """Return what comes through."""
        side = self._sides["read"]
        end = self.now() + seconds
        while True:
            self._check()
            self._flush()
            data = side.take(self.now())
            if data:
                return data
            left = self._next_event(end) - self.now()
            fresh = self._port.read(max(0.0, left))
            if fresh:
                self._pass("read", fresh)
            elif self.now() >= end:
                self._flush()
                return side.take(self.now())

    def write(self, data: bytes) -> None:
        """Send bytes, or what becomes of them."""
        self._check()
        self._pass("write", data)
        self._flush()

    def set_baud(self, baud: int) -> None:
        """Change the rate of the line."""
        self._check()
        self._port.set_baud(baud)

    def now(self) -> float:
        """Return seconds on the clock of the port."""
        return self._port.now()

    def reopen(self, seconds: float) -> None:
        """Take the line up again, unless the plug is out for longer."""
        end = self.now() + seconds
        back = self.now() if self._back is None else self._back
        while self.now() < min(end, back):
            # What the board sends meanwhile goes nowhere.
            self._port.read(min(end, back) - self.now())
        if back > end:
            raise PortLostError(f"the plug is out, and was not back within {seconds:.1f} s")
        self._port.reopen(max(0.0, end - self.now()))
        self._back = None

    def close(self) -> None:
        """Let go of the line."""
        self._port.close()

    def _check(self) -> None:
        if self._back is not None:
            raise PortLostError("the plug is out")

    def _flush(self) -> None:
        data = self._sides["write"].take(self.now())
        if data:
            self._port.write(data)

    def _next_event(self, end: float) -> float:
        return min([end, *(side.queue[0][0] for side in self._sides.values() if side.queue)])

    def _pass(self, direction: Direction, data: bytes) -> None:
        """Let bytes pass a direction, with the fault that is planned for them."""
        fault = self._plan(direction)
        side, due = self._sides[direction], self.now()
        if fault is not None:
            self.faults[fault] += 1
            self.last = due
        held, side.held = side.held, b""
        if fault == "reorder":
            side.held, data = data, b""
        elif fault == "drop":
            data = b""
        elif fault == "corrupt":
            data = self._corrupt(data)
        elif fault == "duplicate":
            data += data
        elif fault == "truncate":
            data = data[: self._draw.randrange(len(data))]
        elif fault == "delay":
            due += self._draw.uniform(0, DELAY)
        elif fault == "disconnect":
            self._pull(direction, data)
        side.put(due, data + held)

    def _corrupt(self, data: bytes) -> bytes:
        bits = int.from_bytes(data, "little")
        for _ in range(self._draw.choice((1, 1, 2, 8))):
            bits ^= 1 << self._draw.randrange(8 * len(data))
        return bits.to_bytes(len(data), "little")

    def _pull(self, direction: Direction, data: bytes) -> None:
        """Pull the plug: some bytes may still have gone out."""
        if direction == "write":
            self._port.write(data[: self._draw.randrange(len(data) + 1)])
        for side in self._sides.values():
            side.clear()
        self._back = self.now() + self._draw.choice((0.0, self._draw.uniform(0, OUT), FOR_GOOD))
        raise PortLostError("the plug has been pulled")

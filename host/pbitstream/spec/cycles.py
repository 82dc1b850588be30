"""How many clock cycles a step takes on a board: the schedule's own arithmetic.

A board issues one multiplication per cycle and instructions in order, so the time of every issue
follows from three kinds of event: a result that can be read, a row that has been updated, a ring
slot that is free. Each time is a maximum of earlier ones plus a constant; iterating until the
period repeats gives the exact cycles per step.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from pbitstream.spec.image import Image
from pbitstream.spec.instructions import Decoded, decode
from pbitstream.spec.timing import (
    COUNT_STAGES,
    JUMP_CYCLES,
    RETIRE_STAGE,
    RING,
    SUM_STAGE,
    WRITTEN_STAGE,
)

__all__ = ["cycles_per_step", "multiplying_per_step"]

#: Cycles from the decision to issue to stage 0, and from a count to a decision that waited for it.
_ISSUED = 1
_READY = COUNT_STAGES - _ISSUED
#: From the queue to the first unit: look, fetch the constants.
_FETCH = 2


def cycles_per_step(instructions: Sequence[int], image: Image, *, steps: int = 64) -> int:
    """Return the cycles from one step to the next, once issue and updates keep the same pace.

    Parameters
    ----------
    instructions
        128-bit words, prologue first, as a board holds them.
    image
        The image that runs them.
    steps
        Steps after which the mean of the second half is returned, rounded up, if they still vary.

    Cost: O(instructions * rows * count) per step.
    """
    schedule = list(_walk([decode(word) for word in instructions]))
    clock = _Clock(image)
    starts, ends = [], []
    for _ in range(steps):
        starts.append(clock.step(schedule))
        ends.append(clock.walked)
        # The pipes may fall behind for some steps before the issue feels it.
        paces = {b - a for times in (starts[-5:], ends[-5:]) for a, b in pairwise(times)}
        if len(starts) >= 5 and len(paces) == 1:
            return paces.pop()
    half = len(starts) // 2
    return -(-(starts[-1] - starts[half]) // (len(starts) - 1 - half))


def multiplying_per_step(instructions: Sequence[int]) -> int:
    """Return the cycles of a step in which every lane multiplies: the cycles at full use."""
    return sum(_length(item) for item, _ in _walk([decode(word) for word in instructions])
               if item.kind != "update")


def _length(item: Decoded) -> int:
    """Return how many cycles an instruction issues in."""
    if item.kind == "project":
        return item["count"] * item["rows"]
    return item["count"] if item.kind == "expand" else 1


def _walk(items: list[Decoded]) -> Iterator[tuple[Decoded, int]]:
    """Yield the instructions of a step in the order they run, each with its group's row."""
    begin = next(n for n, item in enumerate(items) if item.kind == "update" and item["last"]) + 1
    at, row = begin, 0
    while True:
        item = items[at]
        yield item, row
        at += 1
        if item.kind == "update":
            if row + 1 < item["rows"]:
                at, row = item["group"], row + 1
            else:
                row = 0
                if item["last"]:
                    return


class _Clock:
    """Times of a running schedule; all in cycles, at which a count can be seen."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.now = 0
        self.results: list[int] = []
        self.updated: list[int] = []
        self.freed: list[int] = []
        self.walked = 0

    def step(self, schedule: list[tuple[Decoded, int]]) -> int:
        """Run one step and return when its first instruction issued."""
        results, rows, start = len(self.results), len(self.updated), None
        for item, row in schedule:
            if item.kind == "expand":
                ready = self._seen(self.results, results + item["wait_results"])
            else:
                ready = self._seen(self.updated, rows + item["wait"])
            if item.kind == "update" and len(self.freed) >= RING:
                ready = max(ready, self.freed[-RING])
            go = max(self.now, ready)
            start = go if start is None else start
            self.now = go + _length(item)
            if item.kind == "project":
                ends = range(go + item["rows"] - 1, self.now, item["rows"])
                self.results += [end + _ISSUED + WRITTEN_STAGE + _READY for end in ends]
            elif item.kind == "update":
                self._update(item, row, go)
                if row + 1 < item["rows"] or item["last"]:
                    self.now += JUMP_CYCLES
        assert start is not None
        return start

    def _update(self, item: Decoded, row: int, go: int) -> None:
        lanes = self.image.lanes
        units = min(item["dim"] - row * lanes, lanes // self.image.pipes)
        looked = max(go + _ISSUED + SUM_STAGE + 1, self.walked + 1)
        self.walked = looked + _FETCH + units - 1
        self.freed.append(self.walked + 2)
        self.updated.append(self.walked + RETIRE_STAGE + _READY)

    @staticmethod
    def _seen(times: list[int], count: int) -> int:
        """Return when so many events, or all there will be, have been counted."""
        count = min(count, len(times))
        return times[count - 1] if count > 0 else 0

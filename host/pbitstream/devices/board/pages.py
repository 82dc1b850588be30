"""Memories of two pages on a board, and what the host remembers of both."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.board.transport import Transport
from pbitstream.spec.image import Image
from pbitstream.spec.registers import WINDOWS

__all__ = ["Pages"]

Words = NDArray[np.uint32]

#: Equal words between two that differ which are sent again, because a request costs more.
GAP = 8


class Pages:
    """The windows of one kind of access, of which the host writes the inactive page.

    What is already there is not sent again. After an error nobody knows what is there: `forget`.

    Parameters
    ----------
    access
        ``shadow`` or ``page``.
    """

    def __init__(self, transport: Transport, image: Image, access: str) -> None:
        self._transport = transport
        counts = image.window_words()
        self._windows = [(w.address, counts[w.name]) for w in WINDOWS if w.access == access]
        self._active: Words | None = None
        self._inactive: Words | None = None

    def write(self, words: Words) -> None:
        """Make the inactive page hold these words: all windows in the order of addresses."""
        # An interrupted write leaves a page of which nothing is known.
        known, self._inactive = self._inactive, None
        start = 0
        for address, count in self._windows:
            part = words[start : start + count]
            old = None if known is None else known[start : start + count]
            for first, end in _differences(part, old):
                self._transport.write(address + 4 * first, part[first:end].astype("<u4").tobytes())
            start += count
        self._inactive = words

    def flip(self) -> None:
        """Note that the board has made the inactive page the active one."""
        self._active, self._inactive = self._inactive, self._active

    def active(self, words: Words) -> bool:
        """Return whether the active page is known to hold these words."""
        return self._active is not None and bool(np.array_equal(self._active, words))

    def forget(self) -> None:
        """Forget what is on the board."""
        self._active = self._inactive = None


def _differences(new: Words, old: Words | None) -> Iterator[tuple[int, int]]:
    """Yield runs of words, from first to end - 1, that cover every difference."""
    if old is None:
        yield 0, len(new)
        return
    changed = np.flatnonzero(new != old)
    if len(changed):
        for run in np.split(changed, np.flatnonzero(np.diff(changed) > GAP) + 1):
            yield int(run[0]), int(run[-1]) + 1

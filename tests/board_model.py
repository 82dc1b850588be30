"""A board in software, behind a transport: registers, windows of two pages, table switch."""

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from board_machine import Machine
from pbitstream.spec import spec_register
from pbitstream.spec.image import Image
from pbitstream.spec.noise import STREAMS, stream_state
from pbitstream.spec.registers import (
    BOARD_BYTES,
    CONTROL,
    MAGIC,
    OPTIONS,
    OTHER_PAGE,
    REGISTERS,
    UNMAPPED,
    WINDOWS,
    Register,
    Window,
)

__all__ = ["ModelTransport"]

BUSY, PENDING, REFUSED = 1, 2, 4


class ModelTransport:
    """Implements `Transport`; computes with `Machine`.

    Parameters
    ----------
    image
        What the board holds.
    lazy
        See `Machine`.
    looks
        How often its status must be read until it is done with a task; meanwhile it is busy.

    Attributes
    ----------
    written
        Bytes written so far, by the access of their window, or ``register``.
    """

    def __init__(self, image: Image, *, lazy: bool = True, looks: int = 2) -> None:
        self.image, self.lazy, self.looks = image, lazy, looks
        self.values: dict[str, int] = {r.name: 0 for r in REGISTERS} | {
            "magic": MAGIC, "spec_digest": spec_register(), "kinds": image.kinds_code,
            **{r.name: getattr(image, r.name) for r in REGISTERS if hasattr(image, r.name)
               and r.name != "kinds"},
        }
        # A memory that was never written holds anything.
        rng = np.random.default_rng(1)
        self.counts = image.window_words()
        self.pages = {w.name: [rng.integers(0, 1 << 32, self.counts[w.name], np.uint32)
                               for _ in range(2)] for w in WINDOWS}
        self.active = {"shadow": 0, "page": 0, "readout": 0}
        self.task: Callable[[], None] | None = None
        self.left = 0
        self.closed = False
        self.written = {"shadow": 0, "page": 0, "readout": 0, "register": 0}

    # The transport.

    def read(self, address: int, count: int) -> bytes:
        """Return bytes from an address on."""
        self._check(address, count)
        window = self._window(address, count)
        if window is None:
            words = [self._get(a) for a in range(address, address + count, 4)]
            return np.array(words, "<u4").tobytes()
        if self.task is not None and (not _is_other(address)
                                      or self.values["status"] & PENDING):
            return np.full(count // 4, UNMAPPED, "<u4").tobytes()
        return self._page(window, address)[: count // 4].astype("<u4").tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Store bytes from an address on."""
        self._check(address, len(data))
        window = self._window(address, len(data))
        words = np.frombuffer(data, "<u4")
        self.written["register" if window is None else window.access] += len(data)
        if window is None:
            for n, word in enumerate(words):
                self._set(address + 4 * n, int(word))
            return
        if window.access == "readout" and not _is_other(address) and self.task is not None:
            return
        self._page(window, address)[: len(words)] = words

    def close(self) -> None:
        """Take no request any more."""
        assert not self.closed
        self.closed = True

    def _check(self, address: int, count: int) -> None:
        assert not self.closed
        assert address % 4 == 0
        assert count % 4 == 0
        assert 0 < count <= BOARD_BYTES - address

    # Registers.

    def _get(self, address: int) -> int:
        register = _register(address)
        if register is None:
            return UNMAPPED
        if register.access == "w":
            return 0
        if register.name == "status":
            return self._status()
        return self.values[register.name] >> 8 * (address - register.address) & 0xFFFFFFFF

    def _set(self, address: int, word: int) -> None:
        register = _register(address)
        assert register is not None, hex(address)
        if register.access == "rw":
            shift = 8 * (address - register.address)
            kept = self.values[register.name] & ~(0xFFFFFFFF << shift)
            self.values[register.name] = kept | word << shift
        elif register.name == "control":
            self._control(word)
        elif register.name == "commit":
            self.values["status"] = PENDING
            self._begin(lambda: self._switch(word))
        else:
            raise AssertionError(f"{register.name} was written")

    def _status(self) -> int:
        if self.task is not None:
            self.left -= 1
            if self.left < 0:
                task, self.task = self.task, None
                self.values["status"] &= ~(BUSY | PENDING)
                task()
        return self.values["status"]

    def _control(self, word: int) -> None:
        asked = {name for bit, name in enumerate(CONTROL) if word >> bit & 1}
        if asked & {"stop", "reset"}:
            self.task = None
        self.values["status"] &= BUSY | PENDING if self.task is not None else 0
        if "start" in asked:
            if self.task is not None:
                self.values["status"] |= REFUSED
                return
            self._start()

    def _begin(self, task: Callable[[], None]) -> None:
        assert self.task is None, "the driver should have waited"
        self.task, self.left = task, self.looks
        self.values["status"] |= BUSY

    # Tasks.

    def _switch(self, crc: int) -> None:
        data = b"".join(self._page(w, w.address).astype("<u4").tobytes()
                        for w in WINDOWS if w.access == "shadow")
        if zlib.crc32(data) == crc:
            self.active["shadow"] ^= 1
        else:
            self.values["status"] |= REFUSED

    def _start(self) -> None:
        option = {name: self.values["options"] >> bit & 1 for bit, name in enumerate(OPTIONS)}
        if not option["keep_page"]:
            self.active["page"] ^= 1
        if not option["keep_readout"]:
            self.active["readout"] ^= 1
        own = self.active["readout"]
        self.values["cycles"] = self.values["multiplying"] = 0
        tables, page = ({w.name: self.pages[w.name][self.active[access]]
                         for w in WINDOWS if w.access == access} for access in ("shadow", "page"))
        if option["keep_state"]:
            words = [int(w) for w in self.pages["noise"][own].view("<u8")]
            states = [int(w) for w in self.pages["states"][own].view("<i4")]
        else:
            words = [stream_state(self.values["seed"], self.values["chain"], stream)
                     for stream in range(STREAMS)]
            states = None
        machine = Machine(self.image, tables, page, words, states, self.values["spin_rows"],
                          self.lazy)
        machine.run(self.values["burn_in"], self.values["steps"], bool(option["moments"]))
        self._begin(lambda: self._show(machine))

    def _show(self, machine: Machine) -> None:
        for name, values in (("noise", np.array(machine.words, "<u8")),
                             ("states", np.array(machine.x, "<i4")),
                             ("sums", np.array(machine.sums, "<i8")),
                             ("squares", np.array(machine.squares, "<i8"))):
            self.pages[name][self.active["readout"]][:] = values.view("<u4")
        self.values["clips"] = sum(min(n, 0xFFFFFFFF) << 32 * i
                                   for i, n in enumerate(machine.clips))
        self.values["cycles"], self.values["multiplying"] = machine.cycles, machine.multiplying

    # Windows.

    def _window(self, address: int, count: int) -> Window | None:
        place = address - OTHER_PAGE * _is_other(address)
        for window in WINDOWS:
            if window.address <= place < window.address + window.size:
                assert place + count <= window.address + 4 * self.counts[window.name], (
                    f"{count} bytes at {address:#x} reach beyond {window.name}")
                return window
        return None

    def _page(self, window: Window, address: int) -> NDArray[np.uint32]:
        """Return the words from an address on of the page that it is in."""
        other, active = _is_other(address), self.active[window.access]
        assert window.access == "readout" or not other, f"{address:#x} is of no window"
        page = active if window.access == "readout" and not other else 1 - active
        first = (address - other * OTHER_PAGE - window.address) // 4
        return self.pages[window.name][page][first:]


def _is_other(address: int) -> bool:
    return OTHER_PAGE <= address < 2 * OTHER_PAGE


def _register(address: int) -> Register | None:
    for register in REGISTERS:
        if register.address <= address < register.address + 4 * register.words:
            return register
    return None

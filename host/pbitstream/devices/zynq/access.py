"""Both ways to the fabric of a Zynq from its own Linux: the kernel's files, and the pynq package.

With the package, other notebooks on the board know what is loaded; without it, Python and NumPy
are enough.
"""

import warnings
from typing import Any, Protocol

import numpy as np

from pbitstream.devices.board.transport import Transport
from pbitstream.devices.zynq.files import ImageFiles
from pbitstream.devices.zynq.manager import OPERATING, Manager
from pbitstream.devices.zynq.memory import Claim, MemoryTransport
from pbitstream.devices.zynq.slcr import SLCR_BASE, SLCR_BYTES, Slcr
from pbitstream.errors import DeviceError
from pbitstream.spec.bitfile import same_chip
from pbitstream.spec.handoff import BASE
from pbitstream.spec.registers import BOARD_BYTES

__all__ = ["Kernel", "Package", "Zynq", "find_zynq", "in_memory", "load", "mmio_transport"]

#: A fabric's clock that is so much faster than asked for is wrong, and not rounded.
TOLERANCE = 1.0001


class Zynq(Protocol):
    """A way to the fabric; `name` is what `Board.info` calls it, `manager` knows what it holds."""

    name: str
    manager: Manager

    def idcode(self) -> int:
        """Return the JTAG device id of this board's chip."""

    def clock(self) -> float:
        """Return FCLK0 in Hz."""

    def set_clock(self, wanted: float) -> None:
        """Set FCLK0, in Hz."""

    def load(self, files: ImageFiles) -> None:
        """Load an image; DeviceError if it is not there afterwards."""

    def registers(self) -> Transport:
        """Return the board's address map; only an image that is loaded may be asked."""

    def close(self) -> None:
        """Let others have the board, unless `registers` has been handed out."""


class Kernel:
    """The way by what Linux offers; implements `Zynq`."""

    name = "/dev/mem"

    def __init__(self) -> None:
        self.manager = Manager()
        self._claim = Claim()
        try:
            self._slcr = Slcr(MemoryTransport(self._claim.map(SLCR_BASE, SLCR_BYTES)))
        except BaseException:
            self._claim.close()
            raise

    def idcode(self) -> int:
        """Return the JTAG device id of this board's chip."""
        return self._slcr.idcode

    def clock(self) -> float:
        """Return FCLK0 in Hz."""
        return self._slcr.clock

    def set_clock(self, wanted: float) -> None:
        """Set FCLK0, in Hz."""
        self._slcr.set_clock(wanted)

    def load(self, files: ImageFiles) -> None:
        """Load an image."""
        self.manager.load(files.bits.firmware())

    def registers(self) -> Transport:
        """Return the board's address map."""
        _check_loaded(self.manager)
        return MemoryTransport(self._claim.map(BASE, BOARD_BYTES), self._claim)

    def close(self) -> None:
        """Let others have the board."""
        self._claim.close()


class Package:
    """The way by the pynq package; implements `Zynq`.

    Parameters
    ----------
    pynq
        The package.
    """

    def __init__(self, pynq: Any) -> None:
        self._pynq = pynq
        self.name = f"pynq {pynq.__version__}"
        self.manager = Manager()
        self._claim = Claim()

    def idcode(self) -> int:
        """Return the JTAG device id of this board's chip."""
        return Slcr(mmio_transport(self._pynq.MMIO(SLCR_BASE, SLCR_BYTES))).idcode

    def clock(self) -> float:
        """Return FCLK0 in Hz."""
        try:
            return float(self._pynq.Clocks.fclk0_mhz) * 1e6
        except ZeroDivisionError as error:
            raise DeviceError(f"asked {self.name} for FCLK0; a divider of 0 came back; load an "
                              "image with ?image=FILE.bit, which sets it") from error

    def set_clock(self, wanted: float) -> None:
        """Set FCLK0, in Hz."""
        self._pynq.Clocks.fclk0_mhz = wanted / 1e6

    def load(self, files: ImageFiles) -> None:
        """Load an image."""
        path = str(files.path.resolve())
        # How far the package came is not told.
        self.manager.begun = True
        try:
            self._pynq.Bitstream(path).download()
        except (OSError, RuntimeError) as error:
            raise DeviceError(f"sent {path} to {self.name}; it said: {error}; run it as root in "
                              "the environment of the board's notebooks: sudo -i") from error

    def registers(self) -> Transport:
        """Return the board's address map."""
        _check_loaded(self.manager)
        return mmio_transport(self._pynq.MMIO(BASE, BOARD_BYTES), self._claim)

    def close(self) -> None:
        """Let others have the board."""
        self._claim.close()


class _DistantTransport:
    """Registers behind a pynq device without memory, such as a remote one; see `Transport`."""

    def __init__(self, mmio: Any, claim: Claim | None) -> None:
        self._mmio, self._claim = mmio, claim

    def read(self, address: int, count: int) -> bytes:
        """Return bytes, a word at a time."""
        words = [self._mmio.read(at) for at in range(address, address + count, 4)]
        return np.array(words, "<u4").tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Store bytes."""
        self._mmio.write(address, data)

    def close(self) -> None:
        """Let go of the registers."""
        self._mmio = None
        if self._claim is not None:
            self._claim.close()


def in_memory(mmio: Any) -> bool:
    """Return whether the registers of a `pynq.MMIO` are in this computer's memory."""
    return isinstance(mmio.array, np.ndarray)


def mmio_transport(mmio: Any, claim: Claim | None = None) -> Transport:
    """Return a transport over a `pynq.MMIO`."""
    if in_memory(mmio):
        return MemoryTransport(mmio.array, claim)
    return _DistantTransport(mmio, claim)


def find_zynq() -> Zynq:
    """Return the way to this board: by the pynq package where it works, else by the kernel.

    Raises
    ------
    DeviceError
        If this is no Zynq board, or it may not be used now.
    """
    try:
        with warnings.catch_warnings():
            # It warns where it finds no board, and fails without the libraries of its image.
            warnings.simplefilter("ignore")
            import pynq

            found = pynq if pynq.Device.devices else None
    except (ImportError, OSError, RuntimeError):
        found = None
    return Kernel() if found is None else Package(found)


def load(zynq: Zynq, files: ImageFiles) -> None:
    """Load an image into the board's fabric, and set its clock.

    FCLK0 is the slower of both images' clocks for as long as either may be in the fabric. It is
    again what it was where nothing was loaded for certain, or the clock cannot be had.

    Raises
    ------
    DeviceError
        If it is for another chip, which is seen before anything is written, or if it or its clock
        cannot be had.
    """
    found, wanted = zynq.idcode(), files.bits.idcode
    if not same_chip(found, wanted):
        raise DeviceError(f"this board's chip is {found:#010x}, {files.path} is for {wanted:#010x} "
                          f"{files.bits.part}; nothing was written; build an image for this board")
    try:
        before: float | None = zynq.clock()
    except DeviceError:
        # It stands still, which is too fast for nobody.
        before = None
    slower = before is not None and before > files.clock
    if slower:
        _set_clock(zynq, files.clock, before, "nothing was loaded")
    zynq.manager.begun = False
    try:
        zynq.load(files)
    except BaseException:
        if slower and before is not None and not zynq.manager.begun:
            zynq.set_clock(before)
        raise
    if not slower:
        _set_clock(zynq, files.clock, before, "the image was loaded")


def _set_clock(zynq: Zynq, wanted: float, before: float | None, done: str) -> None:
    """Set FCLK0; one that is too fast becomes again what it was, and a DeviceError."""
    zynq.set_clock(wanted)
    made = zynq.clock()
    if made <= wanted * TOLERANCE:
        return
    left = f"FCLK0 is {made / 1e6:g} MHz"
    if before is not None:
        zynq.set_clock(before)
        left = f"FCLK0 is {zynq.clock() / 1e6:g} MHz again"
    raise DeviceError(f"sent {wanted / 1e6:g} MHz to FCLK0; {made / 1e6:g} MHz came back; {done}, "
                      f"and {left}; build the image for a clock that this board makes")


def _check_loaded(manager: Manager) -> None:
    """Refuse to read where nothing answers."""
    if manager.state != OPERATING:
        raise DeviceError(f"the fabric holds no image, the kernel says {manager.state!r}; load one "
                          "with pynq:?image=FILE.bit")

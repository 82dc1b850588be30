"""Loading the fabric of a Zynq by its own Linux: the kernel's fpga_manager.

It takes the name of a file in its folder of firmware. If there is no such file it says nothing, and
its state stays what it was; so whoever loads asks the fabric afterwards what it is.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from pbitstream.errors import DeviceError

__all__ = ["FIRMWARE", "MANAGER", "OPERATING", "Manager"]

MANAGER = Path("/sys/class/fpga_manager/fpga0")
#: Where the kernel looks for what it is told to load.
FIRMWARE = Path("/lib/firmware")
#: What the file there is called for as long as it is needed.
NAME = "pbitstream.bin"
#: The state when there is an image in the fabric. Without one, whoever reads the fabric's
#: addresses waits for ever.
OPERATING = "operating"
#: Of a whole image, neither encrypted nor for a part of the fabric.
FLAGS = "0"


class Manager:
    """The kernel's loader of the fabric.

    Attributes
    ----------
    begun
        Whether the last load may have changed what is in the fabric.

    Raises
    ------
    DeviceError
        If this computer has none.
    """

    def __init__(self) -> None:
        if not MANAGER.is_dir():
            raise DeviceError(f"this computer is no Zynq board: it has no {MANAGER}; run this on "
                              "the board, or run pbitstream serve -d pynq: there and use "
                              "tcp:HOST:7248 here")
        self.begun = False

    @property
    def state(self) -> str:
        """What the kernel says of the fabric."""
        return (MANAGER / "state").read_text(encoding="ascii").strip()

    @staticmethod
    def place() -> Path:
        """Return where `load` puts its file."""
        return FIRMWARE / NAME

    @staticmethod
    def commands() -> list[str]:
        """Return what `load` does once its file is in place, as commands of a shell."""
        return [f"echo {FLAGS} > {MANAGER / 'flags'}", f"echo {NAME} > {MANAGER / 'firmware'}"]

    def load(self, firmware: bytes) -> None:
        """Load the words of a bitstream, as `BitFile.firmware` gives them.

        Raises
        ------
        DeviceError
            If the kernel refuses; the message says whether anything was written.
        """
        self.begun = False
        place = self.place()
        try:
            _put(place, firmware)
            _tell("flags", FLAGS)
            self.begun = True
            _tell("firmware", NAME)
        except OSError as error:
            raise self._failed(error) from error
        finally:
            with suppress(OSError):
                place.unlink()
        if self.state != OPERATING:
            raise DeviceError(f"sent {NAME} to {MANAGER}; its state is {self.state!r} and not "
                              f"{OPERATING!r}; dmesg says why; the fabric holds no image now")

    def _failed(self, error: OSError) -> DeviceError:
        where = error.filename or MANAGER / "firmware"
        if isinstance(error, PermissionError):
            self.begun = False
            return DeviceError(f"{where} may not be written by this user; run it with sudo; "
                               "nothing was written")
        sent = f"sent {NAME} to {MANAGER}; {where}: {error.strerror}"
        if not self.begun:
            return DeviceError(f"{sent}; nothing was written")
        return DeviceError(f"{sent}; its state is {self.state!r}; dmesg says why; run this again, "
                           "or switch the board off and on")


def _tell(attribute: str, value: str) -> None:
    """Write to a file of the kernel's, which hears every write as one request."""
    with open(MANAGER / attribute, "wb", buffering=0) as file:
        file.write(value.encode("ascii"))


def _put(place: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f"{place.stem}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, place)
    except BaseException:
        os.unlink(name)
        raise

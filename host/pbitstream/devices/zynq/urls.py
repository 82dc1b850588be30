"""The Zynq board that this runs on, by URL."""

from pathlib import Path
from typing import Any

from pbitstream.devices.board import Board, Transport
from pbitstream.devices.protocol import Device
from pbitstream.devices.zynq.access import find_zynq, load
from pbitstream.devices.zynq.files import ImageFiles
from pbitstream.errors import DeviceError, SpecError

__all__ = ["OnZynq", "open_pynq"]


class OnZynq(Board):
    """A board in the fabric beside this processor.

    Parameters
    ----------
    access, clock
        How it is reached, and FCLK0 in Hz.
    """

    def __init__(self, transport: Transport, *, access: str, clock: float) -> None:
        self._about = {"access": access, "clock_mhz": clock / 1e6}
        super().__init__(transport, name="pynq")

    def info(self) -> dict[str, Any]:
        """Return what this device is, as plain data."""
        return {**super().info(), **self._about}


def open_pynq(rest: str, options: dict[str, str]) -> Device:
    """Zynq board that this runs on, as root; option image=FILE.bit loads that image first.

    Without the option an image of ours must be in the fabric: a design that does not answer at its
    addresses stops the processor. After switching on, load one.
    """
    if rest:
        raise SpecError(f"pynq: takes no address, not {rest!r}; a board elsewhere is "
                        "tcp:HOST:7248, with pbitstream serve -d pynq: there")
    unknown = sorted(options.keys() - {"image"})
    if unknown:
        raise SpecError(f"pynq: takes the option image, not {unknown[0]}")
    files = ImageFiles.read(Path(options["image"])) if "image" in options else None
    zynq = find_zynq()
    try:
        if files is not None:
            load(zynq, files)
        board = OnZynq(zynq.registers(), access=zynq.name, clock=zynq.clock())
    except BaseException:
        zynq.close()
        raise
    if files is not None and board.image != files.image:
        found = board.image
        board.close()
        raise DeviceError(f"sent {files.path}, and the fabric holds another image: {found} came "
                          f"back and not {files.image}; the kernel took the file for another, or "
                          "FILE.bit and FILE.hwh are not of one build")
    return board

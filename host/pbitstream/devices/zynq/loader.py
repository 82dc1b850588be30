"""What `pbitstream flash` uses on a Zynq board itself, in place of openFPGALoader."""

import os
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pbitstream.devices.zynq.access import Kernel, load
from pbitstream.devices.zynq.files import ImageFiles
from pbitstream.devices.zynq.manager import Manager
from pbitstream.spec.bitfile import BitFile
from pbitstream.spec.manifest import Manifest

__all__ = ["FabricLoader"]

#: Turns a .bit file into what the kernel takes.
CONVERT = ("python3 -c 'import sys; from pbitstream.spec.bitfile import BitFile; "
           "data = BitFile.parse(open(sys.argv[1], \"rb\").read()).firmware(); "
           "open(sys.argv[2], \"wb\").write(data)'")


class FabricLoader:
    """The kernel of the board as its loader; has the methods of `pbitstream.programmer.Loader`.

    Parameters
    ----------
    manifest
        Of the bitstream.

    Attributes
    ----------
    port
        The device that reads back what was loaded.
    begun
        Whether the last load may have changed what is in the fabric.
    """

    tool = "fpga_manager"
    port = "pynq:"

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.begun = False

    def commands(self, bitstream: Path) -> list[str]:
        """Return what happens, as commands of a root shell; FCLK0 is set besides."""
        place = shlex.quote(str(Manager.place()))
        return [f"{CONVERT} {shlex.quote(str(bitstream))} {place}", *Manager.commands()]

    def version(self) -> str:
        """Return the kernel's version."""
        return f"of Linux {os.uname().release}"

    def detect(self) -> dict[int, str]:
        """Return the device id of this board's chip; DeviceError if it cannot be read."""
        with closing(Kernel()) as zynq:
            return {zynq.idcode(): ""}

    def load(self, bitstream: Path, report: Callable[[float], None]) -> None:
        """Load a bitstream, and set the clock that its manifest asks for.

        Raises
        ------
        DeviceError
            If the kernel refuses; the message says whether anything was written.
        """
        manifest = self._manifest
        files = ImageFiles(bitstream, BitFile.parse(bitstream.read_bytes(), str(bitstream)),
                           manifest.image, manifest.clock.requested * 1e6)
        self.begun = False
        with closing(Kernel()) as zynq:
            try:
                load(zynq, files)
            finally:
                self.begun = zynq.manager.begun
        report(100.0)

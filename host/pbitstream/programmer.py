"""Loading a bitstream into a board: over JTAG with openFPGALoader, or by the board's own Linux.

What is loaded lives in the chip until its power goes; a board's own flash is not written. So a load
that breaks off costs nothing that a power cycle does not bring back.
"""

import os
import re
import selectors
import shlex
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pbitstream.errors import DeviceError, DeviceTimeoutError, MissingExtraError, SpecError
from pbitstream.spec.bitfile import same_chip
from pbitstream.spec.manifest import Manifest, Programmer

if TYPE_CHECKING:
    from pbitstream.devices.zynq.loader import FabricLoader

__all__ = ["INTERRUPTED", "Loader", "find_loader", "same_device"]

TOOL = "openFPGALoader"
#: Seconds that the tool may say nothing.
PATIENCE = 60.0
#: Last lines of the tool, for a message.
TAIL = 3
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_DEVICE = re.compile(r"idcode\s+0x([0-9a-fA-F]+)")
_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
#: What the tool says when it may not, or cannot, have the board's USB.
_REASONS = (
    (re.compile(r"usb_open\(\) failed|LIBUSB_ERROR_ACCESS|[Pp]ermission denied"),
     "this user may not open the board's USB: install openFPGALoader's udev rules, join plugdev"),
    (re.compile(r"device not found|no device found"),
     "no board was found on USB: plug it in, switch it on"),
    (re.compile(r"unable to claim|LIBUSB_ERROR_BUSY|[Rr]esource busy"),
     "another program has the board's USB: close it"),
)
#: What a load that broke off means.
INTERRUPTED = ("the chip holds no image now; its flash was not touched: run this again, or switch "
               "the board off and on to have the image before it back")


class Loader:
    """openFPGALoader for one board.

    Parameters
    ----------
    programmer
        From a manifest.

    Attributes
    ----------
    port
        The device that reads back what was loaded: which line the board has is not known here.
    begun
        Whether the last load has erased what the chip held.
    """

    tool = TOOL
    port: str | None = None

    def __init__(self, programmer: Programmer) -> None:
        if programmer.tool != TOOL:
            raise SpecError(f"tool must be {TOOL}, not {programmer.tool!r}; this manifest was made "
                            "for another version")
        self._board = programmer.board
        self.begun = False

    def detecting(self) -> list[str]:
        """Return the command that reads the device ids of the board's chips."""
        return [TOOL, "--board", self._board, "--detect"]

    def command(self, bitstream: Path) -> list[str]:
        """Return the command that loads a bitstream."""
        # A name must not look like an option.
        shown = str(bitstream)
        return [TOOL, "--board", self._board, f"./{shown}" if shown.startswith("-") else shown]

    def commands(self, bitstream: Path) -> list[str]:
        """Return both, as they are typed."""
        return [shlex.join(self.detecting()), shlex.join(self.command(bitstream))]

    def version(self) -> str:
        """Return the tool's version.

        Raises
        ------
        MissingExtraError
            If it is not installed.
        """
        text = " ".join(self._run([TOOL, "--Version"]))
        found = _VERSION.search(text)
        return found.group(1) if found else "unknown"

    def detect(self) -> dict[int, str]:
        """Return the device ids that the board answers with, and the model names, if any is known.

        Raises
        ------
        MissingExtraError
            If the tool is not installed.
        DeviceError
            If there is no board, or it cannot be reached; nothing has been written.
        """
        found: dict[int, str] = {}
        last = 0
        for line in self._run(self.detecting()):
            match = _DEVICE.search(line)
            if match:
                last = int(match.group(1), 16)
                found[last] = ""
            elif line.startswith("model") and last:
                found[last] = line.removeprefix("model").strip()
        if not found:
            raise DeviceError(f"sent {shlex.join(self.detecting())}; it named no device id; is the "
                              "board switched on?")
        return found

    def load(self, bitstream: Path, report: Callable[[float], None]) -> None:
        """Load a bitstream; `report` is given percent.

        Raises
        ------
        DeviceError
            If the tool fails; the message says whether anything was written.
        DeviceTimeoutError
            If it says nothing for a minute.
        """
        self.begun = False
        for line in self._run(self.command(bitstream)):
            found = _PERCENT.search(line)
            self.begun |= found is not None or "erase" in line
            if found:
                report(float(found.group(1)))

    def _run(self, words: list[str]) -> Iterator[str]:
        """Yield what the tool prints, line by line; DeviceError if it fails."""
        program = shutil.which(TOOL)
        if program is None:
            raise MissingExtraError(
                f"{TOOL} is missing, which loads the board; apt-get install openfpgaloader, or see "
                "https://trabucayre.github.io/openFPGALoader/guide/install.html")
        tail: deque[str] = deque(maxlen=TAIL)
        said: list[str] = []
        with subprocess.Popen([program, *words[1:]], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
            try:
                for line in _lines(running, words):
                    tail.append(line)
                    said.append(line)
                    yield line
            except BaseException:
                running.terminate()
                raise
        if running.returncode:
            raise self._failed(words, running.returncode, said, " / ".join(tail))

    def _failed(self, words: list[str], code: int, said: list[str], tail: str) -> DeviceError:
        """Return what a failure of the tool means."""
        text = "\n".join(said)
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        sent = f"sent {shlex.join(words)}; it {ended}"
        if self.begun:
            return DeviceError(f"{sent}: {tail}; {INTERRUPTED}")
        if "mismatch between target's idcode" in text:
            return DeviceError(f"{sent}: {tail}; this is another board than the image is for; "
                               "nothing was written")
        for pattern, meaning in _REASONS:
            if pattern.search(text):
                return DeviceError(f"{sent}: {tail}; {meaning}; nothing was written")
        return DeviceError(f"{sent}: {tail or 'no word'}; nothing was written")


def find_loader(manifest: Manifest) -> "Loader | FabricLoader":
    """Return what loads a manifest's bitstream from here.

    That is openFPGALoader, or on a Zynq board, for its own kind of chip, the board's kernel.
    """
    # A chip is the same as itself if it is Xilinx's.
    if same_chip(manifest.idcode, manifest.idcode):
        from pbitstream.devices.zynq import manager
        from pbitstream.devices.zynq.loader import FabricLoader

        if manager.MANAGER.is_dir():
            return FabricLoader(manifest)
    return Loader(manifest.programmer)


def same_device(found: int, wanted: int) -> bool:
    """Return whether a device id that was read may be the one that is wanted.

    Xilinx counts a chip's revisions in the upper four bits. Some versions of the tool leave them
    out of any chip's; then the tool's own comparison, before it writes, is the one that counts.
    """
    return found in (wanted, wanted & 0x0FFF_FFFF) or same_chip(found, wanted)


def _lines(running: "subprocess.Popen[bytes]", words: list[str]) -> Iterator[str]:
    """Yield lines as they come; what a progress bar overwrites is a line too."""
    assert running.stdout is not None
    waiting = b""
    with selectors.DefaultSelector() as selector:
        selector.register(running.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(PATIENCE):
                raise DeviceTimeoutError(f"sent {shlex.join(words)}; it has said nothing for "
                                         f"{PATIENCE:g} s and was stopped; plug the board in again")
            data = os.read(running.stdout.fileno(), 1 << 12)
            *whole, waiting = re.split(rb"[\r\n]", waiting + data)
            if not data:
                whole.append(waiting)
            for line in whole:
                text = _COLOUR.sub("", line.decode(errors="replace")).strip()
                if text:
                    yield text
            if not data:
                return

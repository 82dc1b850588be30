"""A Zynq board made of files: what its Linux shows, its memory, an image for it, a pynq package."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pbitstream.devices.zynq import manager, memory
from pbitstream.devices.zynq.slcr import SLCR_BASE, SLCR_BYTES
from pbitstream.spec import spec_register
from pbitstream.spec.bitfile import START
from pbitstream.spec.handoff import BASE, hwh
from pbitstream.spec.image import Image
from pbitstream.spec.registers import MAGIC, REGISTERS

__all__ = ["CHIP", "IMAGE", "OTHER_CHIP", "OTHER_IMAGE", "Words", "Zynq", "bit_file", "fake_pynq",
           "make_image"]

#: Device ids of an xc7z020 and an xc7z010.
CHIP, OTHER_CHIP = 0x03727093, 0x03722093
IMAGE = Image(lanes=8, max_units=1024, max_rank_words=4096)
OTHER_IMAGE = Image(lanes=16, max_units=1024, max_rank_words=4096)
ADDRESSES = {register.name: register.address for register in REGISTERS}


def bit_file(idcode: int = CHIP, part: str = "7z020clg400", payload: bytes = bytes(64)) -> bytes:
    """Return what Vivado would write, but for the configuration itself."""
    words = (b"\xff" * 32 + bytes.fromhex("000000bb11220044") + b"\xff" * 8
             + bytes.fromhex("aa99556620000000300220010000000030018001")
             + idcode.to_bytes(4, "big") + payload)
    texts = (("a", "top;UserID=0XFFFFFFFF;Version=2024.1"), ("b", part), ("c", "2026/01/02"),
             ("d", "03:04:05"))
    fields = b"".join(tag.encode() + struct.pack(">H", len(text) + 1) + text.encode() + b"\0"
                      for tag, text in texts)
    return START + fields + b"e" + struct.pack(">I", len(words)) + words


def make_image(folder: Path, name: str = "pynq-z2", *, clock: int = 125_000_000,
               image: Image = IMAGE, **bits: Any) -> Path:
    """Write NAME.bit and NAME.hwh; returns the path of the first."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.bit"
    path.write_bytes(bit_file(**bits))
    path.with_suffix(".hwh").write_text(hwh(image, clock))
    return path


@dataclass
class Zynq:
    """A tree of files that `Kernel` takes for a board."""

    root: Path

    @property
    def sysfs(self) -> Path:
        return self.root / "fpga0"

    @property
    def firmware(self) -> Path:
        return self.root / "firmware"

    @property
    def memory(self) -> Path:
        return self.root / "mem"

    def place(self, address: int, *words: int) -> None:
        """Put words into memory."""
        with open(self.memory, "r+b") as file:
            file.seek(address)
            file.write(struct.pack(f"<{len(words)}I", *words))

    def word(self, address: int) -> int:
        with open(self.memory, "rb") as file:
            file.seek(address)
            return int.from_bytes(file.read(4), "little")

    def show(self, image: Image = IMAGE, digest: int | None = None) -> None:
        """Let the fabric look like an idle image."""
        digest = spec_register() if digest is None else digest
        self.place(BASE, MAGIC, digest & 0xFFFFFFFF, digest >> 32)
        for name in ("lanes", "max_units", "max_rank_words", "max_modules", "max_instructions",
                     "max_gains"):
            self.place(BASE + ADDRESSES[name], getattr(image, name))
        self.place(BASE + ADDRESSES["kinds"], image.kinds_code)

    def obey(self, patch: pytest.MonkeyPatch, change: Callable[[], None] | None = None,
             state: str = "operating") -> list[bytes]:
        """Let a load change the fabric, and end in a state; returns the files that are loaded.

        Without `change` the image of `show` is there afterwards.
        """
        files: list[bytes] = []
        tell = manager._tell

        def told(attribute: str, value: str) -> None:
            tell(attribute, value)
            if attribute == "firmware":
                files.append((self.firmware / value).read_bytes())
                (self.sysfs / "state").write_text(state + "\n")
                (change or self.show)()

        patch.setattr(manager, "_tell", told)
        return files

    @property
    def loaded(self) -> str:
        """What the kernel has been told to load."""
        return (self.sysfs / "firmware").read_text()

    @classmethod
    def make(cls, root: Path, patch: pytest.MonkeyPatch) -> "Zynq":
        """Make a board without an image, and let the package find it."""
        board = cls(root)
        board.sysfs.mkdir(parents=True)
        board.firmware.mkdir()
        for name, text in (("state", "unknown\n"), ("flags", "0\n"), ("firmware", "")):
            (board.sysfs / name).write_text(text)
        board.memory.touch()
        # Sparse: it holds what is written and no more.
        os.truncate(board.memory, SLCR_BASE + SLCR_BYTES)
        board.place(SLCR_BASE + 0x530, 0x2 << 28 | CHIP)
        board.place(SLCR_BASE + 0x00C, 1)
        # PLLs of 1,600 (ARM), 1,050 (DDR) and 1,000 MHz (IO), FCLK0 = IO / (5 * 2).
        board.place(SLCR_BASE + 0x100, 32 << 12, 21 << 12, 20 << 12)
        board.place(SLCR_BASE + 0x170, 2 << 20 | 5 << 8)
        patch.setattr(manager, "MANAGER", board.sysfs)
        patch.setattr(manager, "FIRMWARE", board.firmware)
        patch.setattr(memory, "MEMORY", board.memory)
        return board


class Words:
    """A board behind a transport that looks like an array of its words; notes every access."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self.accesses: list[tuple[str, int, int]] = []

    def __getitem__(self, part: slice) -> Any:
        self.accesses.append(("read", part.start, part.stop))
        return np.frombuffer(self.board.read(4 * part.start, 4 * (part.stop - part.start)), "<u4")

    def __setitem__(self, part: slice, words: Any) -> None:
        assert words.dtype == np.uint32
        # NumPy leaves such a copy to nobody else.
        assert words.strides == (8,)
        self.accesses.append(("write", part.start, part.stop))
        self.board.write(4 * part.start, words.astype("<u4").tobytes())


@dataclass
class Log:
    """What a fake pynq was asked."""

    downloads: list[str] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)


def fake_pynq(board: Zynq, download: Callable[[str], None]) -> tuple[ModuleType, Log]:
    """Return a module with what we use of pynq, on the memory of a board."""
    log = Log()

    class MMIO:
        def __init__(self, base: int, length: int) -> None:
            self.array = np.memmap(board.memory, np.uint32, "r+", base, (length // 4,))

    class Bitstream:
        def __init__(self, path: str) -> None:
            assert os.path.isabs(path)
            self.path = path

        def download(self) -> None:
            log.downloads.append(self.path)
            download(self.path)

    class Clocks:
        mhz = 100.0

        @property
        def fclk0_mhz(self) -> float:
            return self.mhz

        @fclk0_mhz.setter
        def fclk0_mhz(self, mhz: float) -> None:
            log.clocks.append(mhz)
            self.mhz = mhz

    made = ModuleType("pynq")
    made.__dict__.update(__version__="9.9", MMIO=MMIO, Bitstream=Bitstream, Clocks=Clocks(),
                         Device=SimpleNamespace(devices=["board"]))
    return made, log

"""Vivado's .bit files for the Zynq: what they say of themselves, and what Linux wants of them.

A header of tagged fields (design, part, date, time), then configuration words, most significant
byte first. Linux takes the words alone and the other way round, in a file that is called .bin. [1]

[1] Xilinx, 7 Series FPGAs Configuration, UG470, table 5-19 and chapter 5.
"""

import struct
from array import array
from dataclasses import dataclass

from pbitstream.errors import FileFormatError

__all__ = ["START", "BitFile", "is_bit_file", "same_chip"]

#: What every such file begins with: a field of nine bytes, and the number 1.
START = bytes.fromhex("0009 0ff00ff00ff00ff000 0001")
#: Fields of text, and the field of the words.
TEXTS, WORDS = b"abcd", b"e"
DESIGN, PART = b"ab"
#: Before this word everything is ignored; behind this one stands the chip's device id.
SYNC = bytes.fromhex("aa995566")
WRITE_IDCODE = bytes.fromhex("30018001")
#: Within so many bytes of each other.
IDCODE_WITHIN = 1024
#: Of a device id, the bits that name the maker, what that is for Xilinx, and those that do not
#: count the chip's revisions.
MAKER, XILINX, CHIP = 0xFFF, 0x093, 0x0FFF_FFFF


def is_bit_file(content: bytes) -> bool:
    """Return whether a file begins like a .bit file."""
    return content.startswith(START)


def same_chip(found: int, wanted: int) -> bool:
    """Return whether two device ids are those of one chip of Xilinx, in any revision."""
    return wanted & MAKER == XILINX and (found ^ wanted) & CHIP == 0


@dataclass(frozen=True)
class BitFile:
    """A .bit file.

    Parameters
    ----------
    design, part
        What it was built from, and the chip it is for without speed grade: ``7z020clg400``.
    idcode
        JTAG device id of the chip that takes the words; no other one does.
    words
        Bytes of the configuration words, as they stand in the file.
    """

    design: str
    part: str
    idcode: int
    words: bytes

    @classmethod
    def parse(cls, content: bytes, name: str = "bitstream") -> "BitFile":
        """Return the file with this content; `name` stands in messages.

        Raises
        ------
        FileFormatError
            If it is none, is cut short, or would configure nothing.
        """
        if not is_bit_file(content):
            raise FileFormatError(f"{name}: no .bit file of Vivado: another header; a .bin file "
                                  "does not say which chip it is for, take the .bit")
        texts: dict[int, str] = {}
        at = len(START)
        try:
            while content[at : at + 1] != WORDS:
                tag, length = struct.unpack_from(">BH", content, at)
                if tag not in TEXTS:
                    raise FileFormatError(f"{name}: damaged: no .bit file has a field {tag:#04x}")
                at += 3 + length
                texts[tag] = content[at - length : at].rstrip(b"\0").decode("ascii")
            (length,) = struct.unpack_from(">I", content, at + 1)
        except (struct.error, UnicodeDecodeError) as error:
            raise FileFormatError(f"{name}: damaged header: {error}") from error
        words = content[at + 5 :]
        if len(words) != length or length % 4:
            raise FileFormatError(f"{name}: damaged: {len(words):,} bytes of configuration, its "
                                  f"header says {length:,}")
        part = texts.get(PART, "").removeprefix("xc").partition("-")[0]
        return cls(texts.get(DESIGN, "").partition(";")[0], part, _idcode(words, name), words)

    def firmware(self) -> bytes:
        """Return the words as Linux takes them, each with its bytes the other way round."""
        swapped = array("I", self.words)
        assert swapped.itemsize == 4
        swapped.byteswap()
        return swapped.tobytes()


def _idcode(words: bytes, name: str) -> int:
    sync = _find(words, SYNC, 0, len(words))
    place = -1 if sync < 0 else _find(words, WRITE_IDCODE, sync, sync + IDCODE_WITHIN)
    if place < 0:
        raise FileFormatError(f"{name}: damaged: no configuration for a chip of the 7 series "
                              "begins in it")
    return int.from_bytes(words[place + 4 : place + 8], "big")


def _find(words: bytes, word: bytes, start: int, end: int) -> int:
    """Return where a whole word stands, or -1."""
    place = words.find(word, start, end)
    while place >= 0 and place % 4:
        place = words.find(word, place + 1, end)
    return place

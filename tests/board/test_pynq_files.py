"""Images for a Zynq on disk: .bit files, the form that Linux takes, and the handoff beside them."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbitstream.devices.zynq.files import ImageFiles
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.spec import spec_digest
from pbitstream.spec.bitfile import START, BitFile, same_chip
from pbitstream.spec.manifest import device_id
from zynq_stand_in import CHIP, IMAGE, OTHER_CHIP, bit_file, make_image


@given(st.binary(max_size=64).map(lambda b: b + bytes(-len(b) % 4)), st.integers(0, 1 << 32))
def test_a_bit_file_says_what_it_is_for(payload: bytes, seed: int) -> None:
    idcode = seed % (1 << 32)
    content = bit_file(idcode, "xc7z020clg400-1" if seed % 2 else "7z020clg400", payload)
    found = BitFile.parse(content)
    assert (found.design, found.part, found.idcode) == ("top", "7z020clg400", idcode)
    assert content.endswith(found.words)
    assert found.words.endswith(payload)
    assert device_id(content) == idcode


def test_linux_takes_words_the_other_way_round() -> None:
    found = BitFile.parse(bit_file(payload=bytes(range(8))))
    firmware = found.firmware()
    assert np.array_equal(np.frombuffer(firmware, "<u4"), np.frombuffer(found.words, ">u4"))
    # What the kernel looks for, at a word.
    assert firmware.index(bytes.fromhex("665599aa")) % 4 == 0
    assert firmware[-8:] == bytes([3, 2, 1, 0, 7, 6, 5, 4])


def test_every_cut_is_noticed() -> None:
    content = bit_file()
    for length in range(len(content)):
        with pytest.raises(FileFormatError):
            BitFile.parse(content[:length])
    with pytest.raises(FileFormatError, match="damaged: 137 bytes of configuration"):
        BitFile.parse(content + b"\0")
    assert device_id(content[:100]) is None


@given(st.binary(max_size=200))
def test_anything_else_is_refused(content: bytes) -> None:
    for start in (b"", START, START + b"a\0\x04top\0"):
        with suppress(FileFormatError):
            BitFile.parse(start + content)
    if not content.startswith(START):
        with pytest.raises(FileFormatError, match=r"no \.bit file of Vivado"):
            BitFile.parse(content)


def test_a_word_of_synchronisation_between_words_is_none() -> None:
    content = bit_file().replace(bytes.fromhex("aa995566"), bytes.fromhex("00aa9955"))
    with pytest.raises(FileFormatError, match="no configuration for a chip of the 7 series"):
        BitFile.parse(content)


def test_chips_but_not_their_revisions_differ() -> None:
    assert same_chip(0x2 << 28 | CHIP, CHIP)
    assert not same_chip(OTHER_CHIP, CHIP)
    # The upper bits of Lattice's tell chips apart.
    assert not same_chip(0x41111043, 0x21111043)


def test_an_image_is_read(tmp_path: Path) -> None:
    path = make_image(tmp_path, clock=100_000_000)
    files = ImageFiles.read(path)
    assert (files.path, files.image, files.clock) == (path, IMAGE, 100e6)
    assert files.bits.idcode == CHIP


@pytest.mark.parametrize(("what", "old", "new", "message"), [
    ("hwh", "7z020", "7z010", "for 7z010clg400, the bitstream beside it is for 7z020clg400"),
    ("hwh", spec_digest(), "f" * 64, "built for spec ffffffffffffffff, this is spec"),
    ("hwh", 'INSTANCE="substrate"', 'INSTANCE="other"', "no module has INSTANCE substrate"),
    ("hwh", '"LANES" VALUE="8"', '"LANES" VALUE="9"', "lanes must be a power of two"),
    ("hwh", '"LANES"', '"NIX"', "'LANES' is missing"),
    ("hwh", 'FREQMHZ" VALUE="125"', 'FREQMHZ" VALUE="0"', "must be between 1 and 1000, not 0"),
    ("hwh", 'FREQMHZ" VALUE="125"', 'FREQMHZ" VALUE="nan"', "must be between 1 and 1000"),
    ("hwh", "</EDKSYSTEM>", "", "no element found"),
    ("bit", "7z020clg400", "7z010clg400", "for 7z020clg400, the bitstream beside it is for 7z010"),
])
def test_files_that_do_not_agree_are_refused(tmp_path: Path, what: str, old: str, new: str,
                                             message: str) -> None:
    path = make_image(tmp_path)
    changed = path.with_suffix(f".{what}")
    before = changed.read_bytes()
    changed.write_bytes(before.replace(old.encode(), new.encode()))
    assert changed.read_bytes() != before
    with pytest.raises(FileFormatError, match=message):
        ImageFiles.read(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"image must be a \.bit file, and there is no .*nix\.bit"):
        ImageFiles.read(tmp_path / "nix.bit")
    path = make_image(tmp_path)
    path.with_suffix(".hwh").unlink()
    with pytest.raises(FileFormatError, match=r"pynq-z2\.hwh is missing, which says"):
        ImageFiles.read(path)

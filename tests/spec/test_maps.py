"""Canonical JSON, the spec digest, the address map, instructions and the frame constants."""

import binascii
import hashlib
import json
import re
import string
import struct
from dataclasses import replace
from typing import Any

import pytest

from pbitstream.errors import SpecError
from pbitstream.spec import (
    canonical_json,
    digest,
    frames,
    image,
    instructions,
    noise,
    registers,
    sigmoid,
    spec_dict,
    spec_digest,
    spec_register,
    words,
)
from pbitstream.spec.fixed import Format
from pbitstream.spec.image import Image


def test_canonical_json() -> None:
    assert canonical_json({"b": [1, 2], "a": "é"}) == b'{"a":"\\u00e9","b":[1,2]}'
    assert canonical_json({"x": (1,)}) == canonical_json({"x": [1]})


def test_spec_is_integers_strings_and_lists() -> None:
    def check(item: Any) -> None:
        if isinstance(item, dict):
            assert all(isinstance(key, str) for key in item)
            for value in item.values():
                check(value)
        elif isinstance(item, (list, tuple)):
            for value in item:
                check(value)
        else:
            assert isinstance(item, (int, str))
            assert not isinstance(item, bool)

    check(spec_dict())
    assert json.loads(canonical_json(spec_dict())) == json.loads(json.dumps(spec_dict()))


def test_digest_is_stable_and_of_the_canonical_form() -> None:
    assert spec_digest() == spec_digest()
    assert spec_digest() == hashlib.sha256(canonical_json(spec_dict())).hexdigest()
    assert set(spec_digest()) <= set(string.hexdigits.lower())
    assert spec_register() == struct.unpack("<Q", bytes.fromhex(spec_digest())[:8])[0]


@pytest.mark.parametrize(("module", "name", "value"), [
    (words, "STATE", Format("state", 25, 20)),
    (words, "STATE", Format("state", 24, 19)),
    (words, "K2", replace(words.K2, signed=True)),
    (words, "FACTOR_LIMIT", 512),
    (words, "SPIN", 4095),
    (words, "FIELD_FRACTIONS", (16, 20)),
    (words, "DT_SHIFTS", range(0, 8)),
    (words, "MAX_RANK", 65),
    (noise, "GOLDEN", 1),
    (noise, "XORSHIFT", (13, 7, 18)),
    (noise, "MIX_SHIFTS", (30, 27, 32)),
    (noise, "MIX_MULTIPLIERS", (3, 5)),
    (noise, "NOISE_GAINS", range(4096, 8193)),
    (noise, "NOISE_SHIFTS", range(3, 23)),
    (noise, "STREAMS", 64),
    (sigmoid, "THRESHOLD_DIGEST", "0" * 64),
    (registers, "MAGIC", 1),
    (registers, "UNMAPPED", 0),
    (registers, "REGISTERS", registers.REGISTERS[1:]),
    (registers, "WINDOWS", registers.WINDOWS[1:]),
    (registers, "WINDOWS", (replace(registers.WINDOWS[0], size=4), *registers.WINDOWS[1:])),
    (registers, "CONTROL", registers.CONTROL[::-1]),
    (registers, "STATUS", registers.STATUS[::-1]),
    (registers, "OPTIONS", registers.OPTIONS[::-1]),
    (registers, "RESPONSE_CYCLES", 17),
    (registers, "BOARD_BYTES", 1 << 21),
    (image, "IMAGE_KINDS", image.IMAGE_KINDS[::-1]),
    (instructions, "KINDS", {**instructions.KINDS, "band": 0}),
    (instructions, "COPIES", {**instructions.COPIES, "old": 2}),
    (instructions, "COMMON", dict(reversed(instructions.COMMON.items()))),
    (instructions, "COMMON", {**instructions.COMMON, "wait": 13}),
    (instructions, "KIND_FIELDS", {**instructions.KIND_FIELDS, "band": {"rotate": 8}}),
    (instructions, "KIND_FIELDS", {
        kind: dict(reversed(fields.items())) for kind, fields in instructions.KIND_FIELDS.items()}),
    (instructions, "SIGNED", ()),
    (instructions, "COUNTED", ("rows", "count")),
    (instructions, "MODULE", dict(reversed(instructions.MODULE.items()))),
    (frames, "MAX_PAYLOAD", 512),
    (frames, "OPERATIONS", {"read": 1}),
    (frames, "ERRORS", {"sequence": 1}),
    (frames, "DETAIL", frames.DETAIL[::-1]),
    (frames, "SESSION_BITS", 11),
    (frames, "BAUDS", frames.BAUDS[::-1]),
    (frames, "HEADER", frames.HEADER[::-1]),
    (frames, "CRC", {**frames.CRC, "initial": 0}),
    (digest, "NUMERICS", 2),
])
def test_digest_sees_every_number(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, value: Any
) -> None:
    before = canonical_json(spec_dict())
    monkeypatch.setattr(module, name, value)
    assert canonical_json(spec_dict()) != before


def test_registers_do_not_overlap() -> None:
    taken: dict[int, str] = {}
    for register in registers.REGISTERS:
        assert register.address % 4 == 0
        assert register.words >= 1
        assert register.access in ("r", "rw", "w", "rs")
        assert register.text
        for word in range(register.words):
            address = register.address + 4 * word
            assert address not in taken, (register.name, taken.get(address))
            taken[address] = register.name
    names = [register.name for register in registers.REGISTERS]
    assert len(set(names)) == len(names)
    first = registers.REGISTERS[0]
    assert (first.name, first.address) == ("magic", 0)
    assert registers.MAGIC.to_bytes(4, "little") == b"PBIT"
    by_name = {register.name: register for register in registers.REGISTERS}
    sizes = {name: by_name[name].words for name in ("clips", "spec_digest", "seed")}
    assert sizes == {"clips": 5, "spec_digest": 2, "seed": 2}


def test_windows_do_not_overlap() -> None:
    end = max(r.address + 4 * r.words for r in registers.REGISTERS)
    for window in registers.WINDOWS:
        assert window.address >= end, window.name
        # A window is a power of two long and aligned to that, so that an address splits into bits.
        assert window.size & (window.size - 1) == 0
        assert window.address % window.size == 0
        assert window.access in ("shadow", "page", "readout")
        assert window.text
        end = window.address + window.size
    assert end <= registers.BOARD_BYTES
    names = [window.name for window in registers.WINDOWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("largest", [
    Image(lanes=4, max_units=4096, max_rank_words=1 << 14, max_instructions=2048, max_gains=1024),
    Image(lanes=16, max_units=4096, max_rank_words=1 << 14, max_instructions=2048, max_gains=1024),
    Image(lanes=128, max_units=4096, max_rank_words=1 << 11, max_instructions=2048,
          max_gains=1024),
])
def test_windows_hold_the_largest_images(largest: Image) -> None:
    sizes = {window.name: window.size for window in registers.WINDOWS}
    words = largest.window_words()
    assert words.keys() == sizes.keys()
    for name, count in words.items():
        assert 4 * count <= sizes[name], name
        assert count & (count - 1) == 0, name


@pytest.mark.parametrize(("changes", "message"), [
    ({"lanes": 12}, "lanes must be a power of two between 2 and 128, not 12"),
    ({"lanes": 256}, "lanes must be a power of two between 2 and 128, not 256"),
    ({"lanes": 2}, "max_units must be a power of two between 4 and 2048, not 4096"),
    ({"max_units": 8}, "max_units must be a power of two between 16 and 4096, not 8"),
    ({"lanes": 128, "max_rank_words": 4096},
     "max_rank_words must be a power of two between 2 and 2048, not 4096"),
    ({"max_modules": 128}, "max_modules must be a power of two between 2 and 64, not 128"),
    ({"max_instructions": 4096},
     "max_instructions must be a power of two between 2 and 2048, not 4096"),
    ({"max_gains": 3}, "max_gains must be a power of two between 2 and 1024, not 3"),
    ({"kinds": ("band",)}, "kinds must be some of langevin, pbit, low-rank, band, with langevin"),
])
def test_images_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        Image(**{"lanes": 8, "max_units": 4096, "max_rank_words": 1024, **changes})


def test_an_image_counts() -> None:
    made = Image(lanes=128, max_units=2048, max_rank_words=512, kinds=("pbit", "band"))
    assert (made.pipes, made.rows, made.kinds_code) == (2, 16, 0b1010)
    assert Image(lanes=8, max_units=64, max_rank_words=64).pipes == 1


def test_fields_fit_their_words() -> None:
    assert sum(instructions.COMMON.values()) <= 64
    for fields in instructions.KIND_FIELDS.values():
        assert sum(fields.values()) <= 64
        assert not set(fields) & set(instructions.COMMON)
    assert sum(instructions.MODULE.values()) <= 64
    # Counts that an instruction names are those of the largest image.
    assert 1 << instructions.COMMON["table"] == 1 << 14
    assert 1 << instructions.KIND_FIELDS["update"]["dim"] > words.MAX_BOARD_DIM
    assert 1 << instructions.KIND_FIELDS["project"]["count"] == words.MAX_RANK


@pytest.mark.parametrize(("kind", "values"), [
    ("project", {"count": 64, "gain": 1023, "result": 2047, "shift_z": 22, "shift_u": 30}),
    ("expand", {"count": 1, "result": 5, "wait_results": 4095}),
    ("band", {"rotate": 127}),
    ("update", {"module": 63, "dim": 4096, "group": 2047, "init": 1, "last": 1}),
])
def test_instructions_round_trip(kind: str, values: dict[str, int]) -> None:
    common = {"copy": 2, "clear": 1, "wait": -2048, "table": 16383, "row": 1023, "rows": 1024}
    word = instructions.encode(kind, **common, **values)
    assert word < 1 << 128
    decoded = instructions.decode(word)
    assert decoded.kind == kind
    assert dict(decoded) == common | values


@pytest.mark.parametrize(("values", "message"), [
    ({"count": 65}, "count must be between 1 and 64, not 65"),
    ({"count": 0}, "count must be between 1 and 64, not 0"),
    ({"wait": 2048}, "wait must be between -2048 and 2047, not 2048"),
    ({"row": -1}, "row must be between 0 and 1023, not -1"),
    ({"dim": 3}, "field must be one of count, gain, result, shift_z, shift_u, not dim"),
])
def test_encode_names_the_field(values: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        instructions.encode("project", **values)


def test_frame_constants() -> None:
    assert frames.HEADER == (("seq", 8), ("op", 8), ("addr", 32), ("count", 16))
    assert struct.calcsize(frames.HEADER_STRUCT) * 8 == sum(bits for _, bits in frames.HEADER)
    assert (frames.MAX_PAYLOAD, frames.DELIMITER) == (1024, 0)
    assert frames.OPERATIONS == {
        "read": 1, "write": 2, "reply": 3, "error": 4, "open": 5, "baud": 6}
    assert (frames.ADDRESS_BITS, frames.SESSION_BITS) == (20, 12)
    assert frames.BUFFER_WORDS * 4 > frames.MAX_PAYLOAD
    assert frames.WINDOW < 1 << dict(frames.HEADER)["seq"] - 1


def test_crc_is_the_one_of_the_standard_library() -> None:
    crc = frames.CRC
    assert (crc["width"], crc["reflect_input"], crc["reflect_output"]) == (32, 1, 1)
    for data in (b"", b"123456789", bytes(range(256))):
        register = crc["initial"]
        for byte in data:
            register ^= int(f"{byte:08b}"[::-1], 2) << 24
            for _ in range(8):
                top = register >> 31
                register = (register << 1 & 0xFFFFFFFF) ^ (crc["polynomial"] if top else 0)
        assert int(f"{register:032b}"[::-1], 2) ^ crc["xor_output"] == binascii.crc32(data)

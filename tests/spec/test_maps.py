"""Canonical JSON, the spec digest, the register map and the frame constants."""

import binascii
import hashlib
import json
import string
import struct
from dataclasses import replace
from typing import Any

import pytest

from pbitstream.spec import (
    canonical_json,
    digest,
    frames,
    noise,
    registers,
    sigmoid,
    spec_dict,
    spec_digest,
    spec_register,
    words,
)
from pbitstream.spec.fixed import Format


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
    (frames, "MAX_PAYLOAD", 512),
    (frames, "OPERATIONS", {"read": 1}),
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


def test_frame_constants() -> None:
    assert frames.HEADER == (("seq", 8), ("op", 8), ("addr", 32), ("count", 16))
    assert struct.calcsize(frames.HEADER_STRUCT) * 8 == sum(bits for _, bits in frames.HEADER)
    assert (frames.MAX_PAYLOAD, frames.DELIMITER) == (1024, 0)
    assert frames.OPERATIONS == {"read": 1, "write": 2, "reply": 3, "error": 4}


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

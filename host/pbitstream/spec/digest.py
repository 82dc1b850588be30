"""The canonical JSON of the spec and its digest, which programs, images and boards carry."""

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from pbitstream.spec import (
    fixed,
    frames,
    image,
    instructions,
    noise,
    registers,
    sigmoid,
    words,
)

__all__ = ["NUMERICS", "canonical_json", "spec_dict", "spec_digest", "spec_register"]

#: Version of the update equations and rounding orders, which no table of numbers can hold.
NUMERICS = 1


def canonical_json(data: Any) -> bytes:
    """Return JSON with sorted keys and no spaces, as bytes."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def spec_dict() -> dict[str, Any]:
    """Return every number of the spec as integers, strings, lists and objects.

    Cycles and stages (`timing`) are left out: a board of another pace computes the same bits.
    """
    return {
        "numerics": NUMERICS,
        "formats": {
            name: {**asdict(word), "signed": int(word.signed)}
            for name, word in vars(words).items()
            if isinstance(word, fixed.Format)
        },
        "limits": {
            name: [value[0], value[-1]] if isinstance(value, range) else value
            for name, value in vars(words).items()
            if name.isupper() and isinstance(value, int | range | tuple)
        },
        "noise": {
            "streams": noise.STREAMS,
            "fields": [noise.FIELDS, noise.FIELD_BITS],
            "xorshift": noise.XORSHIFT,
            "golden": noise.GOLDEN,
            "mix_shifts": noise.MIX_SHIFTS,
            "mix_multipliers": noise.MIX_MULTIPLIERS,
            "mean": noise.NOISE_MEAN,
            "gains": [noise.NOISE_GAINS[0], noise.NOISE_GAINS[-1]],
            "shifts": [noise.NOISE_SHIFTS[0], noise.NOISE_SHIFTS[-1]],
        },
        "sigmoid": sigmoid.THRESHOLD_DIGEST,
        "registers": [[r.name, r.address, r.words, r.access] for r in registers.REGISTERS],
        "other_page": registers.OTHER_PAGE,
        "windows": [[w.name, w.address, w.size, w.access] for w in registers.WINDOWS],
        "bits": {
            "control": registers.CONTROL,
            "status": registers.STATUS,
            "options": registers.OPTIONS,
            "kinds": image.IMAGE_KINDS,
        },
        "magic": registers.MAGIC,
        "unmapped": registers.UNMAPPED,
        "response_cycles": registers.RESPONSE_CYCLES,
        "board_bytes": registers.BOARD_BYTES,
        # Fields stand in lists: their order is where their bits are.
        "instructions": {
            "kinds": instructions.KINDS,
            "copies": instructions.COPIES,
            "common": list(instructions.COMMON.items()),
            "of": {k: list(fields.items()) for k, fields in instructions.KIND_FIELDS.items()},
            "signed": instructions.SIGNED,
            "counted": instructions.COUNTED,
            "module": list(instructions.MODULE.items()),
        },
        "frames": {
            "header": frames.HEADER,
            "max_payload": frames.MAX_PAYLOAD,
            "delimiter": frames.DELIMITER,
            "operations": frames.OPERATIONS,
            "errors": frames.ERRORS,
            "detail": frames.DETAIL,
            "session_bits": frames.SESSION_BITS,
            "bauds": frames.BAUDS,
            "crc": frames.CRC,
        },
    }


@lru_cache(maxsize=1)
def spec_digest() -> str:
    """Return the SHA-256 of the canonical JSON of the spec, in hex."""
    return hashlib.sha256(canonical_json(spec_dict())).hexdigest()


def spec_register() -> int:
    """Return the first 8 bytes of the digest as the little-endian integer that boards show."""
    return int.from_bytes(bytes.fromhex(spec_digest())[:8], "little")

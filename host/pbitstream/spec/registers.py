"""The register map of a board, as plain data; host driver and gateware are generated from it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["MAGIC", "REGISTERS", "UNMAPPED", "Register"]

#: Content of the first register: "PBIT" in ASCII, read as a little-endian word.
MAGIC = 0x54494250
#: What a read of an address without a register returns.
UNMAPPED = 0xDEADC0DE


@dataclass(frozen=True)
class Register:
    """A named run of 32-bit words at a byte address.

    `access` is r (read), rw, w (write pulse: reads as 0) or rs (sticky: a write of ones clears).
    """

    name: str
    address: int
    words: int
    access: Literal["r", "rw", "w", "rs"]
    text: str


REGISTERS = (
    Register("magic", 0x000, 1, "r", "MAGIC"),
    Register("spec_digest", 0x004, 2, "r", "first 8 bytes of the spec digest, little-endian"),
    Register("lanes", 0x010, 1, "r", "multipliers that work in parallel"),
    Register("max_units", 0x014, 1, "r", "units that a program may have"),
    Register("max_rank_words", 0x018, 1, "r", "factor words per lane that a program may have"),
    Register("kinds", 0x01C, 1, "r", "bit 0 langevin, 1 pbit, 2 low-rank, 3 band"),
    Register("control", 0x020, 1, "w", "bit 0 start, 1 stop, 2 reset"),
    Register("status", 0x024, 1, "r", "bit 0 busy, 1 a table switch is pending, 2 refused"),
    Register("steps", 0x028, 1, "rw", "averaged steps of the next relaxation"),
    Register("burn_in", 0x02C, 1, "rw", "discarded steps before them"),
    Register("seed", 0x030, 2, "rw", "seed of the noise streams"),
    Register("chain", 0x038, 1, "rw", "global index of the chain"),
    Register("options", 0x03C, 1, "rw", "bit 0 second moments, 1 keep the state"),
    Register("commit", 0x040, 1, "w", "CRC-32 of the shadow tables: switches if it matches"),
    Register("clips", 0x044, 5, "rs", "projection, gain, stiffness, state, field"),
    Register("link_errors", 0x058, 1, "rs", "frames dropped for a bad CRC or length"),
)

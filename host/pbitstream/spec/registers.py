"""The address map of a board, as plain data; host driver and gateware are generated from it.

Byte addresses, 32-bit little-endian words. Below `WINDOWS` stand the registers. A window shows a
memory: *shadow* windows are the tables of the next program, which a write to ``commit`` makes
active; *page* windows are the next input, which a start makes active; *readout* windows are the
state, which a board shows and takes, and the sums, which it shows.

Readout windows have two pages, so that one relaxation is read while the next one runs. A start
turns them unless asked not to, and the relaxation works in the page that it turned to. The
addresses below are that page's, while nothing runs; with `OTHER_PAGE` added they are the other
page's, at any time.

Every write may be made again with the same effect but those to ``control`` and ``commit``: a link
that repeats a request answers the copy from what it answered before, and does not pass it on.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "BOARD_BYTES",
    "CONTROL",
    "MAGIC",
    "OPTIONS",
    "OTHER_PAGE",
    "REGISTERS",
    "RESPONSE_CYCLES",
    "STATUS",
    "UNMAPPED",
    "WINDOWS",
    "Register",
    "Window",
]

#: Content of the first register: "PBIT" in ASCII, read as a little-endian word.
MAGIC = 0x54494250
#: What a read returns of an address without a register, and of a window that is not readable now.
UNMAPPED = 0xDEADC0DE
#: A board answers every request within so many cycles of its clock.
RESPONSE_CYCLES = 16
#: Bytes of the whole map.
BOARD_BYTES = 1 << 20

#: Added to an address of a readout window: the page in which nothing runs.
OTHER_PAGE = 0x40000

#: Bits of the register `control`, from bit 0: each is a pulse.
CONTROL = ("start", "stop", "reset")
#: Bits of `status`: a relaxation or a table check runs; a table switch is pending; the last start
#: or table switch was refused.
STATUS = ("busy", "pending", "refused")
#: Bits of `options`: sum squares; go on from the stored state; keep the page of the input; keep the
#: page of the readout.
OPTIONS = ("moments", "keep_state", "keep_page", "keep_readout")


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


@dataclass(frozen=True)
class Window:
    """A named memory from a byte address on; how far it reaches is the image's to say."""

    name: str
    address: int
    size: int
    access: Literal["shadow", "page", "readout"]
    text: str


REGISTERS = (
    Register("magic", 0x000, 1, "r", "MAGIC"),
    Register("spec_digest", 0x004, 2, "r", "first 8 bytes of the spec digest, little-endian"),
    Register("lanes", 0x010, 1, "r", "multipliers that work in parallel"),
    Register("max_units", 0x014, 1, "r", "units that a program may have"),
    Register("max_rank_words", 0x018, 1, "r", "factor words per lane that a program may have"),
    Register("kinds", 0x01C, 1, "r", "what it computes, bits in the order of IMAGE_KINDS"),
    Register("control", 0x020, 1, "w", "bits of CONTROL"),
    Register("status", 0x024, 1, "r", "bits of STATUS"),
    Register("steps", 0x028, 1, "rw", "averaged steps of the next relaxation, 1 to 2^24 - 1"),
    Register("burn_in", 0x02C, 1, "rw", "discarded steps before them, 0 to 2^24 - 1"),
    Register("seed", 0x030, 2, "rw", "seed of the noise streams"),
    Register("chain", 0x038, 1, "rw", "global index of the chain"),
    Register("options", 0x03C, 1, "rw", "bits of OPTIONS"),
    Register("commit", 0x040, 1, "w", "CRC-32 of the shadow tables: switches if it matches"),
    Register("clips", 0x044, 5, "r",
             "of the last relaxation: projection, gain, stiffness, state, field"),
    Register("link_errors", 0x058, 1, "rs", "frames dropped for a bad CRC or length"),
    Register("spin_rows", 0x05C, 1, "rw", "rows of 128 p-bits that need a reset spin, 0 to 32"),
    Register("max_modules", 0x060, 1, "r", "modules that a program may have"),
    Register("max_instructions", 0x064, 1, "r", "instructions that a program may have"),
    Register("max_gains", 0x068, 1, "r", "gains S that a program may have"),
    Register("cycles", 0x070, 2, "r", "clock cycles of the relaxation, counted while it runs"),
    Register("multiplying", 0x078, 2, "r", "of these, cycles in which every lane multiplied"),
)

#: In the order of their addresses; ``commit`` checks the shadow windows in this order.
WINDOWS = (
    Window("noise", 0x01000, 0x00400, "readout", "128 stream words of 64 bits"),
    Window("gains", 0x02000, 0x01000, "page", "S, one s16 per word"),
    Window("modules", 0x03000, 0x00200, "shadow", "64 bits per module: see instructions.MODULE"),
    Window("biases", 0x04000, 0x02000, "page", "h or clamp, s16 per slot, two per word"),
    Window("states", 0x08000, 0x04000, "readout", "x24 or m, one slot per word"),
    Window("stiffness", 0x0C000, 0x04000, "shadow", "k2 and k4 << 16, one slot per word"),
    Window("sums", 0x10000, 0x08000, "readout", "s40 in 64 bits per slot"),
    Window("squares", 0x18000, 0x08000, "readout", "u56 in 64 bits per slot"),
    Window("instructions", 0x20000, 0x08000, "shadow", "128 bits each: see instructions"),
    Window("tables", 0x80000, 0x80000, "shadow", "s16 per lane, lanes in order, two per word"),
)

"""The serial link between host and board, as plain data: frames, sessions, credits, rates.

A frame on the wire is ``COBS(header, payload, CRC) 00``. The header and the CRC are little-endian;
the CRC covers header and payload. A receiver drops a frame whose CRC is wrong, whose length is not
a multiple of 4, or whose payload does not have `count` bytes (a read, which has none, says with
`count` how many it wants). The delimiter that ends a frame begins the next one, so that after any
garbage the first whole frame is received.

The host asks and the board answers, once per request and in their order:

- `open` begins the session that `addr` names in its upper bits; the `seq` after its own is the
  first. The session that is open already goes on instead. The reply's payload is a detail with the
  credit.
- `read` and `write` move whole words at a byte address, `count` of 4 to `MAX_PAYLOAD`.
- `baud` changes the rate of the line to entry `addr` of `BAUDS`, after its reply.

The answer repeats `seq` and `addr`. It is a `reply`, or an `error` whose payload is a detail with a
code of `ERRORS`. A detail is a word of `DETAIL`: a number, and the `seq` that the board expects
next. What is refused has no effect and is still expected.

Requests carry consecutive `seq`; a board executes the one that it expects and no other, so several
may be under way, and after a fault the host sends again from the first that is not answered. The
one before, which the board executed last, is answered again without being executed; reads have no
effect, so theirs are read anew. A reply says that all before it were executed too. Requests of
another session are refused: a board that was reset, or that somebody else has opened, is noticed.

Credit: a request takes `FRAME_WORDS` words and those of its payload in the board's buffer until it
is answered. A host that never has more words under way than its credit never overruns the board; a
frame that finds no room is dropped whole.
"""

from pbitstream.spec.registers import BOARD_BYTES

__all__ = [
    "ADDRESS_BITS",
    "BAUDS",
    "BUFFER_WORDS",
    "CRC",
    "CRC_BYTES",
    "DELIMITER",
    "DETAIL",
    "ERRORS",
    "FRAME_WORDS",
    "HEADER",
    "HEADER_STRUCT",
    "MAX_PAYLOAD",
    "OPERATIONS",
    "SESSION_BITS",
    "WINDOW",
]

#: Fields of the header with their bits, in wire order.
HEADER = (("seq", 8), ("op", 8), ("addr", 32), ("count", 16))
#: The same for the standard library's `struct`.
HEADER_STRUCT = "<BBIH"
MAX_PAYLOAD = 1024
DELIMITER = 0
OPERATIONS = {"read": 1, "write": 2, "reply": 3, "error": 4, "open": 5, "baud": 6}
#: Why a request was refused: its seq is not the one expected; another session or none is open; no
#: such operation; a count that is 0, not of whole words or too long; an address that is not a
#: word's, or words beyond the map; no such rate.
ERRORS = {"sequence": 1, "session": 2, "operation": 3, "count": 4, "address": 5, "baud": 6}
#: Fields of a detail with their bits, from bit 0; the rest is 0.
DETAIL = (("number", 16), ("expected", 8))
#: Low bits of `addr` that are the byte address, and those above, which are the session.
ADDRESS_BITS = (BOARD_BYTES - 1).bit_length()
SESSION_BITS = dict(HEADER)["addr"] - ADDRESS_BITS
#: Rates in bits per second, 8N1; the first is that of a board after its reset.
BAUDS = (115_200, 230_400, 460_800, 921_600, 1_000_000, 1_500_000, 2_000_000, 3_000_000)
#: CRC-32/ISO-HDLC by its catalogue parameters; `zlib.crc32` computes it.
CRC = {
    "width": 32,
    "polynomial": 0x04C11DB7,
    "initial": 0xFFFFFFFF,
    "reflect_input": 1,
    "reflect_output": 1,
    "xor_output": 0xFFFFFFFF,
}
CRC_BYTES = CRC["width"] // 8

#: Words of a request in the board's buffer besides its payload.
FRAME_WORDS = 2
#: Words of that buffer, the credit: seven of the longest requests, so that at the highest rate the
#: line stays busy while an adapter holds answers back for 16 ms, as many do.
BUFFER_WORDS = 2048
#: Requests under way at most: far fewer than `seq` can tell apart.
WINDOW = 64

"""The frame of the serial link, as plain data.

A frame on the wire is ``COBS(header, payload, CRC) 00``. The header and the CRC are little-endian;
the CRC covers header and payload. Every request is idempotent and is answered with its `seq`.
"""

__all__ = ["CRC", "DELIMITER", "HEADER", "HEADER_STRUCT", "MAX_PAYLOAD", "OPERATIONS"]

#: Fields of the header with their bits, in wire order; `count` is the payload length in bytes.
HEADER = (("seq", 8), ("op", 8), ("addr", 32), ("count", 16))
#: The same for the standard library's `struct`.
HEADER_STRUCT = "<BBIH"
MAX_PAYLOAD = 1024
DELIMITER = 0
OPERATIONS = {"read": 1, "write": 2, "reply": 3, "error": 4}
#: CRC-32/ISO-HDLC by its catalogue parameters; `zlib.crc32` computes it.
CRC = {
    "width": 32,
    "polynomial": 0x04C11DB7,
    "initial": 0xFFFFFFFF,
    "reflect_input": 1,
    "reflect_output": 1,
    "xor_output": 0xFFFFFFFF,
}

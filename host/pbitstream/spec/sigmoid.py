"""The threshold table of a p-bit, built from decimal arithmetic so that it has one value only."""

import hashlib
from decimal import Context, Decimal
from functools import lru_cache

__all__ = [
    "THRESHOLDS",
    "THRESHOLD_BITS",
    "THRESHOLD_DIGEST",
    "THRESHOLD_STEP_BITS",
    "sigmoid_table",
    "table_digest",
]

#: Entries of the table, and the bits of the 16-bit comparison.
THRESHOLDS = 1024
THRESHOLD_BITS = 16
#: One entry is a step of 2^-7 in beta * (h + f).
THRESHOLD_STEP_BITS = 7
#: SHA-256 of the table as little-endian 16-bit words.
THRESHOLD_DIGEST = "80fa60ef0bfd8e18e203420ee829b5c127a65857e087f1b2540585a4e4a77fe4"


@lru_cache(maxsize=1)
def sigmoid_table() -> tuple[int, ...]:
    """Return ``T[j] = floor(65536 / (1 + exp(-2 j / 128)))`` for j = 0..1023.

    P(m = +1) is T[j] / 65536 at +j and 1 - T[j] / 65536 at -j: odd-symmetric, so there is no
    hidden magnetic field. T[0] = 32768 and T[1023] = 65535. Built with 40 decimal digits: libm
    differs between machines in its last bit, `decimal` does not.
    """
    context = Context(prec=40)
    one = Decimal(1)
    full = Decimal(1 << THRESHOLD_BITS)
    table = []
    for j in range(THRESHOLDS):
        exponential = context.exp(Decimal(-2 * j) / Decimal(1 << THRESHOLD_STEP_BITS))
        table.append(int(context.divide(full, context.add(one, exponential))))
    return tuple(table)


def table_digest(table: tuple[int, ...]) -> str:
    """Return the SHA-256 of a table of 16-bit words, little-endian, in hex."""
    return hashlib.sha256(b"".join(word.to_bytes(2, "little") for word in table)).hexdigest()

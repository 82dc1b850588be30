"""The threshold table against its definition, with another precision and other arithmetic."""

import hashlib
import itertools
import math
from decimal import Decimal, localcontext

from pbitstream.spec.sigmoid import THRESHOLD_DIGEST, sigmoid_table, table_digest


def test_table_is_its_definition() -> None:
    with localcontext() as context:
        context.prec = 70
        exact = [65536 / (1 + (Decimal(-2 * j) / 128).exp()) for j in range(1024)]
    assert sigmoid_table() == tuple(int(value) for value in exact)
    for j, threshold in enumerate(sigmoid_table()):
        assert abs(threshold + 0.5 - 32768 * (1 + math.tanh(j / 128))) <= 0.5 + 1e-9


def test_endpoints_and_order() -> None:
    table = sigmoid_table()
    assert len(table) == 1024
    assert (table[0], table[29], table[1023]) == (32768, 40067, 65535)
    assert list(table) == sorted(table)
    assert max(b - a for a, b in itertools.pairwise(table)) == 256


def test_digest_is_of_little_endian_words() -> None:
    words = b"".join(bytes((t & 255, t >> 8)) for t in sigmoid_table())
    assert table_digest(sigmoid_table()) == hashlib.sha256(words).hexdigest() == THRESHOLD_DIGEST
    flipped = (sigmoid_table()[0] ^ 1, *sigmoid_table()[1:])
    assert table_digest(flipped) != THRESHOLD_DIGEST

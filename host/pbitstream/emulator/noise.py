"""Noise streams of many chains at once; the twin of the gateware's noise block.

Arrays of `pbitstream.spec.noise`, in uint64 NumPy arithmetic that wraps as the spec asks.
"""

import numpy as np
from numpy.typing import NDArray

from pbitstream.spec.noise import (
    GOLDEN,
    MIX_MULTIPLIERS,
    MIX_SHIFTS,
    STREAMS,
    XORSHIFT,
    mix,
)

__all__ = ["advance", "mix_words", "reset_spins", "seed_streams"]

Words = NDArray[np.uint64]


def mix_words(words: Words) -> Words:
    """Return splitmix64's finaliser of every word."""
    a, b, c = (np.uint64(shift) for shift in MIX_SHIFTS)
    first, second = (np.uint64(multiplier) for multiplier in MIX_MULTIPLIERS)
    words = (words ^ (words >> a)) * first
    words = (words ^ (words >> b)) * second
    return words ^ (words >> c)


def seed_streams(seed: int, first_chain: int, chains: int) -> Words:
    """Return the first states of the streams of consecutive chains, (chains, 128)."""
    count = np.arange(STREAMS * chains, dtype=np.uint64) + np.uint64(1 + STREAMS * first_chain)
    words = mix_words(np.uint64(mix(seed)) + np.uint64(GOLDEN) * count)
    return np.where(words == 0, np.uint64(GOLDEN), words).reshape(chains, STREAMS)


def reset_spins(words: Words, dim: int) -> NDArray[np.int32]:
    """Return the spin bits of a p-bit module after a reset, (chains, dim)."""
    unit = np.arange(dim)
    rows = (unit // STREAMS).astype(np.uint64)
    bits = mix_words(words[:, unit % STREAMS] + rows) & np.uint64(1)
    return bits.astype(np.int32)


def advance(words: Words) -> Words:
    """Advance streams by one word in place and return the words."""
    left, right, left_again = (np.uint64(shift) for shift in XORSHIFT)
    words ^= words << left
    words ^= words >> right
    words ^= words << left_again
    return words

"""Noise words and codes against a second, bit-by-bit implementation."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import seeded
from pbitstream.emulator.noise import advance, mix_words, reset_spins, seed_streams
from pbitstream.errors import SpecError
from pbitstream.spec.noise import (
    NOISE_MEAN,
    NOISE_STD,
    fields,
    mix,
    noise_gain,
    noise_temperature,
    reset_spin,
    stream_state,
    xorshift64,
)

FULL = 2**64
words = st.integers(0, FULL - 1)


def bits_of(word: int) -> list[int]:
    return [word >> k & 1 for k in range(64)]


def xored(bits: list[int], shift: int) -> list[int]:
    """Return bits ^ (bits << shift); a negative shift goes right."""
    return [b ^ (bits[k - shift] if 0 <= k - shift < 64 else 0) for k, b in enumerate(bits)]


def number(bits: list[int]) -> int:
    return sum(bit << k for k, bit in enumerate(bits))


def slow_mix(z: int) -> int:
    z = number(xored(bits_of(z), -30)) * 0xBF58476D1CE4E5B9 % FULL
    z = number(xored(bits_of(z), -27)) * 0x94D049BB133111EB % FULL
    return number(xored(bits_of(z), -31))


@seeded(200)
@given(words)
def test_words(word: int) -> None:
    bits = bits_of(word)
    for shift in (13, -7, 17):
        bits = xored(bits, shift)
    assert xorshift64(word) == number(bits)
    assert mix(word) == slow_mix(word)
    assert sum(f << (16 * k) for k, f in enumerate(fields(word))) == word
    array = np.array([[word]], np.uint64)
    assert int(mix_words(array)[0, 0]) == mix(word)
    assert int(advance(array)[0, 0]) == int(array[0, 0]) == xorshift64(word)


def test_splitmix_reference_vector() -> None:
    # First output of the published splitmix64 from seed 0.
    assert mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


@seeded(60)
@given(words, st.integers(0, 2**32 - 3))
def test_seeds_of_streams(seed: int, chain: int) -> None:
    table = seed_streams(seed, chain, 3)
    assert table.shape == (3, 128)
    for row in range(3):
        for stream in (0, 1, 77, 127):
            index = 1 + 128 * (chain + row) + stream
            expected = slow_mix((slow_mix(seed) + 0x9E3779B97F4A7C15 * index) % FULL)
            assert stream_state(seed, chain + row, stream) == expected
            assert int(table[row, stream]) == expected


def test_a_stream_never_starts_at_zero() -> None:
    # mix is a bijection with mix(0) = 0, so this seed's stream 0 would be zero.
    inverse = unmix(-0x9E3779B97F4A7C15 % FULL)
    assert mix(inverse) == -0x9E3779B97F4A7C15 % FULL
    assert stream_state(inverse, 0, 0) == 0x9E3779B97F4A7C15
    assert int(seed_streams(inverse, 0, 1)[0, 0]) == 0x9E3779B97F4A7C15


def unmix(z: int) -> int:
    """Return the inverse of `mix`."""
    for shift, multiplier in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        y = z
        for _ in range(64 // shift + 1):
            y = z ^ (y >> shift)
        z = y * pow(multiplier, -1, FULL) % FULL
    return z


def test_seed_and_chain_outside_their_range_are_refused() -> None:
    for seed in (-1, FULL):
        with pytest.raises(SpecError, match=r"^seed must be between 0 and 2\^64 - 1, not"):
            stream_state(seed, 0, 0)
    for chain in (-1, 2**32):
        with pytest.raises(SpecError, match=r"^chain must be between 0 and 2\^32 - 1, not"):
            stream_state(0, chain, 0)


@seeded(50)
@given(words, st.integers(0, 40))
def test_reset_spins(word: int, row: int) -> None:
    assert reset_spin(word, row) == slow_mix((word + row) % FULL) & 1
    streams = np.array([[word, *range(1, 128)]], np.uint64)
    spins = reset_spins(streams, 128 * row + 1)
    assert spins[0, -1] == reset_spin(word, row)


def test_moments_of_the_sum_of_fields() -> None:
    # Four independent uniform integers below 2^16.
    assert NOISE_MEAN == 4 * 65535 / 2
    assert pytest.approx(math.sqrt(4 * (65536**2 - 1) / 12), rel=1e-15) == NOISE_STD


@seeded(200)
@given(st.floats(0, 4), st.integers(0, 8))
def test_noise_gain_is_its_definition(temperature: float, s: int) -> None:
    v = math.sqrt(2 * temperature * 2.0**-s) * 2**20 / math.sqrt((2**32 - 1) / 3)
    allowed = [q for q in range(4, 23) if math.floor(v * 2**q + 0.5) <= 8191]
    if not allowed:
        with pytest.raises(SpecError, match=r"^temperature must be at most .* at dt = 2\^-"):
            noise_gain(temperature, s)
        return
    gain, q = noise_gain(temperature, s)
    expected = math.floor(v * 2 ** max(allowed) + 0.5)
    assert gain == (0 if expected < 4096 else expected)
    if gain:
        assert q == max(allowed)
        # Half a code of G is at most 2^-13 of it, twice that in T.
        assert noise_temperature(gain, q, s) == pytest.approx(temperature, rel=2.0**-12)
        assert noise_gain(noise_temperature(gain, q, s), s) == (gain, q)


def test_noise_gain_of_zero_and_of_bad_temperatures() -> None:
    assert noise_gain(0.0, 3)[0] == 0
    assert noise_temperature(0, 22, 3) == 0.0
    for bad in (-1e-9, math.nan, math.inf):
        with pytest.raises(SpecError, match=r"^temperature must be finite and not negative, not"):
            noise_gain(bad, 3)
    hottest = noise_temperature(8191, 4, 3)
    assert noise_gain(hottest, 3) == (8191, 4)
    with pytest.raises(SpecError, match=re.escape(f"at most {hottest:g} at dt")):
        noise_gain(hottest * 1.001, 3)

"""Statistics of the noise words, and what seeding and the recurrence guarantee exactly."""

import numpy as np
import pytest
from scipy.stats import norm

from pbitstream.emulator.noise import advance, seed_streams
from pbitstream.spec.noise import (
    GOLDEN,
    MIX_MULTIPLIERS,
    MIX_SHIFTS,
    NOISE_MEAN,
    STREAMS,
    WORD_MASK,
    mix,
    stream_state,
    xorshift64,
)
from physics_reference import assert_within

SEED, CHAINS, LENGTH = 51, 2, 16384
#: Prime factors of 2^64 - 1.
PRIMES = (3, 5, 17, 257, 641, 65537, 6700417)


@pytest.fixture(scope="module")
def words():
    """Words of all streams of some chains, (length, chains * 128)."""
    state = seed_streams(SEED, 0, CHAINS)
    return np.array([advance(state).ravel().copy() for _ in range(LENGTH)])


@pytest.fixture(scope="module")
def gaussian(words):
    """The near-Gaussian integers n of Langevin updates, in units of their exact deviation."""
    n = sum(((words >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.int64) for i in range(4))
    return (n - NOISE_MEAN) / np.sqrt((2**32 - 1) / 3)


def bonferroni(count):
    """Return the bound, in standard errors, that one of `count` normals passes 1 in 10^6 times."""
    return float(norm.isf(0.5e-6 / count))


def test_moments_of_the_gaussian_sum(gaussian):
    size = gaussian.size
    assert_within(gaussian.mean(), 0, 1 / np.sqrt(size), seed=SEED, what="mean")
    # Four uniforms: kurtosis 3 - 6/20, so var(n^2) = 1.7, and var(n^3), var(n^4) alike.
    assert_within((gaussian**2).mean(), 1, np.sqrt(1.7 / size), seed=SEED, what="variance")
    for power, exact in ((3, 0.0), (4, 2.7)):
        values = gaussian**power
        assert_within(values.mean(), exact, values.std() / np.sqrt(size), seed=SEED,
                      what=f"moment {power}")
    per_stream = gaussian.mean(axis=0)
    assert_within(per_stream, 0, 1 / np.sqrt(LENGTH), seed=SEED, what="mean of stream ",
                  sigmas=bonferroni(len(per_stream)))


def test_fields_are_uniform_and_uncorrelated_within_a_word(words):
    fields = np.array([(words >> np.uint64(16 * i)) & np.uint64(0xFFFF) for i in range(4)])
    counts = np.array([np.bincount((f >> np.uint64(8)).ravel().astype(int), minlength=256)
                       for f in fields])
    expected = words.size / 256
    assert_within(counts, expected, np.sqrt(expected), seed=SEED, what="count of [field, value]",
                  sigmas=bonferroni(counts.size))
    centred = (fields.reshape(4, -1).astype(float) - 32767.5) / np.sqrt((2**32 - 1) / 12)
    correlation = centred @ centred.T / words.size
    assert_within(correlation[np.triu_indices(4, 1)], 0, 1 / np.sqrt(words.size), seed=SEED,
                  what="correlation of fields ")


def test_every_bit_is_balanced_and_forgets_itself(words):
    bits = np.array([((words >> np.uint64(i)) & np.uint64(1)).astype(np.int8) for i in range(64)])
    signs = 2 * bits - 1
    assert_within(signs.mean(axis=(1, 2)), 0, 1 / np.sqrt(words.size), seed=SEED, what="bit ")
    follow = np.array([(s[1:] * s[:-1]).mean() for s in signs])
    assert_within(follow, 0, 1 / np.sqrt(words[1:].size), seed=SEED, what="lag 1 of bit ")


def test_no_correlation_at_lags_one_to_thirty_two(gaussian):
    lags = range(1, 33)
    value = [(gaussian[lag:] * gaussian[:-lag]).mean() for lag in lags]
    error = [1 / np.sqrt(gaussian[lag:].size) for lag in lags]
    assert_within(value, 0, error, seed=SEED, what="correlation at lag - 1 = ")


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_streams_and_chains_are_uncorrelated(gaussian, lag):
    count = gaussian.shape[1]
    product = gaussian[lag:].T @ gaussian[: LENGTH - lag] / (LENGTH - lag)
    pairs = ~np.eye(count, dtype=bool)
    assert_within(product[pairs], 0, 1 / np.sqrt(LENGTH - lag), seed=SEED,
                  what=f"correlation of two streams at lag {lag}", sigmas=bonferroni(pairs.sum()))


def test_neighbouring_seeds_are_uncorrelated():
    # Signs of all 64 bits of the first words under seeds 0 to 999, correlated with the next seed's.
    first = np.array([advance(seed_streams(seed, 0, 1)).ravel() for seed in range(1000)])
    bits = np.unpackbits(first.view(np.uint8), axis=1) * 2.0 - 1
    value = (bits[1:] * bits[:-1]).mean()
    assert_within(value, 0, 1 / np.sqrt(bits[1:].size), seed="0 to 999", what="neighbouring seeds")


def unmix(z):
    """Return the word that `mix` turns into z."""
    a, b, c = MIX_SHIFTS

    def unshift(value, shift):
        result = value
        for _ in range(64 // shift + 1):
            result = value ^ (result >> shift)
        return result

    z = unshift(z, c)
    z = unshift(z * pow(MIX_MULTIPLIERS[1], -1, 1 << 64) & WORD_MASK, b)
    return unshift(z * pow(MIX_MULTIPLIERS[0], -1, 1 << 64) & WORD_MASK, a)


@pytest.mark.parametrize(("chain", "stream"), [(0, 0), (0, 127), (3, 64), (2**32 - 1, 1)])
def test_seeding_replaces_the_all_zero_state(chain, stream):
    # mix(0) = 0 and mix is a bijection, so exactly one seed zeroes a given stream.
    seed = unmix(-GOLDEN * (1 + STREAMS * chain + stream) & WORD_MASK)
    assert mix(mix(seed) + GOLDEN * (1 + STREAMS * chain + stream) & WORD_MASK) == 0
    assert stream_state(seed, chain, stream) == GOLDEN
    state = seed_streams(seed, chain, 1)
    assert state[0, stream] == GOLDEN
    assert (state != 0).all()


def test_the_recurrence_has_the_full_period_so_zero_is_never_reached():
    # Linear over GF(2): the images of the 64 single bits are the columns of its matrix M, and the
    # order of M is 2^64 - 1, so all nonzero states form one cycle.
    def apply(columns, vector):
        result = 0
        while vector:
            low = vector & -vector
            result ^= columns[low.bit_length() - 1]
            vector ^= low
        return result

    def power(columns, exponent):
        result, square = [1 << i for i in range(64)], columns
        while exponent:
            if exponent & 1:
                result = [apply(square, column) for column in result]
            square = [apply(square, column) for column in square]
            exponent >>= 1
        return result

    matrix = [xorshift64(1 << i) for i in range(64)]
    identity = [1 << i for i in range(64)]
    order = 2**64 - 1
    assert np.prod(np.array(PRIMES, object)) == order
    assert power(matrix, order) == identity
    for prime in PRIMES:
        assert power(matrix, order // prime) != identity
    assert xorshift64(0) == 0

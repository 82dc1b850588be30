"""The noise of the substrate: xorshift64 streams seeded by splitmix64's finaliser.

A chain owns `STREAMS` streams; unit i draws from stream i mod 128. A Langevin update turns one
64-bit word into one near-Gaussian integer (the sum of its four 16-bit fields), a p-bit update
compares one 16-bit field with a threshold.

References
----------
.. [1] G. Marsaglia, "Xorshift RNGs", J. Stat. Softw. 8(14), 2003 (triple 13, 7, 17).
.. [2] G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014.
"""

import math

from pbitstream.errors import SpecError
from pbitstream.spec.fixed import nearest
from pbitstream.spec.words import MAX_CHAINS

__all__ = [
    "FIELDS",
    "FIELD_BITS",
    "FIELD_MASK",
    "GOLDEN",
    "MIX_MULTIPLIERS",
    "MIX_SHIFTS",
    "NOISE_GAINS",
    "NOISE_MEAN",
    "NOISE_SHIFTS",
    "NOISE_STD",
    "STREAMS",
    "WORD_MASK",
    "XORSHIFT",
    "fields",
    "mix",
    "noise_gain",
    "noise_temperature",
    "reset_spin",
    "stream_state",
    "xorshift64",
]

STREAMS = 128
WORD_MASK = (1 << 64) - 1
#: Shifts of the recurrence: left, right, left.
XORSHIFT = (13, 7, 17)
GOLDEN = 0x9E3779B97F4A7C15
MIX_SHIFTS = (30, 27, 31)
MIX_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)

FIELDS = 4
FIELD_BITS = 16
FIELD_MASK = (1 << FIELD_BITS) - 1
#: Mean and standard deviation of the sum of the four fields.
NOISE_MEAN = 131070
NOISE_STD = math.sqrt(((1 << 32) - 1) / 3)
#: Codes of the noise gain G (0 as well: no noise), and of its shift q.
NOISE_GAINS = range(4096, 8192)
NOISE_SHIFTS = range(4, 23)


def mix(z: int) -> int:
    """Return splitmix64's finaliser of a 64-bit word [2]_."""
    a, b, c = MIX_SHIFTS
    z = ((z ^ (z >> a)) * MIX_MULTIPLIERS[0]) & WORD_MASK
    z = ((z ^ (z >> b)) * MIX_MULTIPLIERS[1]) & WORD_MASK
    return z ^ (z >> c)


def stream_state(seed: int, chain: int, stream: int) -> int:
    """Return the first state of a stream; never zero.

    ``mix(mix(seed) + GOLDEN (1 + 128 chain + stream))`` mod 2^64, with 0 replaced by GOLDEN.

    Parameters
    ----------
    seed
        0 to 2^64 - 1.
    chain
        Global chain index, 0 to 2^32 - 1: input number times chains plus chain.
    stream
        0 to 127.
    """
    if not 0 <= seed <= WORD_MASK:
        raise SpecError(f"seed must be between 0 and 2^64 - 1, not {seed}")
    if not 0 <= chain < MAX_CHAINS:
        raise SpecError(f"chain must be between 0 and 2^32 - 1, not {chain}")
    word = mix((mix(seed) + GOLDEN * (1 + STREAMS * chain + stream)) & WORD_MASK)
    return word or GOLDEN


def reset_spin(stream_word: int, row: int) -> int:
    """Return the spin bit (1 for m = +1) that a p-bit of `row` has after a reset."""
    return mix((stream_word + row) & WORD_MASK) & 1


def xorshift64(state: int) -> int:
    """Return the next state, which is also the next word [1]_."""
    left, right, left_again = XORSHIFT
    state ^= (state << left) & WORD_MASK
    state ^= state >> right
    return state ^ ((state << left_again) & WORD_MASK)


def fields(word: int) -> tuple[int, int, int, int]:
    """Split a word into its four 16-bit fields, lowest first."""
    first, second, third, fourth = (
        (word >> (FIELD_BITS * n)) & FIELD_MASK for n in range(FIELDS)
    )
    return first, second, third, fourth


def noise_gain(temperature: float, dt_shift: int) -> tuple[int, int]:
    """Return the codes (G, q) of the noise of a Langevin module.

    ``G 2^-q = sqrt(2 T dt) 2^20 / std`` with std the deviation of the four fields' sum and q as
    large as G <= 8191 allows. T = 0, and any T too small for a code, gives G = 0.

    Raises
    ------
    SpecError
        If `temperature` is negative, not finite, or above the range.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise SpecError(f"temperature must be finite and not negative, not {temperature}")
    v = math.sqrt(2 * temperature * 2.0**-dt_shift) * 2**20 / NOISE_STD
    for q in reversed(NOISE_SHIFTS):
        gain = nearest(v * 2**q)
        if gain < NOISE_GAINS.start:
            return 0, NOISE_SHIFTS[-1]
        if gain <= NOISE_GAINS[-1]:
            return gain, q
    highest = noise_temperature(NOISE_GAINS[-1], NOISE_SHIFTS[0], dt_shift)
    raise SpecError(f"temperature must be at most {highest:g} at dt = 2^-{dt_shift}, "
                    f"not {temperature:g}")


def noise_temperature(gain: int, shift: int, dt_shift: int) -> float:
    """Return the temperature that the codes (G, q) stand for; the inverse of `noise_gain`."""
    std = gain * 2.0**-shift * NOISE_STD / 2**20
    return std * std / 2 * 2.0**dt_shift

"""Rounding, saturation and formats against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import seeded
from pbitstream.compiler.quantise import codes
from pbitstream.errors import SpecError
from pbitstream.spec import words
from pbitstream.spec.fixed import Format, rhu, sat

FORMATS = [word for word in vars(words).values() if isinstance(word, Format)]
HALF = Fraction(1, 2)


@seeded(300)
@given(st.integers(-(1 << 60), 1 << 60), st.integers(0, 40))
def test_rhu_is_the_floor_of_the_quotient_and_a_half(value: int, shift: int) -> None:
    assert rhu(value, shift) == math.floor(Fraction(value, 1 << shift) + HALF)


@seeded(100)
@given(st.lists(st.integers(-(1 << 45), 1 << 45), min_size=1), st.integers(0, 40))
def test_rhu_of_an_array_is_elementwise(values: list[int], shift: int) -> None:
    assert rhu(np.array(values, np.int64), shift).tolist() == [rhu(v, shift) for v in values]


def test_rhu_rounds_halves_up_on_both_sides_of_zero() -> None:
    assert [rhu(v, 1) for v in (-3, -1, 1, 3)] == [-1, 0, 1, 2]
    assert [rhu(v, 2) for v in (-6, -2, 2, 6)] == [-1, 0, 1, 2]


@seeded(300)
@given(st.integers(), st.integers(1, 64))
def test_sat_clips_to_the_range(value: int, bits: int) -> None:
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    clipped = sat(value, bits)
    assert lowest <= clipped <= highest
    assert clipped == value or (clipped == lowest and value < lowest) or (
        clipped == highest and value > highest
    )


@pytest.mark.parametrize("word", FORMATS, ids=lambda word: word.name)
def test_every_code_of_a_word_survives_the_way_through_values(word: Format) -> None:
    span = np.unique(np.linspace(word.lowest, word.highest, 5001).astype(np.int64))
    for raw in (*span.tolist(), word.lowest, word.highest):
        assert word.raw(word.value(raw)) == raw
    np.testing.assert_array_equal(codes(span * word.value(1), word), span)


@pytest.mark.parametrize("word", FORMATS, ids=lambda word: word.name)
def test_words_refuse_what_lies_outside(word: Format) -> None:
    step = Fraction(word.value(1))
    for raw in (word.lowest - 1, word.highest + 1, word.highest + HALF):
        with pytest.raises(SpecError, match=f"^{word.name} must be between"):
            word.raw(float(raw * step))
        with pytest.raises(SpecError, match=f"^{word.name} must be between"):
            codes(np.array([0.0, float(raw * step)]), word)
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(SpecError, match=f"^{word.name} must be finite"):
            word.raw(bad)
        with pytest.raises(SpecError, match=f"^{word.name} must be finite"):
            codes(np.array([bad]), word)
    # A half below the lowest code still rounds up to it.
    assert word.raw(float((word.lowest - HALF) * step)) == word.lowest


@seeded(300)
@given(st.sampled_from(FORMATS), st.floats(-9, 9))
def test_raw_is_the_nearest_code(word: Format, value: float) -> None:
    exact = Fraction(value) * (1 << word.fraction)
    try:
        raw = word.raw(value)
    except SpecError:
        assert exact < word.lowest - HALF or exact >= word.highest + HALF
        return
    assert raw == math.floor(exact + HALF)
    assert codes(np.array([value]), word)[0] == raw


@pytest.mark.parametrize("value", [0.5 - 2.0**-54, 0.5, -0.5, -0.5 - 2.0**-53])
def test_raw_rounds_once(value: float) -> None:
    # Adding the half in float64 would round 0.49999999999999994 up to 1.
    word = Format("word", 16, 0)
    assert word.raw(value) == math.floor(Fraction(value) + HALF)
    assert codes(np.array([value]), word)[0] == math.floor(Fraction(value) + HALF)


def test_widths_of_numerics() -> None:
    table = {
        words.STATE: (24, 20, True), words.EXPOSED: (16, 12, True), words.BIAS: (16, 12, True),
        words.CLAMP: (16, 12, True), words.K2: (15, 10, False), words.K4: (15, 12, False),
        words.BETA: (16, 12, False), words.X2: (17, 10, False),
        words.PBIT_INPUT: (18, 10, True), words.FACTOR: (10, 9, True),
    }
    for word, (bits, fraction, signed) in table.items():
        assert (word.bits, word.fraction, word.signed) == (bits, fraction, signed)
    assert (words.STATE.lowest, words.STATE.highest) == (-(1 << 23), (1 << 23) - 1)
    assert (words.K2.lowest, words.K2.highest) == (0, 32767)
    assert words.FACTOR_LIMIT == 511
    assert words.FIELD_FRACTIONS == (16, 18, 20, 22)
    assert (next(iter(words.DT_SHIFTS)), list(words.DT_SHIFTS)[-1]) == (0, 8)
    assert (words.PROJECTION_SHIFTS[-1], words.GAIN_SHIFTS[-1]) == (22, 30)
    assert (words.SPIN, words.FIELD_LIMIT, words.COUNTER_BITS) == (4096, 2**31 - 1, 32)
    assert (words.MAX_STEPS, words.MAX_BURN_IN) == (2**24 - 1, 2**24 - 1)
    assert (words.SUM_BITS, words.SQUARE_BITS) == (40, 56)


def test_bounds_that_numerics_states() -> None:
    assert 128 * 32768 * words.FACTOR_LIMIT + 2 ** (words.PROJECTION_SHIFTS[-1] - 1) < 2**31
    assert 32768 * 32768 + 2 ** (words.GAIN_SHIFTS[-1] - 1) <= 1.5 * 2**30
    assert words.MAX_STEPS * 2 ** (words.EXPOSED.bits - 1) < 2 ** (words.SUM_BITS - 1)
    assert words.MAX_STEPS * 2 ** (2 * words.EXPOSED.bits - 2) < 2**words.SQUARE_BITS

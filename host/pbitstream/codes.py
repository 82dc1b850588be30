"""Arrays of values into arrays of fixed-point codes; the array form of `pbitstream.spec.Format`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from pbitstream.errors import SpecError
from pbitstream.spec.fixed import Format

__all__ = ["codes", "half_up"]

#: Values that are converted at a time: what is formed on the way stays near the processor.
CHUNK = 8192


def half_up(values: ArrayLike) -> NDArray[np.float64]:
    """Return float64 values rounded to whole numbers, halves up; exact below 2^52."""
    return _rounded(np.array(values, np.float64))


def codes(values: ArrayLike, word: Format, dtype: DTypeLike = np.int64) -> NDArray[Any]:
    """Return the codes of float values in a format, halves rounded up; SpecError outside it.

    Parameters
    ----------
    dtype
        Of the result; it holds every code of the format.
    """
    values = np.asarray(values, np.float64)
    flat, scale = values.reshape(-1), 2.0**word.fraction
    found = np.empty(flat.shape, dtype)
    lowest, highest = word.lowest, word.highest
    with np.errstate(invalid="ignore"):
        for start in range(0, len(flat), CHUNK):
            raw = _rounded(flat[start : start + CHUNK] * scale)
            # NaN is in no range.
            if not (lowest <= raw.min() and raw.max() <= highest):
                raise _outside(values, word)
            found[start : start + CHUNK] = raw
    return found.reshape(values.shape)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values rounded, halves up; they are lost."""
    # To the nearest, halves to even ones; those that went down go up. Adding 0.5 first would round
    # 0.49999999999999994 up.
    whole = np.asarray(np.rint(values))
    values -= whole
    down = values == 0.5
    if down.any():
        whole += down
    return whole


def _outside(values: NDArray[np.float64], word: Format) -> SpecError:
    """Return the error of values of which one has no code."""
    if not np.isfinite(values).all():
        return SpecError(f"{word.name} must be finite")
    raw = half_up(values * 2.0**word.fraction)
    wrong = values[(raw < word.lowest) | (raw > word.highest)][0]
    return SpecError(f"{word.name} must be between {word.range_text}, not {wrong:g}")

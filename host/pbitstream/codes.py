"""Arrays of values into arrays of fixed-point codes; the array form of `pbitstream.spec.Format`."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError
from pbitstream.spec.fixed import Format

__all__ = ["codes", "half_up"]


def half_up(values: ArrayLike) -> NDArray[np.float64]:
    """Return float64 values rounded to whole numbers, halves up; exact below 2^52."""
    values = np.asarray(values, np.float64)
    below = np.floor(values)
    # Adding 0.5 first would round 0.49999999999999994 up.
    return np.asarray(np.where(values - below >= 0.5, below + 1, below), np.float64)


def codes(values: ArrayLike, word: Format) -> NDArray[np.int64]:
    """Return the codes of float values in a format, halves rounded up; SpecError outside it."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise SpecError(f"{word.name} must be finite")
    raw = half_up(values * 2.0**word.fraction)
    outside = (raw < word.lowest) | (raw > word.highest)
    if outside.any():
        raise SpecError(f"{word.name} must be between {word.range_text}, "
                        f"not {values[outside].flat[0]:g}")
    return raw.astype(np.int64)

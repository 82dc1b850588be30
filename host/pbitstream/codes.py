"""Arrays of values into arrays of fixed-point codes; the array form of `pbitstream.spec.Format`."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError
from pbitstream.spec.fixed import Format

__all__ = ["codes", "half_up"]

#: Values that are converted at a time: what is formed on the way stays near the processor.
CHUNK = 8192


def half_up(values: ArrayLike) -> NDArray[np.float64]:
    """Return float64 values rounded to whole numbers, halves up; exact below 2^52."""
    values = np.asarray(values, np.float64)
    below = np.floor(values)
    # Adding 0.5 first would round 0.49999999999999994 up.
    return np.asarray(below + (values - below >= 0.5), np.float64)


def codes(values: ArrayLike, word: Format) -> NDArray[np.int64]:
    """Return the codes of float values in a format, halves rounded up; SpecError outside it."""
    values = np.asarray(values, np.float64)
    if not np.isfinite(values).all():
        raise SpecError(f"{word.name} must be finite")
    flat, scale = values.reshape(-1), 2.0**word.fraction
    found = np.empty(flat.shape, np.int64)
    for start in range(0, len(flat), CHUNK):
        part = flat[start : start + CHUNK]
        raw = half_up(part * scale)
        if not (word.lowest <= raw.min() and raw.max() <= word.highest):
            outside = (raw < word.lowest) | (raw > word.highest)
            raise SpecError(f"{word.name} must be between {word.range_text}, "
                            f"not {part[outside][0]:g}")
        found[start : start + CHUNK] = raw
    return found.reshape(values.shape)

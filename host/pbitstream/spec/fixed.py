"""Rounding, saturation and fixed-point formats: the arithmetic every device shares.

All words are two's complement; nothing wraps, and nothing rounds except where `rhu` is written.
`rhu` and `sat` accept Python integers; `rhu` also accepts integer arrays, elementwise.
"""

import math
from dataclasses import dataclass
from typing import Any

from pbitstream.errors import SpecError

__all__ = ["Format", "nearest", "rhu", "sat"]


def rhu(value: Any, shift: int) -> Any:
    """Round half up after a division by a power of two: ``(value + 2^(shift-1)) >> shift``.

    `value` is an integer or an integer array wide enough for the addition; `shift` = 0 returns it.
    """
    if shift == 0:
        return value
    return (value + (1 << (shift - 1))) >> shift


def nearest(value: float) -> int:
    """Round a real number to the nearest integer, halves up."""
    below = math.floor(value)
    # Adding 0.5 first would round 0.49999999999999994 up.
    return below + (value - below >= 0.5)


def sat(value: int, bits: int) -> int:
    """Clip to the two's complement range ``[-2^(bits-1), 2^(bits-1) - 1]``."""
    return max(-(1 << (bits - 1)), min((1 << (bits - 1)) - 1, value))


@dataclass(frozen=True)
class Format:
    """A fixed-point word: ``value = raw * 2^-fraction``, raw from `lowest` to `highest`.

    Parameters
    ----------
    name
        What the word holds, as error messages call it.
    bits
        Width, sign included.
    fraction
        Fraction bits.
    signed
        Two's complement if true, else unsigned.
    """

    name: str
    bits: int
    fraction: int
    signed: bool = True

    @property
    def lowest(self) -> int:
        """Smallest raw code."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest raw code."""
        return (1 << (self.bits - self.signed)) - 1

    def value(self, raw: int) -> float:
        """Return the real number that `raw` stands for; exact."""
        return raw * 2.0**-self.fraction

    def raw(self, value: float) -> int:
        """Return the code nearest to `value`, halves rounded up.

        Raises
        ------
        SpecError
            If `value` is not finite or its code lies outside the format.
        """
        if not math.isfinite(value):
            raise SpecError(f"{self.name} must be finite, not {value}")
        raw = nearest(value * 2.0**self.fraction)
        if not self.lowest <= raw <= self.highest:
            raise SpecError(f"{self.name} must be between {self.range_text}, not {value:g}")
        return raw

    @property
    def range_text(self) -> str:
        """The range in values, for messages: ``-8 and 7.99976``."""
        return f"{self.value(self.lowest):g} and {self.value(self.highest):g}"

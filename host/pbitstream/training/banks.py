"""The two kinds of trained bank: what each adds to a field, and its energy gradient.

The energy of a bank is ``-x_s^T J_st x_t``, so its gradient is a product of the states at its two
ends; each method takes the bank's own arrays and states of many samples, one row a sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.tables import band_rows

__all__ = ["Band", "LowRank", "TrainedBank"]

Values = NDArray[np.float64]
Arrays = Mapping[str, Values]


@dataclass(frozen=True)
class LowRank:
    """``J_ts = B diag(S) A^T``; arrays a (dim_s, rank), b (dim_t, rank), gain (rows, rank).

    With `mixed` a sample's gain is its mix of the rows, S = mix gain; else there is one row.
    """

    source: int
    target: int
    rank: int
    mixed: bool = False

    names: ClassVar[tuple[str, ...]] = ("a", "b", "gain")

    def gain(self, arrays: Arrays, mix: Values | None) -> Values:
        """Return S of every sample, (samples or 1, rank)."""
        if not self.mixed:
            return arrays["gain"]
        if mix is None:
            raise SpecError("a bank with mixed gains needs a mix for every sample")
        return np.asarray(mix @ arrays["gain"])

    def forward(self, arrays: Arrays, x_s: Values, mix: Values | None) -> Values:
        """Return the field at the target, B (S o A^T x_s)."""
        return np.asarray((self.gain(arrays, mix) * (x_s @ arrays["a"])) @ arrays["b"].T)

    def backward(self, arrays: Arrays, x_t: Values, mix: Values | None) -> Values:
        """Return the field at the source, A (S o B^T x_t)."""
        return np.asarray((self.gain(arrays, mix) * (x_t @ arrays["b"])) @ arrays["a"].T)

    def gradient(
        self, arrays: Arrays, x_s: Values, x_t: Values, mix: Values | None, samples: int
    ) -> dict[str, Values]:
        """Return dE/dA, dE/dB and dE/dS, summed over rows of states and divided by `samples`.

        With one S for all rows they are products of dE/dJ, which is formed first where that is less
        work.
        """
        a, b = arrays["a"], arrays["b"]
        dim_s, dim_t = len(a), len(b)
        gain = self.gain(arrays, mix)
        if not self.mixed and dim_s * dim_t < 2 * (dim_s + dim_t) * self.rank:
            slope = x_t.T @ x_s / -samples
            slope_a = slope @ a
            return {
                "a": (slope.T @ b) * gain,
                "b": slope_a * gain,
                "gain": (b * slope_a).sum(axis=0, keepdims=True),
            }
        z_s, z_t = x_s @ a, x_t @ b
        rows = mix if self.mixed and mix is not None else np.ones((len(x_s), 1))
        return {
            "a": x_s.T @ (gain * z_t) / -samples,
            "b": x_t.T @ (gain * z_s) / -samples,
            "gain": rows.T @ (z_s * z_t) / -samples,
        }


@dataclass(frozen=True)
class Band:
    """``f_t[i] += w_o[i] x_s[i + o]``; array w (offsets, dim_t), kept at 0 where it starts at 0.

    So a stencil on a map stays one: the places that wrap around its edge are zeros. `dim_s` is the
    number of units of the source.
    """

    source: int
    target: int
    offsets: tuple[int, ...]
    dim_s: int

    names: ClassVar[tuple[str, ...]] = ("w",)

    def forward(self, arrays: Arrays, x_s: Values, mix: Values | None) -> Values:
        """Return the field at the target."""
        del mix
        f = np.zeros((len(x_s), arrays["w"].shape[1]))
        for offset, w in zip(self.offsets, arrays["w"]):
            low, high = band_rows(offset, len(w), x_s.shape[1])
            f[:, low:high] += w[low:high] * x_s[:, low + offset : high + offset]
        return f

    def backward(self, arrays: Arrays, x_t: Values, mix: Values | None) -> Values:
        """Return the field at the source."""
        del mix
        f = np.zeros((len(x_t), self.dim_s))
        for offset, w in zip(self.offsets, arrays["w"]):
            low, high = band_rows(offset, len(w), self.dim_s)
            f[:, low + offset : high + offset] += w[low:high] * x_t[:, low:high]
        return f

    def gradient(
        self, arrays: Arrays, x_s: Values, x_t: Values, mix: Values | None, samples: int
    ) -> dict[str, Values]:
        """Return dE/dw, summed over rows of states and divided by `samples`; 0 where w is 0."""
        del mix
        g = np.zeros_like(arrays["w"])
        for row, offset in zip(g, self.offsets):
            low, high = band_rows(offset, len(row), x_s.shape[1])
            product = x_t[:, low:high] * x_s[:, low + offset : high + offset]
            row[low:high] = product.sum(axis=0) / -samples
        return {"w": np.where(arrays["w"] == 0, 0.0, g)}


TrainedBank: TypeAlias = LowRank | Band

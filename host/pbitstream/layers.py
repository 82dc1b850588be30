"""Layers of a conditioning net, in integers, each with a float twin.

Values between layers are int32 with 12 fraction bits, weights int16 with their own fraction w,
``y = sat16(rhu(W x + (bias << w), w))``, exact sums (< 2^53, so a float64 GEMM computes them).
``silu(x) = rhu(x U, 16)`` with U from the p-bit threshold table at ``|x| / 2``, and phi is
``[1, y_i, y_i y_j (i <= j), y_1 y_2 y_3 ...]`` with products rounded half up to 12 fraction bits.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes, half_up
from pbitstream.errors import SpecError
from pbitstream.spec.fixed import rhu
from pbitstream.spec.sigmoid import THRESHOLD_BITS, THRESHOLD_STEP_BITS, THRESHOLDS, sigmoid_table
from pbitstream.spec.words import BIAS, MAX_INPUTS, MAX_QUAD, MAX_WEIGHT_FRACTION, WEIGHT_BITS

__all__ = ["PLAIN_LAYERS", "Layer", "Linear", "Quad", "Silu"]

Values = NDArray[np.float64]
Codes = NDArray[np.int64]

ONE = 1 << BIAS.fraction
WEIGHT_LIMIT = (1 << (WEIGHT_BITS - 1)) - 1


@dataclass(frozen=True, eq=False)
class Linear:
    """``y = W x + bias``; W is (outputs, inputs), bias (outputs,) or None.

    The integer form holds int16 weights with `fraction` fraction bits and int16 biases with 12.
    """

    kind: ClassVar[str] = "linear"
    weight: NDArray[np.int16]
    fraction: int
    bias: NDArray[np.int16] | None = None

    @classmethod
    def quantise(cls, weight: Values, bias: Values | None = None) -> "Linear":
        """Return the integer layer nearest to float weights, with the finest fraction."""
        largest = float(np.abs(weight).max(initial=0.0))
        for fraction in range(MAX_WEIGHT_FRACTION, -1, -1):
            if largest * 2**fraction + 0.5 < WEIGHT_LIMIT:
                break
        else:
            raise SpecError(f"weights must be below {WEIGHT_LIMIT}, not {largest:g}")
        raw = half_up(weight * 2.0**fraction).astype(np.int16)
        return cls(raw, fraction, None if bias is None else codes(bias, BIAS, np.int16))

    def outputs(self, inputs: int) -> int:
        """Return the width for inputs of this width; SpecError if it does not fit."""
        if self.weight.ndim != 2 or self.weight.shape[1] != inputs:
            raise SpecError(f"linear layer must take {inputs} inputs, not shape "
                            f"{self.weight.shape}")
        outputs = int(self.weight.shape[0])
        arrays = [self.weight] if self.bias is None else [self.weight, self.bias]
        if any(array.dtype != np.int16 for array in arrays) or (
            self.bias is not None and self.bias.shape != (outputs,)
        ):
            raise SpecError(f"linear layer must have int16 weights and {outputs} int16 biases")
        if not 0 <= self.fraction <= MAX_WEIGHT_FRACTION:
            raise SpecError(f"fraction of a linear layer must be between 0 and "
                            f"{MAX_WEIGHT_FRACTION}, not {self.fraction}")
        if inputs > MAX_INPUTS:
            raise SpecError(f"linear layer must take at most {MAX_INPUTS} inputs, not {inputs}")
        return outputs

    def apply(self, x: Codes) -> tuple[Codes, int]:
        """Return output codes (n, outputs) and how many were clipped to 16 bits."""
        total = x.astype(np.float64) @ self.weight.T.astype(np.float64)
        if self.bias is not None:
            total += self.bias * 2.0**self.fraction
        y = rhu(total.astype(np.int64), self.fraction)
        clipped = np.clip(y, BIAS.lowest, BIAS.highest)
        return clipped, int((clipped != y).sum())

    def apply_float(self, x: Values) -> Values:
        """Return ``W x + bias`` in float64, without rounding or clipping."""
        y = x @ (self.weight.T * 2.0**-self.fraction)
        return y if self.bias is None else y + self.bias * BIAS.value(1)


@dataclass(frozen=True)
class Silu:
    """``y = x sigma(x)``, sigma from the threshold table; no parameters."""

    kind: ClassVar[str] = "silu"

    def outputs(self, inputs: int) -> int:
        """Return the width: unchanged."""
        return inputs

    def apply(self, x: Codes) -> tuple[Codes, int]:
        """Return output codes; nothing clips."""
        # sigma(x) is the table at beta (h + f) = x / 2.
        shift = BIAS.fraction + 1 - THRESHOLD_STEP_BITS
        index = np.minimum(rhu(np.abs(x), shift), THRESHOLDS - 1)
        threshold = _thresholds()[index]
        full = 1 << THRESHOLD_BITS
        return rhu(x * np.where(x >= 0, threshold, full - threshold), THRESHOLD_BITS), 0

    def apply_float(self, x: Values) -> Values:
        """Return ``x / (1 + exp(-x))``."""
        return np.asarray(x / (1 + np.exp(-x)))


@dataclass(frozen=True)
class Quad:
    """``phi(y) = [1, y_i, y_i y_j (i <= j), y_1 y_2 ... y_n]``; 16 outputs from 4 inputs."""

    kind: ClassVar[str] = "quad"

    def outputs(self, inputs: int) -> int:
        """Return 1 + n + n (n + 1) / 2 + 1, for n of at most 4; SpecError above."""
        if inputs > MAX_QUAD:
            raise SpecError(f"quadratic layer must take at most {MAX_QUAD} inputs, not {inputs}")
        return 2 + inputs + inputs * (inputs + 1) // 2

    def apply(self, x: Codes) -> tuple[Codes, int]:
        """Return output codes; pairs are rounded to 12 fraction bits, then their products."""
        n = x.shape[1]
        pairs = [rhu(x[:, i] * x[:, j], BIAS.fraction) for i in range(n) for j in range(i, n)]
        product = x[:, 0]
        for i in range(1, n):
            product = rhu(product * x[:, i], BIAS.fraction)
        return np.stack([np.full(len(x), ONE), *x.T, *pairs, product], axis=1), 0

    def apply_float(self, x: Values) -> Values:
        """Return phi in float64."""
        n = x.shape[1]
        pairs = [x[:, i] * x[:, j] for i in range(n) for j in range(i, n)]
        return np.stack([np.ones(len(x)), *x.T, *pairs, x.prod(axis=1)], axis=1)


Layer: TypeAlias = Linear | Silu | Quad
#: Layers without parameters, by kind.
PLAIN_LAYERS: dict[str, type[Silu] | type[Quad]] = {"silu": Silu, "quad": Quad}


@lru_cache(maxsize=1)
def _thresholds() -> Codes:
    return np.array(sigmoid_table(), np.int64)

"""The tiny digital net that turns an input into biases, in integers, with a float twin.

A net is a list of stages. Each runs its layers on the output of the stage before, or on the input
(the first does in any case), and may write its result as the bias of a module. The interface of
[1]_ (section on conditioning) is two stages, ``h_enc = W2 W1 x`` and ``h_dec = W4 silu(W3 h_enc)``:
2,560 weights at D = 64, 2,708 with biases. The quadratic form has one stage, ``h = C phi(E z)``.

Integers: values between layers are int32 with 12 fraction bits, weights int16 with their own
fraction w, ``y = sat16(rhu(W x + (bias << w), w))``, exact sums (< 2^53, so a float64 GEMM computes
them). ``silu(x) = rhu(x U, 16)`` with U from the p-bit threshold table at ``|x| / 2``, and phi is
``[1, y_i, y_i y_j (i <= j), y_1 y_2 y_3 ...]`` with products rounded half up to 12 fraction bits.

References
----------
.. [1] "Thermodynamic diffusion inference", arXiv 2604.14332.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes, half_up
from pbitstream.errors import SpecError
from pbitstream.spec.fixed import Format, rhu
from pbitstream.spec.sigmoid import THRESHOLD_BITS, THRESHOLD_STEP_BITS, THRESHOLDS, sigmoid_table
from pbitstream.spec.topology import Topology
from pbitstream.spec.words import (
    BIAS,
    MAX_INPUTS,
    MAX_QUAD,
    MAX_WEIGHT_FRACTION,
    WEIGHT_BITS,
)

__all__ = ["Conditioning", "Layer", "Linear", "Quad", "Silu", "Stage", "paper_interface",
           "quad_interface"]

Values = NDArray[np.float64]
Codes = NDArray[np.int64]

ONE = 1 << BIAS.fraction
#: Words of an input and of every linear output: those of a bias.
INPUT = Format("input", BIAS.bits, BIAS.fraction)
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
        return cls(raw, fraction, None if bias is None else codes(bias, BIAS).astype(np.int16))

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


@dataclass(frozen=True)
class Stage:
    """Layers applied in turn; the result is the bias of module `target`, if one is named.

    They run on the output of the stage before, or with `source` ``input`` on the net's input.
    """

    layers: tuple[Layer, ...]
    target: str | None = None
    source: Literal["previous", "input"] = "previous"


@dataclass(frozen=True)
class Conditioning:
    """A conditioning net: `inputs` codes in, one bias per targeted unit out.

    Parameters
    ----------
    inputs
        Width of the input vector.
    stages
        At least one stage; every linear layer must fit the one before.
    features
        Optional fixed codes, int16 (rows, columns), appended to the input: row r for an input of
        schedule row r. Time features live here, so that no libm decides a bit.
    """

    inputs: int
    stages: tuple[Stage, ...]
    features: NDArray[np.int16] | None = None

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        count = 0
        for layer in self._linear_layers().values():
            count += layer.weight.size + (0 if layer.bias is None else layer.bias.size)
        return count

    @property
    def weights(self) -> int:
        """Number of weights, biases not counted."""
        return sum(layer.weight.size for layer in self._linear_layers().values())

    def frozen(self) -> "Conditioning":
        """Return a copy whose arrays nobody can change."""

        def own(array: NDArray[Any] | None) -> Any:
            if array is None:
                return None
            copy = np.array(array, order="C")
            copy.flags.writeable = False
            return copy

        stages = tuple(
            Stage(tuple(
                Linear(own(n.weight), n.fraction, own(n.bias)) if isinstance(n, Linear) else n
                for n in stage.layers
            ), stage.target, stage.source)
            for stage in self.stages
        )
        return Conditioning(self.inputs, stages, own(self.features))

    def check(self, topology: Topology) -> None:
        """Raise SpecError unless layers fit each other and stages fit the modules they target."""
        if self.inputs < 1 or not self.stages:
            raise SpecError("a conditioning net needs at least one input and one stage")
        width = self.inputs
        if self.features is not None:
            if self.features.dtype != np.int16 or self.features.ndim != 2:
                raise SpecError("features must be int16 of shape (rows, columns), not "
                                f"{self.features.dtype} of shape {self.features.shape}")
            width += self.features.shape[1]
        targets = [stage.target for stage in self.stages if stage.target is not None]
        if len(set(targets)) != len(targets):
            raise SpecError(f"stages must target different modules, not {targets}")
        inputs = width
        for stage in self.stages:
            if stage.source not in ("previous", "input"):
                raise SpecError("source of a stage must be previous or input, "
                                f"not {stage.source!r}")
            if stage.source == "input":
                width = inputs
            for layer in stage.layers:
                width = layer.outputs(width)
            if stage.target is not None:
                module = topology.modules[topology.index(stage.target)]
                if module.clamped or module.dim != width:
                    raise SpecError(f"conditioning gives {width} biases to module {module.name}, "
                                    f"which needs {0 if module.clamped else module.dim}")

    def codes(self, values: Values, rows: Codes | None = None) -> Codes:
        """Return input codes, 12 fraction bits, of values (n, inputs) and their feature rows.

        Raises
        ------
        SpecError
            If a value is not finite or outside +-8, or a row is missing or out of range.
        """
        values = np.asarray(values, np.float64)
        if values.ndim != 2 or values.shape[1] != self.inputs:
            raise SpecError(f"input must have shape (n, {self.inputs}), not {values.shape}")
        raw = codes(values, INPUT)
        if self.features is None:
            return raw
        if rows is None or rows.min(initial=0) < 0 or rows.max(initial=0) >= len(self.features):
            raise SpecError(f"rows must be between 0 and {len(self.features) - 1}, not {rows}")
        return np.concatenate([raw, self.features[rows].astype(np.int64)], axis=1)

    def biases(self, raw: Codes, topology: Topology) -> tuple[Codes, int]:
        """Return bias codes (n, units) for input codes (n, width), and how many were clipped."""
        h = np.zeros((len(raw), topology.units), np.int64)
        clipped = 0
        y = raw
        for stage in self.stages:
            if stage.source == "input":
                y = raw
            for layer in stage.layers:
                y, count = layer.apply(y)
                clipped += count
            if stage.target is not None:
                h[:, topology.units_of(topology.index(stage.target))] = y
        return h, clipped

    def biases_float(self, raw: Codes, topology: Topology) -> Values:
        """Return the biases of the float twin, in values, for the same input codes."""
        x: NDArray[Any] = raw * BIAS.value(1)
        y = x
        h = np.zeros((len(raw), topology.units))
        for stage in self.stages:
            if stage.source == "input":
                y = x
            for layer in stage.layers:
                y = layer.apply_float(y)
            if stage.target is not None:
                h[:, topology.units_of(topology.index(stage.target))] = y
        return h

    def _linear_layers(self) -> dict[str, Linear]:
        return {
            f"conditioning.{s}.{n}": layer
            for s, stage in enumerate(self.stages)
            for n, layer in enumerate(stage.layers)
            if isinstance(layer, Linear)
        }

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the integer tensors by name."""
        tensors: dict[str, NDArray[Any]] = {}
        for name, layer in self._linear_layers().items():
            tensors[f"{name}.weight"] = layer.weight
            if layer.bias is not None:
                tensors[f"{name}.bias"] = layer.bias
        if self.features is not None:
            tensors["conditioning.features"] = self.features
        return tensors

    def to_dict(self) -> dict[str, Any]:
        """Return the structure without tensors, as integers and strings."""
        return {
            "inputs": self.inputs,
            "stages": [
                {
                    # The usual source goes unsaid: programs made before it could be chosen keep
                    # their digest.
                    **({} if stage.source == "previous" else {"source": stage.source}),
                    "target": stage.target or "",
                    "layers": [
                        {"kind": n.kind, "fraction": n.fraction}
                        if isinstance(n, Linear)
                        else {"kind": n.kind}
                        for n in stage.layers
                    ],
                }
                for stage in self.stages
            ],
        }

    @classmethod
    def from_parts(
        cls, layout: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> "Conditioning":
        """Return the net of a structure and its tensors; the inverse of the two above."""
        stages = []
        for s, stage in enumerate(layout["stages"]):
            layers: list[Layer] = []
            for n, entry in enumerate(stage["layers"]):
                if entry["kind"] == "linear":
                    name = f"conditioning.{s}.{n}"
                    layers.append(Linear(tensors[f"{name}.weight"], int(entry["fraction"]),
                                         tensors.get(f"{name}.bias")))
                else:
                    layers.append(PLAIN_LAYERS[entry["kind"]]())
            stages.append(Stage(tuple(layers), stage["target"] or None,
                                stage.get("source", "previous")))
        return cls(int(layout["inputs"]), tuple(stages), tensors.get("conditioning.features"))


def paper_interface(
    weights: Sequence[Values],
    biases: Sequence[Values] | None,
    encoder: str,
    decoder: str,
) -> Conditioning:
    """Return the interface of arXiv 2604.14332 from its four float matrices.

    Parameters
    ----------
    weights
        (r, D), (D, r), (q, D), (D, q); r = 4, q = 16, D = 64 in the paper: 2,560 weights.
    biases
        Four vectors to match, or None.
    encoder, decoder
        Names of the modules that receive h_enc and h_dec.
    """
    pairs = zip(weights, biases if biases is not None else [None] * len(weights))
    first, second, third, fourth = (Linear.quantise(w, b) for w, b in pairs)
    return Conditioning(
        weights[0].shape[1],
        (Stage((first, second), encoder), Stage((third, Silu(), fourth), decoder)),
    )


def quad_interface(
    encoder: Values, transfer: Values, target: str, features: NDArray[np.int16] | None = None
) -> Conditioning:
    """Return ``h = transfer^T phi(encoder z)``, z the input and its features.

    Parameters
    ----------
    encoder
        E, (4, inputs + features).
    transfer
        C, (16, D), as physics has it; D the units of `target`.
    """
    extra = 0 if features is None else features.shape[1]
    layers = (Linear.quantise(encoder), Quad(), Linear.quantise(transfer.T))
    return Conditioning(encoder.shape[1] - extra, (Stage(layers, target),), features)


@lru_cache(maxsize=1)
def _thresholds() -> Codes:
    return np.array(sigmoid_table(), np.int64)

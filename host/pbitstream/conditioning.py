"""The tiny digital net that turns an input into biases, in integers, with a float twin.

A net is a list of stages. Each runs its layers on the output of the stage before, or on the input
(the first does in any case), and may write its result as the bias of a module. The interface of
[1]_ (section on conditioning) is two stages, ``h_enc = W2 W1 x`` and ``h_dec = W4 silu(W3 h_enc)``:
2,560 weights at D = 64, 2,708 with biases. The quadratic form has one stage, ``h = C phi(E z)``.

The layers, and every rounding in them, are those of `pbitstream.layers`.

References
----------
.. [1] "Thermodynamic diffusion inference", arXiv 2604.14332.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes
from pbitstream.errors import SpecError
from pbitstream.layers import PLAIN_LAYERS, Layer, Linear, Quad, Silu
from pbitstream.spec.fixed import Format
from pbitstream.spec.topology import Topology
from pbitstream.spec.words import BIAS

__all__ = ["Conditioning", "Stage", "paper_interface", "quad_interface"]

Values = NDArray[np.float64]
Codes = NDArray[np.int64]

#: Words of an input and of every linear output: those of a bias.
INPUT = Format("input", BIAS.bits, BIAS.fraction)


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

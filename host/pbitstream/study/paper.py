"""The paper's table [1]_, under its metric and under those that cannot be fooled.

References
----------
.. [1] "Thermodynamic diffusion inference", arXiv 2604.14332.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.lower import Lowered
from pbitstream.devices.protocol import Device
from pbitstream.study.base import Figure, Panel, Point, Row
from pbitstream.study.subject import QUALITY, Reading, Subject

__all__ = ["Paper", "global_cosine", "shift"]

Values = NDArray[np.float64]

#: The row without means: raw activations drive the bank, and what is read is compared as it is.
RAW = "random, no means"
#: The rows: method, rank, band and interface of a compiled skip; or what stands in its place.
SYSTEMS: dict[str, tuple[str, int, bool, str]] = {
    "oracle": ("random", 1, False, "none"),
    "oracle, T = .1": ("random", 1, False, "none"),
    "oracle, T = 1": ("random", 1, False, "none"),
    "random, k=16": ("random", 16, False, "none"),
    RAW: ("random", 16, False, "none"),
    "the paper's, k=16": ("paper", 16, False, "none"),
    "Gram pairs, k=16": ("gram", 16, False, "none"),
    "HBC, k=4": ("hbc", 4, False, "none"),
    "HBC, k=16": ("hbc", 16, False, "none"),
    "HBC, k=64": ("hbc", 64, False, "none"),
    "HBC, k=16 + band": ("hbc", 16, True, "none"),
    "HBC, k=16 + 2,560": ("hbc", 16, False, "quad"),
    "HBC, k=64 + 2,560": ("hbc", 64, False, "quad"),
    "constant": ("random", 1, False, "none"),
}
HEAT = {"oracle, T = .1": 0.1, "oracle, T = 1": 1.0}


class Paper:
    """Every row of the table under real fixed-point Langevin dynamics."""

    name = "paper"
    question = "What does the paper's table show under metrics that cannot be fooled?"
    method = (
        "The digits U-Net's d1, driven by e1, T = .01 unless said, 360 test digits at five "
        "noise levels. The paper's metric standardises all activations by two numbers, then takes "
        "a plain cosine. Oracle bias: the U-Net's own d1 as bias, no bank; constant: the mean over "
        "training. A seed draws image noise, substrate noise and random factors."
    )
    parameters: ClassVar = {"system": "system"}
    figures = (
        Figure("paper", "paper's", "the paper's metric", 4),
        Figure("plain", "plain", "plain cosine", 4),
        *QUALITY[:3],
        QUALITY[-1],
        Figure("shift", "shift", "how far the coupling moves the layer, over its length", 2),
    )
    panels = (
        Panel("the paper's metric, and R²", "system", ("paper", "r2", "shuffled"),
              limits=(-1.5, 1.05)),
    )
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject()

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"paper of {self.subject.identity}"

    def points(self) -> list[Point]:
        """Return the systems."""
        return [{"system": name} for name in SYSTEMS]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one system."""
        subject, name = self.subject, str(point["system"])
        method, rank, band, interface = SYSTEMS[name]
        own = seed if name.startswith("random") else 0
        lowered = subject.compiled(rank, method=method, band=band, interface=interface, seed=own)
        if name == "constant":
            count = len(subject.states(seed).truth)
            reading = Reading(np.tile(_mean(lowered), (count, 1)), 0.0)
        elif name.startswith("oracle"):
            reading = self._oracle(device, lowered, seed, HEAT.get(name, 0.01))
        else:
            reading = subject.read(device, lowered, seed, means=name != RAW)
        values, truth = reading.values, subject.states(seed).truth
        return {**subject.quality(reading, lowered, seed),
                "paper": global_cosine(values, truth), "shift": shift(values, _mean(lowered))}

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return what a constant scores, and what conditioning adds."""
        by = {str(row.point["system"]): row.figures for row in rows}
        found = []
        if "constant" in by:
            found.append("A constant that never sees an input scores "
                         f"{by['constant']['paper'].mean:.3f} on the paper's metric and 0 on R².")
        if {"random, k=16", "HBC, k=16"} <= by.keys():
            found.append(
                f"Random factors score {by['random, k=16']['plain'].mean:.3f} in plain "
                f"cosine and {by['random, k=16']['r2'].mean:.2f} in R²; trained ones of "
                f"the same rank {by['HBC, k=16']['r2'].mean:.3f}, another image's readout "
                f"{by['HBC, k=16']['shuffled'].mean:.2f}.")
        return found

    def _oracle(self, device: Device, lowered: Lowered, seed: int, temperature: float) -> Reading:
        """Return what is read where the bias alone asks for the U-Net's own activations."""
        subject = self.subject
        batch = subject.states(seed).batch
        bias = np.zeros((len(batch), lowered.program.topology.units))
        wanted = np.asarray(batch.layers["d1"], np.float64)
        bias[:, lowered.places["d1"]] = lowered.fitted.layers["d1"].normalised(wanted)
        return subject.read(device, lowered, seed, bias=bias, temperature=temperature,
                            uncoupled=True)


def global_cosine(values: Values, truth: Values) -> float:
    """Return the paper's metric: standardise with one mean and deviation each, then the cosine."""
    a, b = ((x - x.mean()) / max(x.std(), 1e-300) for x in (values, truth))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.maximum(norms, 1e-300)).mean())


def shift(values: Values, mean: Values) -> float:
    """Return the mean of |on - off| / |off| over states, off being the layer without coupling."""
    return float((np.linalg.norm(values - mean, axis=1) / np.linalg.norm(mean)).mean())


def _mean(lowered: Lowered) -> Values:
    return lowered.fitted.layers["d1"].mean

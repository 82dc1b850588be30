"""Temperature: what thermal noise costs a readout of a given window."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pbitstream.compiler.equilibrium import equilibrium
from pbitstream.devices.protocol import Device
from pbitstream.study.base import Figure, Panel, Point, Row
from pbitstream.study.subject import QUALITY, Subject

__all__ = ["Temperature"]

TEMPERATURES = (0.0, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0)


class Temperature:
    """Error of a readout and quality of the layer against temperature."""

    name = "temperature"
    question = "What does temperature cost?"
    method = (
        "The layer with a rank-16 bank and a local band, 32 + 256 steps of dt = 1/4 at every "
        "temperature. Error: rms distance of a readout from the exact equilibrium, in units of the "
        "layer's deviation; predicted: sqrt(2 T / (dt N) mean (K - J)^-2). 360 test digits at "
        "five noise levels. A seed draws image noise and substrate noise."
    )
    parameters: ClassVar = {"temperature": "T"}
    figures = (
        Figure("error", "error", "rms distance from the exact equilibrium", 4),
        Figure("predicted", "pre-\ndicted", "rms error by the formula", 4),
        *QUALITY,
    )
    panels = (
        Panel("error of a readout", "temperature", ("error", "predicted")),
        Panel("R² over the training mean", "temperature", ("r2",)),
    )
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject()

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"temperature of {self.subject.identity}"

    def points(self) -> list[Point]:
        """Return the temperatures."""
        return [{"temperature": temperature} for temperature in TEMPERATURES]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures at one temperature."""
        subject, temperature = self.subject, float(point["temperature"])
        lowered = subject.compiled(16, band=True)
        program = lowered.program
        reading = subject.read(device, lowered, seed, temperature=temperature)
        layer, place = lowered.fitted.layers["d1"], lowered.places["d1"]
        clamp = lowered.clamp(subject.states(seed).batch.layers)[0]
        exact = equilibrium(program, clamp)[:, place]
        error = float(np.sqrt(((layer.normalised(reading.values) - exact) ** 2).mean()))
        margins = program.margins()
        scale = (margins.error_scale or 0.0) * math.sqrt(temperature / 0.01)
        return {**subject.quality(reading, lowered, seed), "error": error,
                "predicted": scale / math.sqrt(program.steps)}

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return how well the formula holds, and what a tenfold temperature costs."""
        warm = [row for row in rows if float(row.point["temperature"]) > 0.005]
        worst = max((abs(row.figures["error"].mean / row.figures["predicted"].mean - 1)
                     for row in warm), default=math.nan)
        at = {row.point["temperature"]: row.figures["r2"].mean for row in rows}
        found = [f"From T = .01 on, the error is the predicted one within {100 * worst:.1f} %."]
        if {0.01, 0.1, 1.0} <= at.keys():
            found.append(f"R² is {at[0.01]:.4f} at T = .01, {at[0.1]:.4f} at .1, {at[1.0]:.4f} "
                         "at 1: a hotter substrate needs a longer window, in proportion to T.")
        return found

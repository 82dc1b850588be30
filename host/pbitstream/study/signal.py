"""Signal: how much of a unit's mean an input moves, against its thermal deviation."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pbitstream.compiler.equilibrium import equilibrium
from pbitstream.compiler.evaluation import biases
from pbitstream.devices.protocol import Device
from pbitstream.study.base import Figure, Panel, Point, Row
from pbitstream.study.energy import WANTED, samples_for
from pbitstream.study.subject import Subject

__all__ = ["Signal"]

#: Apart from every seed of a study: a second stream of noise.
OTHER = 1 << 32
#: Method, rank, interface, and temperature of every system.
SYSTEMS: dict[str, tuple[str, int, str, float]] = {
    "bank alone, k = 16": ("hbc", 16, "none", 0.01),
    "bank and 2,560 weights": ("hbc", 16, "quad", 0.01),
    "bank alone, k = 64": ("hbc", 64, "none", 0.01),
    "bank alone, T = 1": ("hbc", 16, "none", 1.0),
    "the paper's bank, T = 1": ("paper", 16, "none", 1.0),
    "random bank, T = 1": ("random", 16, "none", 1.0),
}


class Signal:
    """Conditioning signal and thermal noise of the layer, and what it takes to read it."""

    name = "signal"
    question = "Is the conditioning signal lost in thermal noise?"
    method = (
        "Signal: deviation over inputs of the layer's exact equilibrium, rms over units, in units "
        "of the U-Net's own; thermal: deviation of a unit at equilibrium, sqrt(T (K - J)^-1). "
        f"Samples: independent ones for a signal-to-noise ratio of {WANTED:g}; steps: the window "
        "of this program for it; measured: the ratio a window of 256 steps has, from two "
        "relaxations with their own noise. The paper's figure says a deficit of 2,600; its own "
        "numbers give 75 (thermal 2.24, signal .03). A seed draws image and substrate noise."
    )
    parameters: ClassVar = {"system": "system"}
    figures = (
        Figure("signal", "signal", "input-dependent part of a unit's mean"),
        Figure("thermal", "thermal", "thermal deviation of a unit"),
        Figure("deficit", "deficit", "thermal over signal", 2),
        Figure("samples", "samples", "independent samples for a ratio of 10", 0),
        Figure("steps", "steps", "window for a ratio of 10, autocorrelation included", 0),
        Figure("ratio", "ratio,\n256 steps", "measured signal-to-noise ratio of a readout", 1),
    )
    panels = (Panel("thermal deviation over signal", "system", ("deficit",), logarithmic="y"),
              Panel("signal-to-noise ratio, 256 steps", "system", ("ratio",), logarithmic="y"))
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject()

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"signal of {self.subject.identity}"

    def points(self) -> list[Point]:
        """Return the systems."""
        return [{"system": name} for name in SYSTEMS]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one system."""
        subject = self.subject
        method, rank, form, temperature = SYSTEMS[str(point["system"])]
        lowered = subject.compiled(rank, method=method, interface=form)
        program, batch = lowered.program, subject.states(seed).batch
        clamp, h = lowered.clamp(batch.layers)[0], biases(lowered, batch)[0]
        exact = equilibrium(program, clamp, h)[:, lowered.places["d1"]]
        signal = float(np.sqrt(exact.var(axis=0).mean()))
        # No bank joins free units here: K - J is k2 = 1.
        dt = 2.0**-program.topology.dt_shift
        thermal = math.sqrt(temperature / (1 - dt / 2))
        layer = lowered.fitted.layers["d1"]
        first, second = (
            layer.normalised(subject.read(device, lowered, seed, temperature=temperature,
                                          noise=own).values) for own in (seed, seed + OTHER))
        noise = float(np.sqrt(((first - second) ** 2).mean() / 2))
        margins = program.margins()
        per_step = (margins.error_scale or 0.0) * math.sqrt(temperature / 0.01)
        return {
            "signal": signal, "thermal": thermal, "deficit": thermal / signal,
            "samples": samples_for(WANTED, thermal, signal),
            "steps": (WANTED * per_step / signal) ** 2, "ratio": signal / noise,
        }

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return the deficit of trained banks, and where a large one would come from."""
        by = {str(row.point["system"]): row.figures for row in rows}
        found = []
        if "bank alone, k = 16" in by:
            own = by["bank alone, k = 16"]
            found.append("At T = .01 a trained rank-16 bank alone has no deficit: thermal noise "
                         f"is {own['deficit'].mean:.2f} of the signal, and 256 steps read it at a "
                         f"ratio of {own['ratio'].mean:.0f}.")
        if "bank alone, T = 1" in by:
            hot = by["bank alone, T = 1"]
            found.append(f"At T = 1, the paper's kT, the same bank needs {hot['samples'].mean:.0f} "
                         "independent samples a unit.")
        return found

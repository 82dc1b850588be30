"""Quantisation: how many bits state, factors and converters need."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pbitstream.devices.protocol import Device
from pbitstream.study.base import Panel, Point, Row
from pbitstream.study.imperfect import Imperfect, coarse_factors
from pbitstream.study.subject import QUALITY, Converters, Subject

__all__ = ["Quantisation"]

#: Bits of every part, from what it comes with down.
BITS = {"factors": (10, 8, 6, 5, 4, 3), "bias DAC": (16, 10, 8, 6, 5, 4),
        "readout ADC": (16, 10, 8, 6, 5, 4), "state": (24, 16, 12, 10, 8, 6)}
#: Held-out digits; a coarse state is relaxed step by step.
IMAGES = 120


class Quantisation:
    """Quality against bits, one part at a time."""

    name = "quantisation"
    question = "How many bits do state, factors and converters need?"
    method = (
        "The layer with a rank-16 bank, a local band and 2,560 weights, T = .01. One part at a "
        "time gets fewer bits: factors in the program's tables; biases and clamps (DAC) and "
        f"readouts (ADC) of full scale +-8; the state register cut after every step. {IMAGES} "
        "held-out digits at five noise levels. A seed draws image noise and substrate noise."
    )
    parameters: ClassVar = {"part": "part", "bits": "bits"}
    figures = QUALITY
    panels = (
        Panel("R² over the training mean", "bits", ("r2",), lines="part"),
        Panel("F-MSE", "bits", ("f_mse",), lines="part"),
    )
    identity = "quantisation 1"

    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject(IMAGES)

    def points(self) -> list[Point]:
        """Return every part with every number of bits."""
        return [{"part": part, "bits": bits} for part, all_bits in BITS.items()
                for bits in all_bits]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one part with so many bits."""
        part, bits = str(point["part"]), int(point["bits"])
        lowered = self.subject.compiled(16, band=True, interface="quad")
        faults, converters = Imperfect.none(lowered.program), Converters()
        if part == "factors":
            faults = replace(faults, program=coarse_factors(lowered.program, bits))
        elif bits < BITS[part][0]:
            name = {"bias DAC": "bias", "readout ADC": "readout", "state": "state"}[part]
            converters = Converters(**{name: bits})
        values = self.subject.read(device, lowered, seed, faults=faults, converters=converters)
        return self.subject.quality(values, lowered, seed)

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return the fewest bits that cost less than .01 in R², by part."""
        found = []
        for part in BITS:
            own = [row for row in rows if row.point["part"] == part]
            if own:
                whole = own[0].figures["r2"].mean
                enough = [row for row in own if row.figures["r2"].mean > whole - 0.01]
                found.append(f"{part}: {enough[-1].point['bits']} bits lose less than .01 of R² "
                             f"({enough[-1].figures['r2'].mean:.3f} of {whole:.3f}).")
        return found

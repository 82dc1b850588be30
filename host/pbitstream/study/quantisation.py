"""Quantisation: how many bits state, factors and converters need."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import ClassVar

from pbitstream.devices.protocol import Device
from pbitstream.study.base import Panel, Point, Row
from pbitstream.study.imperfect import Imperfect, coarse_factors
from pbitstream.study.subject import QUALITY, Converters, Subject

__all__ = ["Quantisation"]

#: Bits of every part, from what it comes with down.
BITS = {"factors": (10, 8, 6, 5, 4, 3), "bias DAC": (16, 10, 8, 6, 5, 4),
        "readout ADC": (16, 10, 8, 6, 5, 4), "state": (24, 16, 12, 10, 8, 6)}
#: Test digits; a coarse state is relaxed step by step.
IMAGES = 120


class Quantisation:
    """Quality against bits, one part at a time."""

    name = "quantisation"
    question = "How many bits do state, factors and converters need?"
    method = (
        "The layer with a rank-16 bank, a local band and 2,560 weights, T = .01. One part at a "
        "time gets fewer bits: factors in the program's tables; biases and clamps (DAC) and "
        f"readouts (ADC) of full scale +-8; the state register cut after every step. {IMAGES} "
        "test digits at five noise levels. A seed draws image noise and substrate noise."
    )
    parameters: ClassVar = {"part": "part", "bits": "bits"}
    figures = QUALITY
    panels = (
        Panel("R² over the training mean", "bits", ("r2",), lines="part"),
        Panel("F-MSE", "bits", ("f_mse",), lines="part"),
    )
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject(IMAGES)

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"quantisation of {self.subject.identity}"

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
        reading = self.subject.read(device, lowered, seed, faults=faults, converters=converters)
        return self.subject.quality(reading, lowered, seed)

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return the fewest bits that cost less than .01 in R², by part."""
        found = []
        for part in BITS:
            own = [row for row in rows if row.point["part"] == part]
            if own and own[0].point["bits"] == BITS[part][0]:
                whole = own[0].figures["r2"].mean
                enough = list(takewhile(partial(_stands, whole - 0.01), own))
                found.append(f"{part}: {enough[-1].point['bits']} bits lose less than .01 of R² "
                             f"({enough[-1].figures['r2'].mean:.3f} of {whole:.3f}).")
        return found


def _stands(least: float, row: Row) -> bool:
    return row.figures["r2"].mean > least

"""Mismatch: what happens when devices differ from what they should be."""

from collections.abc import Sequence
from itertools import takewhile
from typing import ClassVar

from pbitstream.devices.protocol import Device
from pbitstream.study.base import Panel, Point, Row
from pbitstream.study.imperfect import mismatch
from pbitstream.study.subject import QUALITY, Subject

__all__ = ["Mismatch"]

PER_CENT = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


class Mismatch:
    """Quality against device-to-device variation."""

    name = "mismatch"
    question = "How much device-to-device variation can a program stand?"
    method = (
        "The layer with a rank-16 bank, a local band and 2,560 weights, T = .01. Every k2 and "
        "every gain is off by a normal share of so many per cent, and every unit has an offset of "
        "as many per cent of its deviation. Nothing is calibrated. 360 test digits at five "
        "noise levels. A seed draws the device, image noise and substrate noise."
    )
    parameters: ClassVar = {"per_cent": "off by %"}
    figures = QUALITY
    panels = (Panel("R² over the training mean", "per_cent", ("r2",)),
              Panel("F-MSE", "per_cent", ("f_mse",)))
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject()

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"mismatch of {self.subject.identity}"

    def points(self) -> list[Point]:
        """Return the variations."""
        return [{"per_cent": per_cent} for per_cent in PER_CENT]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one device."""
        lowered = self.subject.compiled(16, band=True, interface="quad")
        faults = mismatch(lowered.program, float(point["per_cent"]) / 100, seed)
        reading = self.subject.read(device, lowered, seed, faults=faults)
        return self.subject.quality(reading, lowered, seed)

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return the largest variation that costs less than .01 in R²."""
        whole = next((row.figures["r2"].mean for row in rows if row.point["per_cent"] == 0), None)
        if whole is None:
            return []
        stood = list(takewhile(lambda row: row.figures["r2"].mean > whole - 0.01, rows))
        most, left = stood[-1].point["per_cent"], stood[-1].figures["r2"].mean
        return [f"Up to {most:g} % costs less than .01 of R² ({left:.3f} of {whole:.3f})."]

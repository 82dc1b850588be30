"""Yield: what dead couplings and dead units cost."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pbitstream.devices.protocol import Device
from pbitstream.study.base import Panel, Point, Row
from pbitstream.study.imperfect import Imperfect, dead_couplings, dead_units
from pbitstream.study.subject import QUALITY, Subject

__all__ = ["Faults"]

PER_CENT = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
KINDS = ("couplings", "units")


class Faults:
    """Quality against the share of what does not work."""

    name = "yield"
    question = "How many dead couplings and units can a program stand?"
    method = (
        "The layer with a rank-16 bank, a local band and 2,560 weights, T = .01. A dead coupling "
        "is a factor or a band weight of 0; a dead unit couples to nothing and reads 0, the "
        "layer's mean. Nothing is compiled around the faults. 360 test digits at five noise "
        "levels. A seed draws the faults, image noise and substrate noise."
    )
    parameters: ClassVar = {"kind": "dead", "per_cent": "share %"}
    figures = QUALITY
    panels = (Panel("R² over the training mean", "per_cent", ("r2",), lines="kind"),
              Panel("F-MSE", "per_cent", ("f_mse",), lines="kind"))
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject()

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"yield of {self.subject.identity}"

    def points(self) -> list[Point]:
        """Return both kinds at every share."""
        return [{"kind": kind, "per_cent": per_cent} for kind in KINDS for per_cent in PER_CENT]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one device."""
        lowered = self.subject.compiled(16, band=True, interface="quad")
        share = float(point["per_cent"]) / 100
        if point["kind"] == "units":
            faults = dead_units(lowered.program, share, seed)
        else:
            program = dead_couplings(lowered.program, share, seed)
            faults = replace(Imperfect.none(program), program=program)
        reading = self.subject.read(device, lowered, seed, faults=faults)
        return self.subject.quality(reading, lowered, seed)

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return what one per cent costs."""
        at = {(row.point["kind"], row.point["per_cent"]): row.figures["r2"].mean for row in rows}
        return [f"1 % of dead {kind} takes R² from {at[kind, 0.0]:.3f} to {at[kind, 1.0]:.3f}."
                for kind in KINDS if {(kind, 0.0), (kind, 1.0)} <= at.keys()]

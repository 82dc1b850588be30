"""Rank: how many components a skip needs, by each way of choosing them."""

from collections.abc import Sequence
from typing import ClassVar

from pbitstream.devices.protocol import Device
from pbitstream.study.base import Figure, Panel, Point, Row
from pbitstream.study.subject import QUALITY, Subject

__all__ = ["Rank"]

RANKS = (1, 2, 4, 8, 16, 32, 64)
METHODS = ("hbc", "cca", "truncated", "cross", "gram", "paper")
LOCAL = "hbc + band"


class Rank:
    """Error against rank for every construction, and with a local band beside the best."""

    name = "rank"
    question = "How does the error fall with rank, and what is the best construction?"
    method = (
        "The digits U-Net's d1 driven by e1, compiled by each method, fixed-point Langevin "
        "dynamics at T = .01, 360 test digits at five noise levels. Connections: 2 D k + k of "
        "a rank-k bank, and the wires of a band, against D² = 16,384. A seed draws image noise and "
        "substrate noise."
    )
    parameters: ClassVar = {"method": "method", "rank": "rank"}
    figures = (*QUALITY, Figure("connections", "connec-\ntions", "numbers of the banks", 0))
    panels = (
        Panel("R² over the training mean", "rank", ("r2",), lines="method", logarithmic="x",
              limits=(-0.05, 1.0)),
        Panel("F-MSE", "rank", ("f_mse",), lines="method", logarithmic="x"),
    )
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject()

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"rank of {self.subject.identity}"

    def points(self) -> list[Point]:
        """Return every method at every rank."""
        return [{"method": method, "rank": rank} for method in (*METHODS, LOCAL) for rank in RANKS]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one method and rank."""
        method, band = str(point["method"]), point["method"] == LOCAL
        lowered = self.subject.compiled(int(point["rank"]), method="hbc" if band else method,
                                        band=band)
        reading = self.subject.read(device, lowered, seed)
        (fit,) = lowered.fitted.banks.values()
        factors = fit.factors
        wires = 0 if fit.local is None else fit.local.wires
        return {**self.subject.quality(reading, lowered, seed),
                "connections": float(factors.a.size + factors.b.size + factors.rank + wires)}

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return the best method, and what a band is worth."""
        at = {(row.point["method"], row.point["rank"]): row.figures["r2"].mean for row in rows}
        found = []
        at_16 = {method: r2 for (method, rank), r2 in at.items() if rank == 16 and method != LOCAL}
        if at_16:
            best = max(at_16, key=lambda method: at_16[method])
            found.append(f"At rank 16 {best} is best: R² {at_16[best]:.3f}.")
        if (LOCAL, 16) in at and ("hbc", 32) in at:
            found.append(f"A local band beside rank 16 reaches {at[LOCAL, 16]:.3f}; doubling the "
                         f"rank instead {at['hbc', 32]:.3f}.")
        return found

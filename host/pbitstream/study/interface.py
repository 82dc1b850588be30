"""Interface: what a tiny digital net adds to the banks, against its number of weights."""

from collections.abc import Sequence
from typing import ClassVar

from pbitstream.devices.protocol import Device
from pbitstream.study.base import Figure, Panel, Point, Row
from pbitstream.study.subject import QUALITY, Subject

__all__ = ["Interface"]

FORMS = ("none", "quad", "paper", "8x32", "16x64", "32x128")
RANKS = (4, 16, 64)
#: It takes as long to fit as the others of a rank together: at one rank only.
WIDEST, WIDEST_RANK = FORMS[-1], 16


class Interface:
    """Quality of banks with interfaces of every size."""

    name = "interface"
    question = "How much does a digital conditioning net add, for how many weights?"
    method = (
        "Nets are fitted to what rank-k banks leave of the U-Net's d1, quantised, and run in "
        "integers before every relaxation; T = .01, 360 test digits at five noise levels. "
        "quad: 4 numbers, their products, 16 to D; RxH: two hidden layers, the widest at rank "
        f"{WIDEST_RANK} only. A seed draws image noise and substrate noise."
    )
    parameters: ClassVar = {"rank": "rank", "form": "interface"}
    figures = (Figure("weights", "weights", "weights of the conditioning net", 0), *QUALITY)
    panels = (
        Panel("R² over the training mean", "form", ("r2",), lines="rank"),
        Panel("F-MSE", "form", ("f_mse",), lines="rank"),
    )
    def __init__(self, subject: Subject | None = None) -> None:
        self.subject = subject or Subject()

    @property
    def identity(self) -> str:
        """The topic and its subject."""
        return f"interface of {self.subject.identity}"

    def points(self) -> list[Point]:
        """Return every form at every rank, and the widest net at one."""
        return [{"rank": rank, "form": form} for rank in RANKS for form in FORMS
                if form != WIDEST or rank == WIDEST_RANK]

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one form and rank."""
        lowered = self.subject.compiled(int(point["rank"]), interface=str(point["form"]))
        net = lowered.program.conditioning
        reading = self.subject.read(device, lowered, seed)
        return {**self.subject.quality(reading, lowered, seed),
                "weights": 0.0 if net is None else float(net.weights)}

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return what the paper's budget adds."""
        at = {(row.point["rank"], row.point["form"]): row.figures["r2"].mean for row in rows}
        return [f"At rank {rank}, 2,560 weights raise R² from {at[rank, 'none']:.3f} to "
                f"{at[rank, 'quad']:.3f}."
                for rank in RANKS if {(rank, "none"), (rank, "quad")} <= at.keys()]

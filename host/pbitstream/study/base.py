"""A study: figures measured at points, over seeds, each row with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import Device

__all__ = ["COVERAGE", "MIN_SEEDS", "Figure", "Panel", "Point", "Row", "Spread", "Study", "Topic",
           "spread"]

#: What a row is measured at, by the names of the topic's parameters.
Point: TypeAlias = Mapping[str, str | float | int]

#: Seeds of a row, at least, so that its interval means something.
MIN_SEEDS = 5
COVERAGE = 0.95
#: Standard normal quantile of a two-sided interval of that coverage.
NORMAL = 1.959964


@dataclass(frozen=True)
class Figure:
    """One measured quantity: its name in JSON, the head of its column, and what it is."""

    name: str
    title: str
    what: str
    digits: int = 3


@dataclass(frozen=True)
class Panel:
    """One panel of the plot: figures against parameter `x`, in the rows that `only` matches.

    A line per figure, or, with `lines`, per value of that parameter. `logarithmic` names axes;
    figures outside `limits` are left off. Points in words stand below each other.
    """

    title: str
    x: str
    figures: tuple[str, ...]
    lines: str | None = None
    only: Mapping[str, str | float | int] = field(default_factory=dict)
    logarithmic: str = ""
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Spread:
    """Mean over seeds, with the 95 % interval of the mean by Student's t."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Row:
    """The figures of one point; an exact figure has an interval without width."""

    point: Point
    figures: Mapping[str, Spread]


class Topic(Protocol):
    """One question, and how it is measured."""

    @property
    def name(self) -> str:
        """How the command calls it."""

    @property
    def question(self) -> str:
        """What it answers, in one line."""

    @property
    def method(self) -> str:
        """What is measured and how, what a seed varies, in a few lines."""

    @property
    def parameters(self) -> Mapping[str, str]:
        """Names of the parameters of a point, and the heads of their columns."""

    @property
    def figures(self) -> Sequence[Figure]:
        """What every point is measured for."""

    @property
    def panels(self) -> Sequence[Panel]:
        """What the plot shows."""

    @property
    def identity(self) -> str:
        """Changes whenever results kept from before would no longer be those of this topic."""

    def points(self) -> list[Point]:
        """Return the points, in the order of the rows."""

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return the figures of one point and seed; NaN where there is none."""

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return what the rows say, in sentences with their numbers."""


@dataclass(frozen=True, eq=False)
class Study:
    """The rows of a topic, measured with some seeds."""

    topic: Topic
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data for JSON."""
        topic = self.topic
        return {
            "topic": topic.name,
            "question": topic.question,
            "method": topic.method,
            "seeds": list(self.seeds),
            "figures": {figure.name: figure.what for figure in topic.figures},
            "rows": [{**row.point,
                      **{name: asdict(found) for name, found in row.figures.items()}}
                     for row in self.rows],
            "conclusions": topic.conclusions(self.rows),
        }


def spread(values: Sequence[float]) -> Spread:
    """Return mean and interval, ``mean +- t s / sqrt(n)``; NaN where a value is, or none."""
    found: NDArray[np.float64] = np.asarray(values, np.float64)
    count = len(found)
    mean = float(found.mean()) if count else math.nan
    half = math.nan
    if count and (found == found[0]).all():
        half = 0.0
    elif count > 1:
        half = _student(count - 1) * float(found.std(ddof=1)) / math.sqrt(count)
    return Spread(mean, mean - half, mean + half, count)


def _student(freedom: int) -> float:
    """Return the quantile of Student's t for the coverage, by its expansion in 1 / freedom.

    Within 1 % for 4 degrees of freedom or more (Abramowitz and Stegun, 26.7.5).
    """
    z, n = NORMAL, freedom
    return (z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
            + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4))

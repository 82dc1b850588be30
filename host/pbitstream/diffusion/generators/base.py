"""What every generator is to the rest of the package: programs, a judge, and `draw`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import Device
from pbitstream.program import Program

__all__ = ["Drawn", "Frame", "Generator", "Report"]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]
#: Called with (what is being done, how many are done, of how many).
Report = Callable[[str, int, int], object]


class Frame(NamedTuple):
    """The images on their way: what they are after, and their pixels, (count, 64)."""

    caption: str
    images: Values


@dataclass(frozen=True, eq=False)
class Drawn:
    """Images that a device drew.

    Attributes
    ----------
    images : array, shape (count, 64)
        Pixels about [-1, 1], row by row.
    labels : array, shape (count,), or None
        The labels that were asked for, of a generator that takes them.
    frames
        The images on their way, the start first, `images` last.
    updates
        Updates of single units on the device, over all relaxations.
    clips
        Clips by name, over all relaxations; see `pbitstream.devices.protocol.CLIP_NAMES`.
    """

    images: Values
    labels: Labels | None
    frames: tuple[Frame, ...]
    updates: int
    clips: Mapping[str, int]


class Generator(Protocol):
    """A model with what it needs to draw images."""

    @property
    def programs(self) -> tuple[Program, ...]:
        """What a device loads, in the order of use."""

    @property
    def judge(self) -> str:
        """The judge that measures its images: ``grey`` or ``binary``."""

    @property
    def labelled(self) -> bool:
        """Whether it takes labels."""

    def to_dict(self) -> dict[str, Any]:
        """Return what it is and how it draws, as plain data."""

    def draw(
        self,
        device: Device,
        count: int,
        *,
        seed: int,
        labels: Labels | None = None,
        report: Report | None = None,
    ) -> Drawn:
        """Draw images.

        Every image depends on the model, `seed`, its number and its label only.

        Parameters
        ----------
        device
            Open; it is left with one of the programs loaded.
        count
            Number of images.
        seed
            Of all noise, 0 to 2^32 - 1.
        labels : array, shape (count,)
            0 to 9; drawn uniformly from `seed` where None.

        Raises
        ------
        SpecError
            If an argument is out of range, or labels are given to a generator without.
        """

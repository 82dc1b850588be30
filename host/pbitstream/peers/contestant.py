"""What takes part in a comparison: a system, its candidates, and what a round asks of each."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["OURS", "Candidates", "Contestant", "missing", "versions"]

OURS = "pbitstream"
#: Peers and the packages they are made of.
PACKAGES = {
    "THRML": ("thrml", "jax"),
    "ferrotherm": ("ferrotherm",),
    "dwave-samplers": ("dwave-samplers", "dimod"),
    "JAX loop": ("jax",),
    "thermox": ("thermox", "jax"),
}


class Contestant(Protocol):
    """Chains of one system on one task, which go on from where they were."""

    #: Chains, and units of each.
    chains: int
    units: int
    #: Sweeps of a run are a multiple of this.
    block: int
    #: Seconds that building and compiling took.
    setup: float
    #: Seconds of them that compiling took.
    compilation: float

    def run(self, sweeps: int) -> float:
        """Update every unit so many times; return the share of the time that was sampling."""

    def figures(self) -> NDArray[np.float64]:
        """Return the figure that is compared, of every chain's state: (chains,)."""


@dataclass(frozen=True)
class Candidates:
    """A system in a row, with everything it may try.

    Attributes
    ----------
    system
        `OURS` or a name of `PACKAGES`.
    options
        Chain counts, batch sizes, or whatever `make` takes.
    make
        Returns a contestant of the row's task: ``make(task, option)``.
    unit
        What an option is called: ``chains``, ``threads``, ``form``.
    """

    system: str
    options: tuple[Any, ...]
    make: Callable[[Any, Any], Contestant]
    unit: str = "chains"


def missing(system: str) -> str:
    """Return why a system cannot take part and what would help; empty if it can."""
    for package in PACKAGES.get(system, ()):
        try:
            version(package)
        except PackageNotFoundError:
            return f"{package} is not installed: pip install 'pbitstream[peers]'"
    return ""


def versions() -> dict[str, str | None]:
    """Return the version of every package of the peers, None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in sorted({package for packages in PACKAGES.values() for package in packages}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found

"""The topics there are, by name; each is imported when it is asked for."""

from importlib import import_module
from typing import TYPE_CHECKING

from pbitstream.errors import SpecError

if TYPE_CHECKING:
    from pbitstream.study.base import Topic

__all__ = ["QUESTIONS", "open_topic"]

#: What each topic answers, for lists that must not import them.
QUESTIONS = {
    "paper": "the paper's table, under its metric and under honest ones",
    "rank": "error against rank, for every construction",
    "interface": "quality against the number of digital weights",
    "temperature": "what thermal noise costs a readout",
    "quantisation": "bits of state, factors, biases and readouts",
    "mismatch": "devices that differ from each other",
    "yield": "dead couplings and dead units",
    "signal": "the conditioning signal against thermal noise",
    "mixing": "how mixing depends on dimension, spectral gap and k4",
}
#: Where a topic is that cannot be a module of its name.
ELSEWHERE = {"yield": "faults"}


def open_topic(name: str) -> "Topic":
    """Return a topic; SpecError if there is none of that name."""
    if name not in QUESTIONS:
        raise SpecError(f"topic must be one of {', '.join(QUESTIONS)}, not {name}")
    place = ELSEWHERE.get(name, name)
    found: Topic = getattr(import_module(f"pbitstream.study.{place}"), place.capitalize())()
    return found

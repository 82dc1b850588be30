"""The topics there are, by name; each is imported when it is asked for."""

from importlib import import_module

from pbitstream.errors import SpecError
from pbitstream.study.base import Topic

__all__ = ["QUESTIONS", "open_topic"]

#: What each topic answers, for lists that must not import them.
QUESTIONS = {
    "mixing": "how mixing depends on dimension, spectral gap and k4",
}


def open_topic(name: str) -> Topic:
    """Return a topic; SpecError if there is none of that name."""
    if name not in QUESTIONS:
        raise SpecError(f"topic must be one of {', '.join(QUESTIONS)}, not {name}")
    found: Topic = getattr(import_module(f"pbitstream.study.{name}"), name.capitalize())()
    return found

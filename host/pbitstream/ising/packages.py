"""Packages of the extra `ising` that are imported where they are needed."""

from importlib import import_module
from typing import Any

from pbitstream.errors import MissingExtraError

__all__ = ["dimod"]


def dimod() -> Any:
    """Return the module dimod; MissingExtraError without it."""
    try:
        return import_module("dimod")
    except ImportError as error:
        raise MissingExtraError("binary quadratic models need dimod, which is missing; "
                                "pip install 'pbitstream[ising]'") from error

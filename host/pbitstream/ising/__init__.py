"""Ising problems: reading them, colouring them, and lowering them to programs of p-bits."""

from pbitstream.ising.box import box_colouring
from pbitstream.ising.colouring import balanced_colouring, check_colouring, greedy_colouring
from pbitstream.ising.formats import FORMATS, read_problem
from pbitstream.ising.lower import Loss, Lowered, lower
from pbitstream.ising.problem import Problem

__all__ = [
    "FORMATS",
    "Loss",
    "Lowered",
    "Problem",
    "balanced_colouring",
    "box_colouring",
    "check_colouring",
    "greedy_colouring",
    "lower",
    "read_problem",
]

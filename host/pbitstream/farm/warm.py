"""Imported where workers are forked: kernels are loaded, and the code has its digest."""

from contextlib import suppress

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.emulator.device import Emulator
from pbitstream.farm.task import code

__all__ = ["prepare"]


def prepare() -> None:
    """Do once what the first task of every worker would do."""
    builder = ProgramBuilder()
    builder.langevin("x", 1)
    with Emulator(threads=1) as emulator:
        emulator.load(builder.build())
        emulator.relax([[0.0]], steps=1, seed=0)
    code()


# No worker could start if this failed; the first task fails of the same, and its error arrives.
with suppress(Exception):
    prepare()

"""Imported where workers are forked: kernels are loaded, and the code has its digest."""

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.emulator.device import Emulator
from pbitstream.farm.task import code

__all__: list[str] = []


def _relax() -> None:
    builder = ProgramBuilder()
    builder.langevin("x", 1)
    with Emulator(threads=1) as emulator:
        emulator.load(builder.build())
        emulator.relax([[0.0]], steps=1, seed=0)


_relax()
code()

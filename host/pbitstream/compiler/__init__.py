"""From float couplings to quantised programs."""

from pbitstream.compiler.builder import ProgramBuilder, colour_phases

__all__ = ["ProgramBuilder", "colour_phases"]

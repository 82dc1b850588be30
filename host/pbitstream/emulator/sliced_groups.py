"""The bit-sliced kernels for one call, narrow and wide; see `pbitstream.emulator.grouped`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator import bitsliced, wide
from pbitstream.emulator.inputs import Inputs, WideInputs
from pbitstream.emulator.levels import SlicedTables
from pbitstream.emulator.pbit_plan import PbitPlan
from pbitstream.emulator.plan import zeros
from pbitstream.spec.noise import FIELD_BITS, FIELDS, STREAMS

__all__ = ["Sliced", "WideSliced"]

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


class Sliced:
    """Groups of 64 chains: planes of 8 units."""

    weight, width = 1, 1
    #: Words of noise that no stream is in.
    free = bitsliced.STREAM_BLOCK

    def __init__(self, plan: PbitPlan, tables: SlicedTables, steps: Integers) -> None:
        self.tables, self.steps, self.size = tables, steps, plan.size * self.width
        self.modules = tables.modules
        #: Words behind the spins.
        self.room = 0
        if isinstance(tables.inputs, Inputs):
            self.room = int(np.diff(tables.inputs.gathered).max())
        self.digits = (0,) * tables.digits

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return a thread's leaves, table, numbers, functions and homes."""
        count, digits = len(self.modules), self.tables.digits
        planes = FIELD_BITS * count * 2, FIELDS * digits * bitsliced.BLOCK, 16 * bitsliced.BLOCK
        return (np.zeros(FIELD_BITS * count << (digits - 4), np.uint8),
                *(zeros((words,), np.uint64) for words in planes),
                np.zeros(STREAMS * self.width // bitsliced.BLOCK + 1, np.int64))

    def turn_noise(self, streams: Words, first: int, end: int, noise: Words,
                   scratch: tuple[NDArray[Any], ...], back: bool) -> None:
        """Put streams of chains into a group's noise, or back."""
        bitsliced.slice_noise(streams, first, end, noise, scratch[-1], self.width, back)

    def relax(self, number: int, position: Integers, budget: int, group: tuple[Words, ...],
              clipped: Integers, scratch: tuple[NDArray[Any], ...], counted: int) -> None:
        """Relax a group of input `number` by at most `budget` steps."""
        tables, inputs = self.tables, self.tables.inputs
        assert isinstance(inputs, Inputs)
        bitsliced.relax_group(
            tables.modules, inputs.first, inputs.places, inputs.flips, inputs.present,
            tables.start[number], inputs.gathered, inputs.sources, tables.thresholds, self.steps,
            position, budget, *group, *scratch, self.size, counted, self.digits,
        )


class WideSliced(Sliced):
    """Groups of 512 chains: planes of one unit."""

    width = wide.WIDTH

    def relax(self, number: int, position: Integers, budget: int, group: tuple[Words, ...],
              clipped: Integers, scratch: tuple[NDArray[Any], ...], counted: int) -> None:
        """Relax a group of input `number` by at most `budget` steps."""
        tables, inputs = self.tables, self.tables.inputs
        assert isinstance(inputs, WideInputs)
        wide.relax_wide_group(
            tables.modules, inputs.inputs, inputs.turns, tables.start[number], tables.thresholds,
            self.steps, position, budget, *group, *scratch, self.size, counted, self.digits,
        )

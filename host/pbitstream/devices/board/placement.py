"""A program as an image holds it: the words of every window that the host writes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.board.assemble import assemble
from pbitstream.devices.board.layout import Layout, lay_out
from pbitstream.devices.board.schedule import orders
from pbitstream.devices.call import Call
from pbitstream.program import Program
from pbitstream.spec.cycles import cycles_per_step
from pbitstream.spec.image import Image
from pbitstream.spec.instructions import MODULE, pack
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.topology import LowRankBank, Topology
from pbitstream.spec.words import FIELD_FRACTIONS

__all__ = ["CONSTANTS", "Placement", "place"]

#: Tables of a program that a call may replace.
CONSTANTS = ("k2", "k4", "noise_gain", "noise_shift", "beta")

Words = NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Placement:
    """A program in an image.

    Attributes
    ----------
    instructions
        128-bit words: prologue and step.
    cycles_per_step
        Of the board's clock, once its pipelines have filled.
    """

    topology: Topology
    image: Image
    layout: Layout
    instructions: tuple[int, ...]
    cycles_per_step: int

    @property
    def used(self) -> int:
        """Slots up to the last row in use."""
        return sum(rows.count for rows in self.layout.rows) * self.image.lanes

    @property
    def spin_rows(self) -> int:
        """Rows of 128 p-bits that need a reset spin: those of the largest free module."""
        dims = [m.dim for m in self.topology.modules if m.kind == "pbit" and not m.clamped]
        return -(-max(dims, default=0) // STREAMS)

    def shadow(self, constants: Mapping[str, Any]) -> Words:
        """Return all shadow windows, one after another, with these `CONSTANTS`."""
        topology, image = self.topology, self.image
        modules = np.zeros(image.max_modules, "<u8")
        for index, module in enumerate(topology.modules):
            modules[index] = pack(
                MODULE,
                pbit=int(module.kind == "pbit"),
                clamped=int(module.clamped),
                fraction=FIELD_FRACTIONS.index(topology.field_fraction),
                dt_shift=topology.dt_shift,
                **{name: int(constants[name][index])
                   for name in ("noise_gain", "noise_shift", "beta")},
            )
        stiffness = np.zeros((image.max_units, 2), "<u2")
        stiffness[self.layout.slots] = np.stack([constants["k2"], constants["k4"]], axis=1)
        instructions = b"".join(word.to_bytes(16, "little") for word in self.instructions)
        tables = np.zeros((image.max_rank_words, image.lanes), "<i2")
        tables[: len(self.layout.tables)] = self.layout.tables
        return np.concatenate([
            modules.view("<u4"),
            stiffness.reshape(-1).view("<u4"),
            np.frombuffer(instructions.ljust(16 * image.max_instructions, b"\0"), "<u4"),
            tables.reshape(-1).view("<u4"),
        ])

    def page(self, call: Call, number: int) -> Words:
        """Return both page windows, one after the other, for input `number` of a call."""
        gains = np.zeros(self.image.max_gains, np.int16)
        own = call.gains[number if len(call.gains) > 1 else 0]
        for index, bank in enumerate(self.topology.banks):
            if isinstance(bank, LowRankBank):
                first = self.layout.gains[index]
                gains[first : first + bank.rank] = own[index, : bank.rank]
        biases = np.zeros(self.image.max_units, "<i2")
        # A clamped unit has no bias, a free one no clamp.
        biases[self.layout.slots] = call.h[number] + call.clamp[number]
        return np.concatenate([gains.astype("<u2").astype("<u4"), biases.view("<u4")])


def place(program: Program, image: Image) -> Placement:
    """Place a program in an image.

    Raises
    ------
    SpecError
        If it does not fit; the message names the limit.
    """
    topology, layout = program.topology, lay_out(program, image)
    found = {assemble(topology, layout, image, o) for o in orders(topology, layout)}
    cycles, words = min((cycles_per_step(words, image), words) for words in found)
    return Placement(topology, image, layout, words, cycles)

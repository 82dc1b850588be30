"""Programs of p-bits for the kernels that run chains in groups: who sees whom, with which weight.

A program qualifies if every free module is of p-bits and every bank into one is a band or sparse.
Fields are in the program's raw steps of 2^-F: a spin adds ``4096 w m``, and clamped units and
biases a constant.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.call import Call
from pbitstream.program import Program
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.topology import BandBank, LowRankBank, Topology
from pbitstream.spec.words import EXPOSED, PBIT_INPUT, SPIN
from pbitstream.tables import band_rows, sparse_rows

__all__ = ["BLOCK", "PbitPlan", "qualifies"]

#: Modules start at multiples of so many words, so much room before the first and behind the last.
BLOCK = 8

Integers = NDArray[np.int64]


def qualifies(topology: Topology) -> bool:
    """Return whether chains of such a program can run in groups."""
    free = [module for module in topology.modules if not module.clamped]
    return all(module.kind == "pbit" for module in free) and not any(
        isinstance(topology.banks[index], LowRankBank) for index, _, _, _ in topology.ends()
    )


class PbitPlan:
    """The free units of a program and the edges between them.

    Attributes
    ----------
    order
        Free modules in the order of update: phase by phase, ascending.
    place
        Word of every unit, (units,); of clamped ones 0.
    size
        Words of the spins of all free units, padding included.
    visits
        Places of the free units in the order of update: modules in `order`, in each the units of a
        stream one behind another.
    targets, sources, weights
        Edges into free units from free units, by target and then by source: units, and the
        weights times 4096. Parallel edges are one; edges without weight are none.
    reach
        Sum of the weights' magnitudes of every unit, (units,).
    """

    def __init__(self, program: Program) -> None:
        self.topology = topology = program.topology
        self.order = [module for phase in topology.phases for module in phase]
        self.place: Integers = np.zeros(topology.units, np.int64)
        self.size = BLOCK
        visits: list[Integers] = []
        for module in self.order:
            dim = topology.modules[module].dim
            unit = np.arange(dim)
            self.place[topology.units_of(module)] = self.size + unit
            visits.append(self.size + np.lexsort((unit, unit % STREAMS)))
            self.size += -(-dim // BLOCK) * BLOCK
        self.size += BLOCK
        self.visits: Integers = np.concatenate(visits)
        self.free: NDArray[np.bool_] = self.place > 0
        targets, sources, weights = _edges(program)
        held = ~self.free[sources]
        self._held = targets[held], sources[held], weights[held]
        self.targets, self.sources, self.weights = _merged(
            targets[~held], sources[~held], weights[~held] * SPIN, topology.units
        )
        self.reach: Integers = np.zeros(topology.units, np.int64)
        np.add.at(self.reach, self.targets, np.abs(self.weights))

    def modules(self, columns: int) -> Integers:
        """Return a table of the free modules with its first columns filled in."""
        table = np.zeros((len(self.order), columns), np.int64)
        for row, module in zip(table, self.order):
            part = self.topology.units_of(module)
            row[:3] = self.place[part.start], self.topology.modules[module].dim, part.start
        return table

    def constants(self, call: Call) -> Integers:
        """Return what biases and clamped units add to every field, (inputs, units)."""
        constant = call.h.astype(np.int64) << (self.topology.field_fraction - EXPOSED.fraction)
        targets, sources, weights = self._held
        np.add.at(constant.T, targets, (weights * call.clamp[:, sources]).T)
        constant[:, ~self.free] = 0
        return constant

    def clips(self, constants: Integers) -> bool:
        """Return whether some field of a p-bit could reach the limit of its 18 bits."""
        shift = self.topology.field_fraction - PBIT_INPUT.fraction
        worst = int((np.abs(constants) + self.reach).max())
        return worst > PBIT_INPUT.highest << shift


def _edges(program: Program) -> tuple[Integers, Integers, Integers]:
    """Return target, source and weight of every weight into a free module, as units."""
    topology = program.topology
    none: Integers = np.zeros(0, np.int64)
    found: list[tuple[Any, Any, Any]] = [(none, none, none)]
    for index, _, _, forward in topology.ends():
        bank = topology.banks[index]
        near, far = topology.starts[bank.source], topology.starts[bank.target]
        if isinstance(bank, BandBank):
            dims = topology.modules[bank.target].dim, topology.modules[bank.source].dim
            for offset, w in zip(bank.offsets, program.tables[f"bank{index}.w"]):
                row = np.arange(*band_rows(offset, *dims))
                ends = far + row, near + row + offset
                found.append((*(ends if forward else ends[::-1]), w[row]))
        else:
            pointers, columns, weights = (
                program.tables[f"bank{index}.{name}"] for name in ("indptr", "indices", "weights")
            )
            ends = far + sparse_rows(pointers), near + columns
            found.append((*(ends if forward else ends[::-1]), weights))
    targets, sources, weights = (np.concatenate(values).astype(np.int64) for values in zip(*found))
    return targets, sources, weights


def _merged(
    targets: Integers, sources: Integers, weights: Integers, units: int
) -> tuple[Integers, Integers, Integers]:
    """Return edges in order, parallel ones added up, those of weight 0 left out."""
    keys, which = np.unique(targets * units + sources, return_inverse=True)
    sums: Integers = np.zeros(len(keys), np.int64)
    np.add.at(sums, which, weights)
    kept = sums != 0
    return keys[kept] // units, keys[kept] % units, sums[kept]

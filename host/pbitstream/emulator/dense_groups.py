"""Tables of the kernel of dense p-bits in groups, of a program and of a call.

`pbitstream.emulator.dense_lookups` describes the layout.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator import dense_lookups as k
from pbitstream.emulator import lanes
from pbitstream.emulator.chain_words import CHAINS, FREE_DIM, FREE_WORDS
from pbitstream.emulator.dense_vectors import SPINS, SUMS, UNITS, picks_fast
from pbitstream.emulator.pbit_plan import PbitPlan
from pbitstream.emulator.plan import zeros
from pbitstream.spec.fixed import rhu
from pbitstream.spec.sigmoid import THRESHOLD_BITS, sigmoid_table
from pbitstream.spec.topology import SparseBank, Topology
from pbitstream.spec.words import PBIT_INPUT, SPIN

__all__ = ["LookupTables", "Lookups", "lookup_tables", "may_look_up"]

#: Look-ups of a step of a group, each of 64 bytes of sums.
MOST = 1 << 19

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class LookupTables:
    """Weights of a program as sums that groups of spins pick from.

    Attributes
    ----------
    units
        Free units in the order of update.
    groups_of_spins
        How many there are.
    tiles, groups, sums, low, reach
        As the kernel wants them.
    """

    units: Integers
    groups_of_spins: int
    tiles: Integers
    groups: NDArray[np.int32]
    sums: NDArray[np.uint16]
    low: NDArray[np.uint16]
    reach: NDArray[np.uint16]


def may_look_up(topology: Topology) -> bool:
    """Return whether this machine looks up fast, and matrices of such banks are not too large."""
    entries = sum(bank.entries for bank in topology.banks if isinstance(bank, SparseBank))
    return picks_fast() and 2 * entries <= MOST * SPINS


def lookup_tables(plan: PbitPlan) -> LookupTables | None:
    """Return the tables of a program; None unless a look-up stands for a weight or more.

    With fewer the engine of numbers in lanes is faster. Cost: O(weights log weights), and 64 bytes
    a look-up.
    """
    modules = plan.modules(FREE_WORDS)
    units = np.concatenate([
        np.arange(plan.topology.units)[plan.topology.units_of(module)] for module in plan.order
    ])
    count = -(-len(units) // SPINS)
    number = np.zeros(plan.topology.units, np.int64)
    number[units] = np.arange(len(units))
    targets, sources = number[plan.targets], number[plan.sources]
    weights = plan.weights // SPIN
    widths = np.concatenate([[UNITS] * (dim // UNITS) + [1] * (dim % UNITS)
                             for dim in modules[:, FREE_DIM].tolist()]).astype(np.int64)
    tile = np.repeat(np.arange(len(widths)), widths)
    # An entry is a tile and a group of which a weight is not 0; it is a look-up for every unit.
    keys, entry = np.unique(tile[targets] * count + sources // SPINS, return_inverse=True)
    owner = keys // count
    places = np.concatenate([[0], np.cumsum(widths[owner])])
    if not 0 < places[-1] <= min(len(weights), MOST):
        return None
    bounds = np.searchsorted(owner, np.arange(len(widths) + 1))
    tiles = np.zeros((len(widths), k.TILE_WORDS), np.int64)
    tiles[:, k.TILE_FIRST], tiles[:, k.TILE_END] = bounds[:-1], bounds[1:]
    tiles[:, k.TILE_PLACE] = SUMS * places[bounds[:-1]]
    first = np.cumsum(widths) - widths
    own = np.zeros((places[-1], SPINS), np.uint16)
    own[places[entry] + targets - first[tile[targets]], sources % SPINS] = weights.astype(np.uint16)
    sums = zeros((len(own), SUMS), np.uint16)
    for spin in range(SPINS):
        half = 1 << spin
        np.add(sums[:, :half], own[:, spin, None], out=sums[:, half : 2 * half])
    low = np.zeros(len(units), np.int64)
    np.add.at(low, targets, np.maximum(-weights, 0))
    return LookupTables(units, count, tiles.reshape(-1), (keys % count).astype(np.int32),
                        sums.reshape(-1), low.astype(np.uint16),
                        (plan.reach[units] // SPIN).astype(np.uint16))


class Lookups:
    """The kernel of dense p-bits for one call; see `pbitstream.emulator.grouped`."""

    room, free, weight, width = 0, 0, 4, 1

    def __init__(self, plan: PbitPlan, tables: LookupTables, constants: Integers, beta: Integers,
                 steps: Integers) -> None:
        self.tables, self.steps, self.size = tables, steps, plan.size
        self.modules = plan.modules(FREE_WORDS)
        shift = plan.topology.field_fraction - PBIT_INPUT.fraction
        #: A spin that turns adds 2 * 4096 w.
        self.up = SPIN.bit_length() - shift
        lowest = (constants - plan.reach)[:, tables.units]
        self.start = rhu(lowest, shift).astype(np.int32)
        self.beta = np.ascontiguousarray(beta[:, plan.order]).reshape(-1)
        upper = np.array(sigmoid_table())
        table = np.append((1 << THRESHOLD_BITS) - upper[:0:-1], upper)
        self.table = np.pad(table, k.MARGIN, mode="edge").astype(np.uint16)

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return a thread's numbers, g, indices and thresholds."""
        tile = UNITS * CHAINS
        return (zeros((self.tables.groups_of_spins * CHAINS,), np.uint16),
                zeros((tile,), np.uint16), zeros((tile,), np.int32), zeros((tile,), np.uint16))

    def turn_noise(self, streams: Words, first: int, end: int, noise: Words,
                   scratch: tuple[NDArray[Any], ...], back: bool) -> None:
        """Put streams of chains into a group's noise, or back."""
        lanes.turn_noise(streams, first, end, noise, back)

    def relax(self, number: int, position: Integers, budget: int, group: tuple[Words, ...],
              clipped: Integers, scratch: tuple[NDArray[Any], ...], counted: int) -> None:
        """Relax a group of input `number` by at most `budget` steps."""
        tables = self.tables
        if not position.any():
            k.number_spins(self.modules, group[0], scratch[0])
        k.relax_group(
            self.modules, tables.tiles, tables.groups, tables.sums, tables.low, tables.reach,
            self.up, self.start[number], self.beta, self.steps, self.table, position, budget,
            *group, clipped, *scratch, self.size, counted,
        )

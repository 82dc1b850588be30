"""The emulator's engine for many chains of p-bits: groups of 64 chains over threads.

Chains of an input stand in groups of 64, one bit of every word each. A group goes through the whole
schedule before the next begins, so that what it works on stays in the cache. Two kernels run
groups: `pbitstream.emulator.bitsliced` where fields take few values, else
`pbitstream.emulator.lanes`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from threading import Event
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.call import Call, Sums
from pbitstream.devices.protocol import CLIP_NAMES, State
from pbitstream.emulator import bitsliced, lanes
from pbitstream.emulator.chain_words import CHAINS, FREE_WORDS, HISTORY, fill, spill
from pbitstream.emulator.levels import SlicedTables, Slicer
from pbitstream.emulator.pbit_plan import PbitPlan
from pbitstream.program import Program
from pbitstream.spec.noise import FIELD_BITS, FIELDS, STREAMS, mix
from pbitstream.spec.sigmoid import THRESHOLD_BITS, sigmoid_table
from pbitstream.spec.words import EXPOSED, STATE

__all__ = ["Grouped"]

#: Word updates, each of 64 units, of one uninterrupted kernel call: a tenth of a second or so. One
#: in lanes counts as four.
SLICE = 2_000_000
#: How many chains run one by one in the time of a group, by the digits of its levels; measured.
SLICED_COST = {4: 3, 5: 4, 6: 6, 7: 7, 8: 9}
LANES_COST = 20
#: Vectors start at multiples of so many bytes.
ALIGNMENT = 64

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


class Grouped:
    """Runs calls of one program of p-bits, 64 chains at a time.

    Parameters
    ----------
    program
        Checked, and one that `pbitstream.emulator.pbit_plan.qualifies`.
    threads
        Groups are divided among this many threads; the bits do not depend on it.
    """

    def __init__(self, program: Program, threads: int) -> None:
        self.plan = PbitPlan(program)
        self.slicer = Slicer(self.plan)
        self.threads = threads

    def relax(self, call: Call) -> Sums | None:
        """Run all chains of a call, in O(units * chains) memory.

        None, and nothing has been run, where one by one is faster or a field could be clipped.
        """
        if not self._faster(call, min(SLICED_COST.values())):
            return None
        constants = self.plan.constants(call)
        if self.plan.clips(constants):
            return None
        rows = list(call.rows)
        beta = np.stack([row.beta for row in rows]).astype(np.int64)
        steps = np.array([(row.burn_in, row.steps) for row in rows], np.int64).reshape(-1)
        tables = self.slicer.tables(constants, beta)
        kernel: _Kernel
        if not self._faster(call, LANES_COST if tables is None else SLICED_COST[tables.digits]):
            return None
        if tables is None:
            kernel = _Lanes(self.plan, constants, beta, steps)
        else:
            kernel = _Sliced(self.plan, tables, steps)
        run = _Run(self.plan, call, kernel)
        run.over_threads(self.threads)
        return run.sums()

    def _faster(self, call: Call, cost: int) -> bool:
        """Return whether groups that cost so many chains are done before the chains are."""
        groups = call.inputs * -(-call.chains // CHAINS)
        return -(-groups // self.threads) * cost <= -(-call.total_chains // self.threads)


class _Sliced:
    """The bit-sliced kernel for one call."""

    weight = 1

    def __init__(self, plan: PbitPlan, tables: SlicedTables, steps: Integers) -> None:
        self.tables, self.steps, self.size = tables, steps, plan.size
        self.modules = tables.modules
        #: Words behind the spins.
        self.room = int(np.diff(tables.inputs.gathered).max())
        self.digits = (0,) * tables.digits

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return a thread's leaves, table, numbers, functions and spare."""
        count, digits = len(self.modules), self.tables.digits
        return (np.zeros(FIELD_BITS * count << (digits - 3), np.uint8),
                _aligned(FIELD_BITS * count * 2), _aligned(FIELDS * digits * 8), _aligned(16 * 8),
                _aligned(CHAINS * 8 + 1))

    def turn_noise(self, streams: Words, first: int, end: int, noise: Words,
                   scratch: tuple[NDArray[Any], ...], back: bool) -> None:
        """Put streams of chains into a group's noise, or back."""
        bitsliced.slice_noise(streams, first, end, noise, scratch[-1], back)

    def relax(self, number: int, position: Integers, budget: int, group: tuple[Words, ...],
              scratch: tuple[NDArray[Any], ...], counted: int) -> None:
        """Relax a group of input `number` by at most `budget` steps."""
        tables, inputs = self.tables, self.tables.inputs
        bitsliced.relax_group(
            tables.modules, inputs.first, inputs.places, inputs.flips, inputs.present,
            tables.start[number], inputs.gathered, inputs.sources, tables.thresholds, self.steps,
            position, budget, *group, *scratch, self.size, counted, self.digits,
        )


class _Lanes:
    """The kernel of any weights for one call."""

    room, weight = 0, 4

    def __init__(self, plan: PbitPlan, constants: Integers, beta: Integers,
                 steps: Integers) -> None:
        self.steps, self.size = steps, plan.size
        self.modules = plan.modules(FREE_WORDS)
        self.fraction = plan.topology.field_fraction
        places = plan.place[plan.targets]
        order = np.argsort(places, kind="stable")
        self.first = np.searchsorted(places[order], np.arange(plan.size + 1))
        self.sources = plan.place[plan.sources[order]].astype(np.int32)
        # Modulo 2^32, as the sum is; no sum of weights and constant overflows.
        self.weights = (2 * plan.weights[order]).astype(np.int32)
        self.start = np.zeros((len(constants), plan.size), np.int32)
        down = constants.copy()
        np.subtract.at(down.T, plan.targets, plan.weights[:, None])
        self.start[:, plan.place[plan.free]] = down[:, plan.free]
        self.beta = np.ascontiguousarray(beta[:, plan.order]).reshape(-1)
        upper = np.array(sigmoid_table())
        self.table = np.append((1 << THRESHOLD_BITS) - upper[:0:-1], upper).astype(np.uint16)

    def scratch(self) -> tuple[NDArray[Any], ...]:
        """Return a thread's fields, indices and thresholds."""
        return _aligned(CHAINS, np.int32), _aligned(CHAINS, np.uint32), _aligned(CHAINS, np.uint16)

    def turn_noise(self, streams: Words, first: int, end: int, noise: Words,
                   scratch: tuple[NDArray[Any], ...], back: bool) -> None:
        """Put streams of chains into a group's noise, or back."""
        lanes.turn_noise(streams, first, end, noise, back)

    def relax(self, number: int, position: Integers, budget: int, group: tuple[Words, ...],
              scratch: tuple[NDArray[Any], ...], counted: int) -> None:
        """Relax a group of input `number` by at most `budget` steps."""
        lanes.relax_group(
            self.modules, self.first, self.sources, self.weights, self.start[number], self.beta,
            self.steps, self.table, self.fraction, position, budget, *group, *scratch, self.size,
            counted,
        )


_Kernel: TypeAlias = _Sliced | _Lanes


@dataclass(frozen=True, eq=False)
class _Group:
    """Chains `first` to `end` - 1 of input `number`."""

    number: int
    first: int
    end: int


class _Run:
    """One call on one kernel: its results, and its groups over threads."""

    def __init__(self, plan: PbitPlan, call: Call, kernel: _Kernel) -> None:
        self.plan, self.call, self.kernel = plan, call, kernel
        chains, units = call.total_chains, plan.topology.units
        self.units = np.empty((chains, units), np.int32)
        self.totals = np.zeros((chains, units), np.int64)
        if call.state is None:
            self.noise = np.empty((chains, STREAMS), np.uint64)
        else:
            self.noise = call.state.noise.copy()
            self.units[:] = call.state.units
        shift = STATE.fraction - EXPOSED.fraction
        for index, module in enumerate(plan.topology.modules):
            if module.clamped:
                part = plan.topology.units_of(index)
                held = np.repeat(call.clamp[:, part], call.chains, axis=0)
                self.units[:, part] = held > 0 if module.kind == "pbit" else held << shift
        self.groups = [
            _Group(number, first, min(first + CHAINS, (number + 1) * call.chains))
            for number in range(call.inputs)
            for first in range(number * call.chains, (number + 1) * call.chains, CHAINS)
        ]
        self.stop = Event()

    def over_threads(self, threads: int) -> None:
        """Run all groups on so many threads."""
        threads = min(threads, len(self.groups))
        if threads == 1:
            self._run(self.groups)
            return
        bounds = np.linspace(0, len(self.groups), threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(self._run, self.groups[a:b]) for a, b in pairwise(bounds)]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                self.stop.set()
                raise

    def sums(self) -> Sums:
        """Return the results; squares of spins are the steps, and nothing was clipped."""
        squares = np.zeros(self.totals.shape, np.int64)
        if self.call.moments:
            squares[:, self.plan.free] = self.call.steps
        clips = np.zeros((len(self.totals), len(CLIP_NAMES)), np.int64)
        return Sums(self.totals, squares, State(self.units, self.noise), clips)

    def _run(self, groups: list[_Group]) -> None:
        call, kernel, size, count = self.call, self.kernel, self.plan.size, self.units.shape[1]
        counted = max(3, call.steps.bit_length())
        words, noise = _aligned(size + kernel.room), _aligned(STREAMS * CHAINS)
        counters, history = _aligned(counted * size), _aligned(HISTORY * size)
        scratch = kernel.scratch()
        units, streams, totals = (self.units.reshape(-1), self.noise.reshape(-1),
                                  self.totals.reshape(-1))
        budget = max(1, SLICE // (kernel.weight * size))
        for group in groups:
            if self.stop.is_set():
                return
            first, end = group.first, group.end
            fill(kernel.modules, count, np.uint64(mix(call.seed)), call.first_chain,
                 call.state is None, units, streams, first, end, words)
            kernel.turn_noise(streams, first, end, noise, scratch, False)
            counters[:] = 0
            position = np.zeros(2, np.int64)
            while 2 * position[0] < len(kernel.steps) and not self.stop.is_set():
                kernel.relax(group.number, position, budget,
                             (words, noise, counters, history), scratch, counted)
            kernel.turn_noise(streams, first, end, noise, scratch, True)
            spill(kernel.modules, count, words, counters, size, counted, call.steps, first, end,
                  units, totals)


def _aligned(count: int, dtype: Any = np.uint64) -> NDArray[Any]:
    """Return an array of zeros that starts where vectors do."""
    nbytes = count * np.dtype(dtype).itemsize
    room = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + nbytes].view(dtype)

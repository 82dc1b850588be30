"""The emulator's engine for many chains of p-bits: groups of 64 or 512 chains over threads.

Chains of an input stand in groups, one bit of every word each. A group goes through the whole
schedule before the next begins, so that what it works on stays in the cache. Four kernels run
groups: `pbitstream.emulator.bitsliced` where fields take few values, its twin
`pbitstream.emulator.wide` where chains are many as well, `pbitstream.emulator.dense_lookups` where
weights are dense, else `pbitstream.emulator.lanes`.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from threading import Event
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.call import Call, Sums
from pbitstream.devices.protocol import CLIP_NAMES, State
from pbitstream.emulator import lanes
from pbitstream.emulator.chain_words import CHAINS, FREE_WORDS, HISTORY, NEAR, fill, spill
from pbitstream.emulator.dense import crowded, supports
from pbitstream.emulator.dense_groups import Lookups, LookupTables, lookup_tables, may_look_up
from pbitstream.emulator.levels import Slicer
from pbitstream.emulator.pbit_plan import PbitPlan
from pbitstream.emulator.sliced_groups import Sliced, WideSliced
from pbitstream.program import Program
from pbitstream.spec.noise import STREAMS, mix
from pbitstream.spec.sigmoid import THRESHOLD_BITS, sigmoid_table
from pbitstream.spec.words import COUNTER_BITS, EXPOSED, STATE

__all__ = ["Grouped"]

#: Word updates, each of 64 units, of one uninterrupted kernel call: a tenth of a second or so. One
#: in lanes counts as four.
SLICE = 2_000_000
#: How many chains run one by one in the time of a group, by the digits of its levels; measured.
SLICED_COST = {4: 3, 5: 4, 6: 6, 7: 7, 8: 9}
#: How many groups of 64 chains run in the time of one of 512, measured; of a program with more
#: words of spins those of 512 leave the cache.
WIDE_COST, WIDE_MOST = 7, 1 << 15
LANES_COST = 20
#: The same by look-ups, where tables leave the near cache; and where chains one by one walk over so
#: many weights of a unit.
CROWDED_COST, WALK_COST, WALK = 28, 4, 16
CLIP_FIELD = CLIP_NAMES.index("field")
#: Vectors start at multiples of so many bytes.
ALIGNMENT = 64

Integers = NDArray[np.int64]
Words = NDArray[np.uint64]


class Grouped:
    """Runs calls of one program of p-bits, 64 or 512 chains at a time.

    Parameters
    ----------
    program
        Checked, and one that `pbitstream.emulator.pbit_plan.qualifies`.
    threads
        Groups are divided among this many threads; the bits do not depend on it.
    """

    def __init__(self, program: Program, threads: int) -> None:
        self.program = program
        self.threads = threads
        self.crowded = crowded(program.topology)
        self.may_look_up = may_look_up(program.topology)

    # All made when a call has chains enough: a lone chain never needs them.
    @cached_property
    def plan(self) -> PbitPlan:
        """The program's edges."""
        return PbitPlan(self.program)

    @cached_property
    def slicer(self) -> Slicer:
        """Maker of the bit-sliced kernel's tables."""
        return Slicer(self.plan)

    @cached_property
    def lookups(self) -> LookupTables | None:
        """Tables of sums to look up, None where adding weights is faster."""
        return lookup_tables(self.plan) if self.may_look_up else None

    @cached_property
    def lookups_cost(self) -> int:
        """How many chains run one by one in the time of a group that looks up."""
        if self.crowded:
            return CROWDED_COST
        walked = len(self.plan.weights) >= WALK * int(self.plan.free.sum())
        return WALK_COST if walked and not supports(self.program.topology) else LANES_COST

    def relax(self, call: Call) -> Sums | None:
        """Run all chains of a call, in O(units * chains) memory.

        None, and nothing has been run, where one by one is faster, or a field could be clipped and
        the kernel does not count that.
        """
        kernel = self._kernel(call)
        if kernel is None:
            return None
        run = _Run(self.plan, call, kernel)
        run.over_threads(self.threads)
        return run.sums()

    def _kernel(self, call: Call) -> "_Kernel | None":
        """Return the kernel that is fastest for a call, None if none is."""
        if self.crowded and not self.may_look_up:
            return None
        if not self._faster(call, CROWDED_COST if self.crowded else min(SLICED_COST.values())):
            return None
        constants = self.plan.constants(call)
        clips = self.plan.clips(constants)
        rows = list(call.rows)
        beta = np.stack([row.beta for row in rows]).astype(np.int64)
        steps = np.array([(row.burn_in, row.steps) for row in rows], np.int64).reshape(-1)
        tables = None if clips else self.slicer.tables(constants, beta, self._wide(call))
        if tables is not None:
            faster = self._faster(call, SLICED_COST[tables.digits])
            kind = WideSliced if self._wide(call) else Sliced
            return kind(self.plan, tables, steps) if faster else None
        if self._faster(call, self.lookups_cost) and self.lookups is not None:
            return Lookups(self.plan, self.lookups, constants, beta, steps)
        if clips or self.crowded or not self._faster(call, LANES_COST):
            return None
        return _Lanes(self.plan, constants, beta, steps)

    def _faster(self, call: Call, cost: int) -> bool:
        """Return whether groups that cost so many chains are done before the chains are."""
        return self._share(call, CHAINS) * cost <= self._share(call, 1)

    def _share(self, call: Call, chains: int) -> int:
        """Return the most groups of so many chains that a thread has."""
        return -(-call.inputs * -(-call.chains // chains) // self.threads)

    def _wide(self, call: Call) -> bool:
        """Return whether groups of 512 chains are done before those of 64."""
        share = self._share(call, CHAINS * WideSliced.width)
        return self.plan.size <= WIDE_MOST and share * WIDE_COST < self._share(call, CHAINS)


class _Lanes:
    """The kernel of any weights for one call."""

    room, free, weight, width = 0, 0, 4, 1

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
              clipped: Integers, scratch: tuple[NDArray[Any], ...], counted: int) -> None:
        """Relax a group of input `number` by at most `budget` steps."""
        lanes.relax_group(
            self.modules, self.first, self.sources, self.weights, self.start[number], self.beta,
            self.steps, self.table, self.fraction, position, budget, *group, *scratch, self.size,
            counted,
        )


_Kernel: TypeAlias = Sliced | _Lanes | Lookups


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
        self.clips = np.zeros((chains, len(CLIP_NAMES)), np.int64)
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
        chains_of_group = CHAINS * kernel.width
        self.groups = [
            _Group(number, first, min(first + chains_of_group, (number + 1) * call.chains))
            for number in range(call.inputs)
            for first in range(number * call.chains, (number + 1) * call.chains, chains_of_group)
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
        """Return the results; squares of spins are the steps."""
        squares = np.zeros(self.totals.shape, np.int64)
        if self.call.moments:
            squares[:, self.plan.free] = self.call.steps
        return Sums(self.totals, squares, State(self.units, self.noise), self.clips)

    def _run(self, groups: list[_Group]) -> None:
        call, kernel, count = self.call, self.kernel, self.units.shape[1]
        size, chains = self.plan.size * kernel.width, CHAINS * kernel.width
        counted = max(3, call.steps.bit_length())
        words, noise = _aligned(size + kernel.room), _aligned(STREAMS * chains + kernel.free)
        counters, history = _aligned(counted * size), _aligned(HISTORY * size)
        near = _aligned((1 + counted) * NEAR)
        clipped, limit = np.zeros(chains, np.int64), (1 << COUNTER_BITS) - 1
        scratch = kernel.scratch()
        units, streams, totals = (self.units.reshape(-1), self.noise.reshape(-1),
                                  self.totals.reshape(-1))
        budget = max(1, SLICE // (kernel.weight * size))
        for group in groups:
            if self.stop.is_set():
                return
            first, end = group.first, group.end
            fill(kernel.modules, count, np.uint64(mix(call.seed)), call.first_chain,
                 call.state is None, units, streams, first, end, words, kernel.width, near)
            kernel.turn_noise(streams, first, end, noise, scratch, False)
            counters[:], clipped[:] = 0, 0
            position = np.zeros(2, np.int64)
            while 2 * position[0] < len(kernel.steps) and not self.stop.is_set():
                kernel.relax(group.number, position, budget,
                             (words, noise, counters, history), clipped, scratch, counted)
            kernel.turn_noise(streams, first, end, noise, scratch, True)
            spill(kernel.modules, count, words, counters, size, call.steps.bit_length(), call.steps,
                  first, end, units, totals, kernel.width, near)
            self.clips[first:end, CLIP_FIELD] = np.minimum(clipped[: end - first], limit)


def _aligned(count: int, dtype: Any = np.uint64) -> NDArray[Any]:
    """Return an array of zeros that starts where vectors do."""
    nbytes = count * np.dtype(dtype).itemsize
    room = np.zeros(nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + nbytes].view(dtype)

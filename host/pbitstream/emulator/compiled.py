"""The emulator's compiled engine: a plan, chains over threads, and a kernel that can be stopped."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.call import Call, Row, Sums
from pbitstream.devices.protocol import CLIP_NAMES, State
from pbitstream.emulator import kernels
from pbitstream.emulator.kernels import BLOCK
from pbitstream.emulator.plan import ROWS, Plan, zeros
from pbitstream.program import Program
from pbitstream.spec.fixed import rhu
from pbitstream.spec.words import COUNTER_BITS, EXPOSED, SPIN, STATE

__all__ = ["Compiled"]

#: Unit updates of one uninterrupted kernel call: a tenth of a second or so.
SLICE = 20_000_000


class Compiled:
    """Runs calls of one program by the compiled kernel; see `pbitstream.emulator.kernels`.

    Parameters
    ----------
    program
        Checked.
    threads
        Chains are divided among this many threads; the bits do not depend on it.
    """

    def __init__(self, program: Program, threads: int) -> None:
        self.plan = Plan(program)
        self.threads = threads

    def relax(self, call: Call, state: State) -> Sums:
        """Run all chains of a call from a full state; O(units * chains) memory."""
        plan, chains = self.plan, call.total_chains
        header, *others = self._tables(call)
        rows = [(row, self._modules(row)) for row in call.rows]
        units = self._padded(state.units, np.int32)
        exposed = self._exposed(units)
        words = zeros(state.noise.shape, np.uint64)
        words[:] = state.noise
        totals = zeros((chains, plan.count), np.int64)
        squares = np.zeros((chains, plan.count if call.moments else 0), np.int64)
        clips = np.zeros((chains, len(CLIP_NAMES)), np.int64)
        flat = [array.reshape(-1) for array in (units, words, totals, squares, clips, exposed)]
        kernel = self._kernel(chains)
        stop = Event()

        # A call of the kernel is of few chains and many steps: it begins with what does not vary.
        longest = max(row.burn_in + row.steps for row, _ in rows)
        beside = max(1, SLICE // (plan.count * longest * BLOCK)) * BLOCK

        def run(first: int, end: int) -> None:
            scratch = plan.scratch()
            for low in range(first, end, beside):
                high = min(low + beside, end)
                block = max(1, SLICE // (plan.count * (high - low)))
                for row, modules in rows:
                    for burn_in, steps in _slices(row, block):
                        if stop.is_set():
                            return
                        kernel(header, modules, *others, burn_in, steps, low, high, *flat,
                               *scratch)

        self._over_threads(run, chains, stop)
        limit = (1 << COUNTER_BITS) - 1
        held = plan.held
        return Sums(
            totals[:, held],
            squares[:, held] if call.moments else np.zeros((chains, len(plan.place)), np.int64),
            State(units[:, held], words),
            np.minimum(clips, limit),
        )

    def _kernel(self, chains: int) -> Callable[..., None]:
        """Return the kernel of a call of so many chains, which a subclass may replace."""
        kernel: Callable[..., None] = kernels.relax_chains
        return kernel

    def _over_threads(self, run: Any, chains: int, stop: Event) -> None:
        threads = min(self.threads, chains)
        if threads == 1:
            run(0, chains)
            return
        bounds = np.linspace(0, chains, threads + 1).astype(int)
        with ThreadPoolExecutor(threads) as pool:
            jobs = [pool.submit(run, int(a), int(b)) for a, b in pairwise(bounds)]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                stop.set()
                raise

    def _tables(self, call: Call) -> tuple[NDArray[Any], ...]:
        """Return the kernel's tables but `modules`, which varies with the row."""
        plan = self.plan
        stiff = self._padded(np.stack([call.k2, call.k4]), np.int32)
        shift = plan.topology.field_fraction - EXPOSED.fraction
        h = self._padded(call.h << shift, np.int32)
        header = plan.header(call.chains, call.gains)
        gains = np.concatenate([call.gains.reshape(-1), np.zeros(ROWS, np.int16)])
        return (header, plan.terms, plan.phases, plan.pool, plan.index, stiff.reshape(-1), gains,
                h.reshape(-1))

    def _modules(self, row: Row) -> NDArray[np.int64]:
        """Return the kernel's `modules` with the codes of a row of settings."""
        modules = self.plan.modules.copy()
        modules[:, kernels.MODULE_G] = row.noise_gain
        modules[:, kernels.MODULE_Q] = row.noise_shift
        modules[:, kernels.MODULE_BETA] = row.beta
        pbit = modules[:, kernels.MODULE_PBIT]
        modules[:, kernels.MODULE_DRAWS] = (pbit == 1) | (row.noise_gain > 0)
        return modules.reshape(-1)

    def _padded(self, values: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Return rows of per-unit values with every unit at its padded place."""
        full = zeros((len(values), self.plan.count), dtype)
        full[:, self.plan.held] = values
        return full

    def _exposed(self, units: NDArray[np.int32]) -> NDArray[np.int16]:
        """Return X of padded units: rounded states, or +-4096; padding shows 0."""
        rounded = np.minimum(rhu(units, STATE.fraction - EXPOSED.fraction), EXPOSED.highest)
        for row in self.plan.modules[self.plan.modules[:, kernels.MODULE_PBIT] == 1]:
            part = slice(row[kernels.MODULE_BASE], row[kernels.MODULE_BASE]
                         + row[kernels.MODULE_DIM])
            rounded[:, part] = (2 * units[:, part] - 1) * SPIN
        exposed = zeros(units.shape, np.int16)
        exposed[:] = rounded
        return exposed


def _slices(row: Row, block: int) -> Iterator[tuple[int, int]]:
    """Yield steps of burn-in and then measured ones of kernel calls of at most so many in all."""
    burn_in, steps = row.burn_in, row.steps
    while burn_in + steps:
        burn = min(burn_in, block)
        window = min(steps, block - burn) if burn == burn_in else 0
        yield burn, window
        burn_in, steps = burn_in - burn, steps - window

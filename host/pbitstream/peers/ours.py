"""Our own contestants: the emulator on one thread, by its public face."""

import time
from itertools import count

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator.device import Emulator
from pbitstream.peers.problems import IsingTask, LangevinTask
from pbitstream.sampling.sampler import IsingSampler
from pbitstream.spec.words import STATE

__all__ = ["OurIsing", "OurLangevin"]

#: Every contestant draws from a seed of its own.
SEEDS = count(1)


class OurIsing:
    """Chains of an Ising task; a `Contestant`."""

    block = 1

    def __init__(self, task: IsingTask, chains: int) -> None:
        began = time.perf_counter()
        self.task, self.chains, self.units = task, chains, task.problem.n
        self.sampler = IsingSampler(task.lowered, device=Emulator(threads=1))
        self.state = self.sampler.start(next(SEEDS), chains)
        middle = time.perf_counter()
        self.run(1)
        self.compilation = time.perf_counter() - middle
        self.setup = time.perf_counter() - began

    def run(self, sweeps: int) -> float:
        """Sweep all chains; sums are of the last sweep only, as when annealing."""
        betas = np.full(sweeps, self.task.beta)
        self.state = self.sampler.sweep(betas, self.state, burn_in=sweeps - 1).state
        return 1.0

    def figures(self) -> NDArray[np.float64]:
        """Return the energy per spin of every chain."""
        return self.task.problem.energy(self.sampler.spins(self.state)) / self.units


class OurLangevin:
    """Chains of a Langevin task; a `Contestant`."""

    block = 1

    def __init__(self, task: LangevinTask, chains: int) -> None:
        began = time.perf_counter()
        self.chains, self.units = chains, task.program.topology.units
        self.device = Emulator(threads=1)
        self.device.load(task.program)
        self.h = task.h.reshape(1, -1).astype(np.float64)
        middle = time.perf_counter()
        self.state = self.device.relax(self.h, steps=1, seed=next(SEEDS), chains=chains).state
        self.compilation = time.perf_counter() - middle
        self.setup = time.perf_counter() - began

    def run(self, sweeps: int) -> float:
        """Step all chains; sums are of the last step only."""
        self.state = self.device.relax(self.h, steps=1, burn_in=sweeps - 1, seed=0,
                                       chains=self.chains, state=self.state).state
        return 1.0

    def figures(self) -> NDArray[np.float64]:
        """Return the mean square of every chain's units."""
        return np.asarray(((self.state.units * STATE.value(1)) ** 2).mean(axis=1))

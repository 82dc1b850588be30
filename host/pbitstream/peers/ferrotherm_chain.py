"""ferrotherm: chromatic Gibbs sampling in Rust, one chain, on one thread or over all."""

import time
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.ising.problem import Problem
from pbitstream.peers.problems import IsingTask

__all__ = ["FerrothermChain", "ferrotherm_sim"]

SEEDS = count(1)


class FerrothermChain:
    """One chain of an Ising task; a `Contestant`. Its option is how many threads, 0 for all."""

    block = 1
    chains = 1
    compilation = 0.0

    def __init__(self, task: IsingTask, threads: int) -> None:
        began = time.perf_counter()
        self.task, self.units, self.threads = task, task.problem.n, threads
        self._sim = ferrotherm_sim(task.problem, task.beta, next(SEEDS))
        self.setup = time.perf_counter() - began

    def run(self, sweeps: int) -> float:
        """Sweep the chain."""
        self._sim.sweep(sweeps, self.threads)
        return 1.0

    def figures(self) -> NDArray[np.float64]:
        """Return the energy per spin."""
        spins = np.array(self._sim.spins, np.int8)
        return np.atleast_1d(self.task.problem.energy(spins)) / self.units


def ferrotherm_sim(problem: Problem, beta: float, seed: int) -> Any:
    """Return a problem as ferrotherm's simulation; signs of its energy are ours."""
    import ferrotherm

    model = ferrotherm.Model(problem.n)
    for ends in zip(problem.first.tolist(), problem.second.tolist(), problem.weight.tolist()):
        model.couple(*ends)
    for place in np.flatnonzero(problem.h).tolist():
        model.bias(place, float(problem.h[place]))
    return model.build(beta, seed)

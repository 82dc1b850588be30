"""dwave-samplers: its simulated annealer at a constant beta, accepting by Gibbs' rule.

One thread, spins in the order of their numbers, float64. It reports how long it sampled, and the
rest of a call, which converts models and states, does not count against it.
"""

import time
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.peers.problems import IsingTask

__all__ = ["DwaveChains", "dwave_model"]

SEEDS = count(1)


class DwaveChains:
    """Reads of an Ising task, one after the other; a `Contestant`."""

    block = 1
    compilation = 0.0

    def __init__(self, task: IsingTask, chains: int) -> None:
        from dwave.samplers import SimulatedAnnealingSampler

        began = time.perf_counter()
        self.task, self.chains, self.units = task, chains, task.problem.n
        self._sampler = SimulatedAnnealingSampler()
        self._model = dwave_model(task.problem)
        self._spins: Any = None
        self.run(1)
        self.setup = time.perf_counter() - began

    def run(self, sweeps: int) -> float:
        """Sweep all reads; return the share of the call that was sampling."""
        found = self._sampler.sample(
            self._model, num_reads=self.chains, num_sweeps=sweeps,
            beta_range=(self.task.beta, self.task.beta), beta_schedule_type="linear",
            proposal_acceptance_criteria="Gibbs", initial_states=self._spins, seed=next(SEEDS))
        # A sampler sorts nothing: rows are reads, columns as `variables` says.
        assert list(found.variables[:2]) == [0, 1], "numbered in order"
        self._spins = (found.record.sample, found.variables)
        timing = found.info["timing"]
        return float(timing["sampling_ns"] / sum(timing.values()))

    def figures(self) -> NDArray[np.float64]:
        """Return the energy per spin of every read."""
        return self.task.problem.energy(self._spins[0]) / self.units


def dwave_model(problem: Any) -> Any:
    """Return a problem as dimod's model, whose energies are sums without a minus."""
    import dimod

    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        -problem.h, (problem.first, problem.second, -problem.weight), problem.offset, "SPIN",
        variable_order=range(problem.n))

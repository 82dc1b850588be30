"""THRML: block Gibbs sampling in JAX, as its documentation runs it.

Blocks are our colour classes, `sample_states` is mapped over chains by `vmap` and compiled whole;
it observes nothing but the last state, and keys are split inside.
"""

import time
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.peers.problems import IsingTask

__all__ = ["ThrmlChains"]

#: Sweeps are fixed when compiling: so many times all couplings of all chains are visited in a call.
VISITS = 2.4e7
FEWEST, MOST = 4, 32
SEEDS = count(1)


class ThrmlChains:
    """A batch of chains of an Ising task; a `Contestant`."""

    def __init__(self, task: IsingTask, chains: int) -> None:
        import jax
        from jax import numpy as jnp
        from thrml import SamplingSchedule, sample_states

        began = time.perf_counter()
        self.task, self.chains, self.units = task, chains, task.problem.n
        self.block = int(np.clip(VISITS / (2 * task.problem.edges * chains), FEWEST, MOST))
        program, blocks = _program(task)
        schedule = SamplingSchedule(n_warmup=self.block, n_samples=1, steps_per_sample=1)

        def one(key: Any, state: Any) -> Any:
            found = sample_states(key, program, schedule, state, [], blocks)
            return [samples[0] for samples in found]

        def batch(key: Any, state: Any) -> Any:
            key, *keys = jax.random.split(key, chains + 1)
            return key, jax.vmap(one)(jnp.stack(keys), state)

        self._jax = jax
        self._key = jax.random.key(next(SEEDS))
        self._classes = [np.flatnonzero(task.lowered.colours == colour)
                         for colour in range(len(blocks))]
        self._state = [jax.random.bernoulli(jax.random.fold_in(self._key, colour), 0.5,
                                            (chains, len(members)))
                       for colour, members in enumerate(self._classes)]
        middle = time.perf_counter()
        self._run = jax.jit(batch).lower(self._key, self._state).compile()
        self.compilation = time.perf_counter() - middle
        self.setup = time.perf_counter() - began

    def run(self, sweeps: int) -> float:
        """Sweep all chains, a multiple of `block` times."""
        for _ in range(sweeps // self.block):
            self._key, self._state = self._run(self._key, self._state)
        self._jax.block_until_ready(self._state)
        return 1.0

    def figures(self) -> NDArray[np.float64]:
        """Return the energy per spin of every chain."""
        spins = np.empty((self.chains, self.units), np.int8)
        for members, state in zip(self._classes, self._state):
            spins[:, members] = 2 * np.asarray(state, np.int8) - 1
        return self.task.problem.energy(spins) / self.units


def _program(task: IsingTask) -> tuple[Any, list[Any]]:
    """Return THRML's program, and its blocks: the colour classes."""
    from jax import numpy as jnp
    from thrml import Block, SpinNode
    from thrml.models import IsingEBM, IsingSamplingProgram

    problem, colours = task.problem, task.lowered.colours
    nodes = [SpinNode() for _ in range(problem.n)]
    edges = [(nodes[a], nodes[b])
             for a, b in zip(problem.first.tolist(), problem.second.tolist())]
    model = IsingEBM(nodes, edges, jnp.asarray(problem.h, jnp.float32),
                     jnp.asarray(problem.weight, jnp.float32), jnp.asarray(task.beta, jnp.float32))
    blocks = [Block([nodes[i] for i in np.flatnonzero(colours == colour)])
              for colour in range(int(colours.max()) + 1)]
    return IsingSamplingProgram(model, blocks, clamped_blocks=[]), blocks

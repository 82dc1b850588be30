"""A float32 loop of Langevin units in JAX, written by hand as one would for speed.

``x <- x + dt (h + f - k2 x - k4 x^3) + sqrt(2 T dt) xi``, a scan over steps, with a module's banks
side by side: one product projects its units to all their ranks, one expands. Of five forms tried
the two fastest are kept: modules padded to one shape and multiplied as a batch, or one by one.
"""

import time
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.peers.problems import LangevinTask

__all__ = ["FORMS", "jax_chains"]

FORMS = ("batched", "one by one")
#: Steps of a call are fixed when compiling; a call itself costs less than one step of 64 chains.
STEPS = 40
SEEDS = count(1)


def jax_chains(chains: int) -> Any:
    """Return ``make(task, form)`` for so many chains."""
    return lambda task, form: JaxChains(task, form, chains)


class JaxChains:
    """Chains of a Langevin task; a `Contestant`."""

    def __init__(self, task: LangevinTask, form: str, chains: int) -> None:
        import jax
        from jax import numpy as jnp

        began = time.perf_counter()
        modules, dim = task.h.shape
        self.chains, self.units = chains, modules * dim
        self.block = STEPS
        force = _batched(task, chains) if form == FORMS[0] else _one_by_one(task)
        dt, k2, k4 = np.float32(task.dt), np.float32(task.k2), np.float32(task.k4)
        size = np.float32(np.sqrt(2 * task.temperature * task.dt))
        h = jnp.asarray(task.h)

        def step(carry: Any, _: None) -> Any:
            key, x = carry
            key, draw = jax.random.split(key)
            x = x + dt * (h + force(x) - k2 * x - k4 * x * x * x)
            return (key, x + size * jax.random.normal(draw, x.shape, jnp.float32)), None

        def steps(carry: Any) -> Any:
            return jax.lax.scan(step, carry, None, length=self.block)[0]

        self._jax = jax
        self._carry = (jax.random.key(next(SEEDS)), jnp.zeros((chains, modules, dim), jnp.float32))
        middle = time.perf_counter()
        self._run = jax.jit(steps).lower(self._carry).compile()
        self.compilation = time.perf_counter() - middle
        self.setup = time.perf_counter() - began

    def run(self, sweeps: int) -> float:
        """Step all chains, a multiple of `block` times."""
        for _ in range(sweeps // self.block):
            self._carry = self._run(self._carry)
        self._jax.block_until_ready(self._carry)
        return 1.0

    def figures(self) -> NDArray[np.float64]:
        """Return the mean square of every chain's units."""
        x = np.asarray(self._carry[1], np.float64)
        return np.asarray((x**2).mean(axis=(1, 2)))


def _ends(task: LangevinTask) -> list[list[tuple[int, int]]]:
    """Return (bank, end) of all banks of every module."""
    ends: list[list[tuple[int, int]]] = [[] for _ in task.h]
    for bank, pair in enumerate(task.pairs):
        for end, module in enumerate(pair):
            ends[module].append((bank, end))
    return ends


def _sides(task: LangevinTask, widths: list[int]) -> tuple[list[Any], NDArray[np.int64]]:
    """Return every module's factors side by side, and where each rank's other end is.

    Ranks of module m fill the first of ``widths[m]`` columns; the places are of the concatenation.
    """
    rank = task.factors.shape[-1]
    ends, starts = _ends(task), np.cumsum([0, *widths])
    place = {end: starts[module] + number * rank
             for module, those in enumerate(ends) for number, end in enumerate(those)}
    other = np.zeros(starts[-1], np.int64)
    for (bank, end), at in place.items():
        other[at : at + rank] = place[bank, 1 - end] + np.arange(rank)
    factors = []
    for those, width in zip(ends, widths):
        side = np.zeros((task.h.shape[1], width), np.float32)
        for number, (bank, end) in enumerate(those):
            side[:, number * rank : (number + 1) * rank] = task.factors[bank, end]
        factors.append(side)
    return factors, other


def _batched(task: LangevinTask, chains: int) -> Any:
    """Return f(x) of x (chains, modules, dim), all modules padded to one number of ranks."""
    from jax import numpy as jnp

    modules, rank = len(task.h), task.factors.shape[-1]
    width = rank * max(map(len, _ends(task)))
    sides, other = _sides(task, [width] * modules)
    factors, gain = np.stack(sides), np.float32(task.gain)

    def force(x: Any) -> Any:
        z = jnp.einsum("cmd,mdw->cmw", x, factors).reshape(chains, -1)
        return jnp.einsum("cmw,mdw->cmd", (z[:, other] * gain).reshape(chains, modules, width),
                          factors)

    return force


def _one_by_one(task: LangevinTask) -> Any:
    """Return f(x) with a product of its own for every module."""
    from jax import numpy as jnp

    widths = [task.factors.shape[-1] * len(those) for those in _ends(task)]
    factors, other = _sides(task, widths)
    starts, gain = np.cumsum([0, *widths]), np.float32(task.gain)

    def force(x: Any) -> Any:
        z = jnp.concatenate([x[:, m] @ side for m, side in enumerate(factors)], axis=1)
        z = z[:, other] * gain
        return jnp.stack([z[:, starts[m] : starts[m + 1]] @ side.T
                          for m, side in enumerate(factors)], axis=1)

    return force

"""Simulated annealing: beta rises while every chain sweeps; what counts is where chains end."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.devices.protocol import State
from pbitstream.sampling.sampler import IsingSampler, Report, Spins
from pbitstream.sampling.schedules import per_sweep

__all__ = ["Annealed", "anneal"]


@dataclass(frozen=True, eq=False)
class Annealed:
    """Where chains ended.

    Attributes
    ----------
    spins
        int8 (chains, n).
    energies
        Of the problem, (chains,): int64 where the problem's numbers are whole.
    betas
        float64 (sweeps,): beta of every sweep.
    state
        Full state, to go on from.
    """

    spins: Spins
    energies: NDArray[Any]
    betas: NDArray[np.float64]
    state: State

    @property
    def best(self) -> int:
        """The chain of the lowest energy, the first of equals."""
        return int(np.argmin(self.energies))


def anneal(
    sampler: IsingSampler,
    betas: ArrayLike,
    *,
    sweeps: int,
    chains: int,
    seed: int,
    spins: ArrayLike | None = None,
    report: Report | None = None,
) -> Annealed:
    """Anneal chains through a table of betas [1]_.

    The schedule runs on the device, as rows of settings of a call; the host only cuts long runs
    into several calls, which changes no bit.

    Parameters
    ----------
    betas
        From hot to cold, in the problem's units; shared among the sweeps as `per_sweep` says.
    sweeps
        Updates of every p-bit.
    chains
        Independent runs.
    spins
        First spins, (n,) or (chains, n); random without.

    Raises
    ------
    SpecError
        If a number is out of range; nothing has run.

    References
    ----------
    .. [1] S. Kirkpatrick, C. D. Gelatt, M. P. Vecchi, "Optimization by simulated annealing",
       Science 220, 1983.
    """
    table = per_sweep(betas, sweeps)
    state = sampler.anneal(table, sampler.start(seed, chains, spins), report)
    final = sampler.spins(state)
    return Annealed(final, sampler.problem.energy(final), table, state)

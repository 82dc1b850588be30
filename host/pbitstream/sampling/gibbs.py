"""Gibbs sampling by colour class at one beta: energies of draws, time means, diagnostics."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.devices.protocol import State
from pbitstream.errors import SpecError
from pbitstream.sampling.diagnostics import effective_draws, rank_rhat
from pbitstream.sampling.sampler import IsingSampler, Report, Spins
from pbitstream.spec.words import MAX_STEPS

__all__ = ["Draws", "gibbs"]


@dataclass(frozen=True, eq=False)
class Draws:
    """What chains drew; axes are (chain, draw, p-bit), as ArviZ has them.

    Attributes
    ----------
    energies
        (chains, draws).
    mean
        float64 (chains, n): time means of m over every sweep after the burn-in, drawn or not.
    spins
        int8 (chains, draws, n), or None unless asked for.
    best_spins, best_energy
        Of all draws.
    every, burn_in
        Sweeps per draw, and before the first.
    state
        Full state, to go on from.
    """

    energies: NDArray[Any]
    mean: NDArray[np.float64]
    spins: Spins | None
    best_spins: Spins
    best_energy: float
    every: int
    burn_in: int
    beta: float
    state: State

    def effective_size(self) -> float:
        """Return the bulk effective sample size of the energy, over all chains."""
        return effective_draws(self.energies)

    def rhat(self) -> float:
        """Return the rank-normalised split R-hat of the energy; near 1 where chains agree."""
        return rank_rhat(self.energies)


def gibbs(
    sampler: IsingSampler,
    beta: float,
    *,
    draws: int,
    every: int = 1,
    burn_in: int = 0,
    chains: int,
    seed: int,
    spins: ArrayLike | None = None,
    keep: bool = False,
    report: Report | None = None,
) -> Draws:
    """Draw from ``exp(-beta E)``; trajectories are not kept unless asked for.

    Memory is O(n * chains + chains * draws), and O(n * chains * draws) with `keep`.

    Parameters
    ----------
    draws, every, burn_in
        Draws of each chain, sweeps per draw, sweeps before the first.
    chains
        Independent chains.
    spins
        First spins, (n,) or (chains, n); random without.
    keep
        Whether to return the spins of every draw.

    Raises
    ------
    SpecError
        If a number is out of range; nothing has run.
    """
    for name, value, least in (("draws", draws, 1), ("every", every, 1), ("burn_in", burn_in, 0)):
        if value < least:
            raise SpecError(f"{name} must be at least {least}, not {value}")
    if every > MAX_STEPS:
        raise SpecError(f"the sweeps of a draw must be at most {MAX_STEPS}, not {every}; take "
                        "some of more draws")
    n, total = sampler.problem.n, burn_in + draws * every
    state = sampler.start(seed, chains, spins)

    def told(done: int, _: int) -> None:
        if report is not None:
            report(done, total)

    if burn_in:
        state = sampler.anneal(np.full(burn_in, float(beta)), state, told)
    betas = np.full(every, float(beta))
    energies: list[NDArray[Any]] = []
    kept: list[Spins] = []
    sums = np.zeros((chains, n), np.int64)
    best_spins, best_energy = np.zeros(n, np.int8), np.inf
    for draw in range(draws):
        readout = sampler.sweep(betas, state)
        state = readout.state
        sums += readout.sums[0][:, sampler.lowered.order]
        drawn = sampler.spins(state)
        energies.append(sampler.problem.energy(drawn))
        lowest = int(np.argmin(energies[-1]))
        if energies[-1][lowest] < best_energy:
            best_spins, best_energy = drawn[lowest].copy(), energies[-1][lowest].item()
        if keep:
            kept.append(drawn)
        told(burn_in + (draw + 1) * every, total)
    return Draws(
        np.stack(energies, axis=1), sums / (draws * every),
        np.stack(kept, axis=1) if keep else None, best_spins, best_energy, every, burn_in,
        float(beta), state,
    )

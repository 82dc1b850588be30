"""Parallel tempering: replicas at a ladder of betas that now and then swap their spins."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.devices.protocol import State
from pbitstream.errors import SpecError
from pbitstream.sampling.sampler import IsingSampler, Report, Spins

__all__ = ["Tempered", "temper"]

#: Keeps the draws of the swaps apart from other uses of a seed.
SWAPS = 0x73776170


@dataclass(frozen=True, eq=False)
class Tempered:
    """What a tempered run found.

    Attributes
    ----------
    betas
        float64 (levels,), from hot to cold.
    energies
        (levels, chains, rounds): after the sweeps of every round, before its swaps.
    swap_rates
        float64 (levels - 1,): share of accepted swaps between neighbours; NaN where none was
        tried.
    round_trips
        How many times a replica went from the hottest level to the coldest and back, all chains.
    spins
        int8 (chains, n): the coldest level at the end.
    best_spins, best_energy
        Of all levels and rounds.
    """

    betas: NDArray[np.float64]
    energies: NDArray[Any]
    swap_rates: NDArray[np.float64]
    round_trips: int
    spins: Spins
    best_spins: Spins
    best_energy: float


def temper(
    sampler: IsingSampler,
    betas: ArrayLike,
    *,
    rounds: int,
    sweeps: int = 1,
    chains: int = 1,
    seed: int,
    spins: ArrayLike | None = None,
    report: Report | None = None,
) -> Tempered:
    """Sample ``exp(-beta E)`` at every beta of a ladder at once [1]_.

    After each round, neighbours (i, i + 1) with i even or odd in turn swap their spins with
    probability ``min(1, exp((beta_i - beta_j) (E_i - E_j)))``. Noise streams stay with their level:
    chain c of level l is chain ``l * chains + c`` of the device. The swaps are the host's.

    Parameters
    ----------
    betas
        At least two, rising.
    rounds, sweeps
        Rounds, and sweeps of every level in each.
    chains
        Independent ladders.
    spins
        First spins of every level, (n,) or (chains, n); random without.

    Raises
    ------
    SpecError
        If a number is out of range; nothing has run.

    References
    ----------
    .. [1] K. Hukushima, K. Nemoto, "Exchange Monte Carlo method and application to spin glass
       simulations", J. Phys. Soc. Jpn. 65, 1996.
    """
    table = np.asarray(betas, np.float64)
    if table.ndim != 1 or len(table) < 2 or not (np.diff(table) > 0).all():
        raise SpecError("betas of a ladder must be at least two, rising from hot to cold")
    for name, value in (("rounds", rounds), ("sweeps", sweeps), ("chains", chains)):
        if value < 1:
            raise SpecError(f"{name} must be at least 1, not {value}")
    rng = np.random.default_rng([seed, SWAPS])
    levels = len(table)
    states = [sampler.start(seed, chains, spins, first_chain=level * chains)
              for level in range(levels)]
    trips = _Trips(levels, chains)
    energies: list[NDArray[Any]] = []
    tried, accepted = np.zeros(levels - 1), np.zeros(levels - 1)
    best_spins, best_energy = np.zeros(sampler.problem.n, np.int8), np.inf
    for number in range(rounds):
        states = [sampler.anneal(np.full(sweeps, beta), state)
                  for beta, state in zip(table, states)]
        energy = sampler.problem.energy(np.stack([sampler.spins(state) for state in states]))
        energies.append(energy)
        level, chain = np.unravel_index(int(np.argmin(energy)), energy.shape)
        if energy[level, chain] < best_energy:
            best_energy = energy[level, chain].item()
            best_spins = sampler.spins(states[level])[chain].copy()
        energy = energy.astype(np.float64)
        for low in range(number % 2, levels - 1, 2):
            gain = (table[low] - table[low + 1]) * (energy[low] - energy[low + 1])
            swapped = np.log(rng.random(chains)) < gain
            tried[low] += chains
            accepted[low] += swapped.sum()
            _swap(states[low], states[low + 1], swapped)
            trips.swap(low, swapped)
        trips.look()
        if report is not None:
            report((number + 1) * sweeps, rounds * sweeps)
    rates = np.full(levels - 1, np.nan)
    np.divide(accepted, tried, out=rates, where=tried > 0)
    return Tempered(table, np.stack(energies, axis=2), rates, trips.count,
                    sampler.spins(states[-1]), best_spins, best_energy)


def _swap(one: State, other: State, where: NDArray[np.bool_]) -> None:
    """Exchange the spins of some chains; the noise words stay."""
    one.units[where], other.units[where] = other.units[where], one.units[where].copy()


class _Trips:
    """Follows replicas through the levels and counts round trips.

    `replica` (levels, chains) says which replica is where; a replica that has seen the coldest
    level since the hottest completes a trip when it is hottest again.
    """

    def __init__(self, levels: int, chains: int) -> None:
        self.replica = np.repeat(np.arange(levels)[:, None], chains, axis=1)
        self.cooled = np.zeros((levels, chains), bool)
        self.started = np.zeros((levels, chains), bool)
        self.count = 0
        self.look()

    def swap(self, low: int, where: NDArray[np.bool_]) -> None:
        """Exchange the replicas of two neighbouring levels."""
        pair = self.replica[low : low + 2]
        pair[:, where] = pair[::-1, where]

    def look(self) -> None:
        """Note who is at the ends."""
        chains = np.arange(self.replica.shape[1])
        hottest, coldest = self.replica[0], self.replica[-1]
        back = self.cooled[hottest, chains]
        self.count += int(back.sum())
        self.cooled[hottest, chains] = False
        self.started[hottest, chains] = True
        self.cooled[coldest, chains] |= self.started[coldest, chains]

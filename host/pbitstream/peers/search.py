"""Searches for low energies: who finds a wanted energy, and after how long.

Every system anneals with so many sweeps, then with twice as many, until it has found what is wanted
or its time is up; its time is that of all its tries. All anneal over one range of beta. Ours is one
thread, heat bath, linear; dwave-samplers is linear too (better here than its geometric default) and
accepts by Metropolis, its default; ferrotherm's ladder is geometric and keeps the best state on the
way. THRML has a fixed beta per program and no annealing.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pbitstream.emulator.device import Emulator
from pbitstream.ising.planted import planted_lattice
from pbitstream.ising.problem import Problem
from pbitstream.peers.contestant import OURS, missing
from pbitstream.peers.dwave_chains import dwave_model
from pbitstream.peers.ferrotherm_chain import ferrotherm_sim
from pbitstream.peers.rounds import Report
from pbitstream.sampling.annealing import anneal
from pbitstream.sampling.sampler import IsingSampler
from pbitstream.sampling.schedules import beta_range, ladder

__all__ = ["CUTS", "Found", "energy_of_cut", "planted_instances", "race"]

#: Cuts to reach, by the name of the graph.
CUTS = {"G81": 13_990}
#: Chains of ours: a word of bits; reads of dwave-samplers in a try.
CHAINS, READS = 64, 2
ENTRIES = 1000
#: Stages that ferrotherm's sweeps are shared among.
STAGES = 60

#: A try: the lowest energy with so many sweeps and this seed.
Try = Callable[[int, int], float]


@dataclass(frozen=True)
class Found:
    """What one system found of one problem.

    Attributes
    ----------
    energy, sweeps
        The lowest energy of all tries, and the sweeps of the last try.
    seconds
        Of all tries; building the problem is not among them.
    excess
        Energy above the wanted one, 0 if it was reached; None if none was wanted.
    """

    system: str
    energy: float
    sweeps: int
    seconds: float
    excess: float | None


def race(problem: Problem, wanted: float | None, *, sweeps: int, limit: float,
         report: Report) -> list[Found]:
    """Return what every installed system finds of a problem.

    Parameters
    ----------
    wanted
        Energy to reach; None for one try of every system.
    sweeps
        Of the first try.
    limit
        No try begins after so many seconds.
    """
    found = []
    for number, (system, make) in enumerate(SYSTEMS.items()):
        if missing(system):
            continue
        report(f"{problem.name}: {system}", number, len(SYSTEMS))
        for once in make(problem):
            found.append(_tries(system, once, wanted, sweeps, limit))
    return found


def energy_of_cut(graph: Problem, cut: float) -> float:
    """Return the energy of a cut of a max-cut problem, the inverse of `Problem.cut`."""
    return graph.offset - float(graph.weight.sum()) - 2 * cut


def planted_instances(
    count: int, frustrated: int, side: int = 10
) -> Iterator[tuple[Problem, float]]:
    """Yield lattices of side^3 p-bits with couplings +-1, and their ground energies.

    Tiles with 4 frustrated faces are within reach of everybody's annealing; with 6, the hardest
    class, tempering with cluster moves is what the literature uses.
    """
    for seed in range(count):
        problem, _, ground = planted_lattice(side, seed, frustrated=frustrated)
        yield problem, float(ground)


def _tries(system: str, once: Try, wanted: float | None, sweeps: int, limit: float) -> Found:
    lowest, taken, seed = np.inf, 0.0, 1
    while True:
        began = time.perf_counter()
        lowest = min(lowest, once(sweeps, seed))
        taken += time.perf_counter() - began
        if wanted is None:
            return Found(system, lowest, sweeps, taken, None)
        if lowest <= wanted or taken >= limit:
            return Found(system, lowest, sweeps, taken, max(0.0, lowest - wanted))
        sweeps, seed = 2 * sweeps, seed + 1


def _ours(problem: Problem) -> Iterator[Try]:
    hot, cold = beta_range(problem)
    with IsingSampler(problem, device=Emulator(threads=1)) as sampler:
        # Compiles, where the kernels are not in the cache.
        anneal(sampler, [hot, cold], sweeps=2, chains=CHAINS, seed=0)

        def once(sweeps: int, seed: int) -> float:
            betas = ladder(hot, min(cold, sampler.lowered.beta_max), min(sweeps, ENTRIES), "linear")
            return float(anneal(sampler, betas, sweeps=sweeps, chains=CHAINS,
                                seed=seed).energies.min())

        yield once


def _dwave(problem: Problem) -> Iterator[Try]:
    from dwave.samplers import SimulatedAnnealingSampler

    sampler, model = SimulatedAnnealingSampler(), dwave_model(problem)
    yield lambda sweeps, seed: float(sampler.sample(
        model, num_reads=READS, num_sweeps=sweeps, beta_range=beta_range(problem),
        beta_schedule_type="linear", seed=seed).first.energy)


def _ferrotherm(problem: Problem) -> Iterator[Try]:
    hot, cold = beta_range(problem)

    def once(sweeps: int, seed: int) -> float:
        sim = ferrotherm_sim(problem, 1.0, seed)
        return problem.offset + float(sim.anneal(hot, cold, STAGES, max(1, sweeps // STAGES)))

    yield once


SYSTEMS: dict[str, Callable[[Problem], Iterator[Try]]] = {
    OURS: _ours, "dwave-samplers": _dwave, "ferrotherm": _ferrotherm,
}

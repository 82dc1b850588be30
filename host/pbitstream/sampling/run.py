"""One of the methods with sensible defaults, and its result in one form: what the command runs."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError
from pbitstream.sampling import diagnostics
from pbitstream.sampling.annealing import anneal
from pbitstream.sampling.gibbs import gibbs
from pbitstream.sampling.sampler import IsingSampler, Report, Spins
from pbitstream.sampling.schedules import beta_range, ladder
from pbitstream.sampling.tempering import temper

__all__ = ["METHODS", "Found", "Plan", "run_plan"]

METHODS = ("anneal", "gibbs", "temper")
#: Sweeps of an annealing or a tempering unless given.
SWEEPS = 1000
#: Entries of an annealing's table of betas: finer steps change nothing that can be measured.
ENTRIES = 1000
#: Rounds of a tempering, after each of which neighbours may swap.
SWEEPS_PER_ROUND = 10


@dataclass(frozen=True)
class Plan:
    """What to run; None stands for the default of the method.

    Attributes
    ----------
    sweeps
        All of an annealing or a tempering, or those between two draws of a Gibbs run.
    table
        Betas of an annealing, instead of `range` and `shape`.
    """

    method: str
    chains: int = 64
    seed: int = 0
    sweeps: int | None = None
    beta: float | None = None
    range: tuple[float, float] | None = None
    shape: str = "geometric"
    table: ArrayLike | None = None
    draws: int = 1000
    burn_in: int | None = None
    levels: int = 16


@dataclass(frozen=True, eq=False)
class Found:
    """What a method found.

    Attributes
    ----------
    energies
        (chains,) after an annealing, (chains, draws) of a Gibbs run, (levels, chains, rounds) of a
        tempering.
    spins
        int8 (chains, n): where the chains ended; of a tempering, those of the coldest level.
    best_spins, best_energy
        The lowest of all looked at.
    betas
        From hot to cold; one of a Gibbs run.
    updates
        Sweeps of all chains and levels together.
    figures
        What else there is to say of this method, by name.
    rounding
        Energies that differ by no more count as equal.
    """

    method: str
    energies: NDArray[Any]
    spins: Spins
    best_spins: Spins
    best_energy: float
    betas: NDArray[np.float64]
    updates: int
    figures: dict[str, Any] = field(default_factory=dict)
    rounding: float = 0.0

    @property
    def sample(self) -> NDArray[Any]:
        """The energies worth a histogram: of a tempering, the second half of its coldest level."""
        if self.method != "temper":
            return self.energies.reshape(-1)
        cold = self.energies[-1]
        return np.asarray(cold[:, cold.shape[-1] // 2 :]).reshape(-1)

    def counted(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Return the different energies of `sample`, ascending, and how often each occurs."""
        values, counts = np.unique(self.sample, return_counts=True)
        first = np.flatnonzero(np.concatenate([[True], np.diff(values) > self.rounding]))
        return values[first], np.add.reduceat(counts, first)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        energies = self.sample
        low, middle, high = np.quantile(energies, (0.05, 0.5, 0.95)).tolist()
        return {
            "method": self.method,
            "chains": len(self.spins),
            "beta": {"hot": float(self.betas[0]), "cold": float(self.betas[-1])},
            "sweeps": self.updates,
            "energy": {"mean": float(energies.mean()), "lowest": energies.min().item(),
                       "q05": low, "median": middle, "q95": high,
                       "at_lowest": float((energies <= self.best_energy + self.rounding).mean())},
            **self.figures,
        }


def run_plan(
    sampler: IsingSampler,
    plan: Plan,
    *,
    spins: ArrayLike | None = None,
    report: Report | None = None,
) -> Found:
    """Run a plan from random or given spins.

    SpecError if a number is out of range, or if memory does not suffice.
    """
    if plan.method not in METHODS:
        raise SpecError(f"method must be one of {', '.join(METHODS)}, not {plan.method}")
    try:
        return _run(sampler, plan, spins, report)
    except MemoryError as error:
        raise SpecError("so many chains, sweeps, draws or levels take more memory than there is: "
                        f"{str(error) or 'allocation failed'}; take fewer") from error


def _run(
    sampler: IsingSampler, plan: Plan, spins: ArrayLike | None, report: Report | None
) -> Found:
    if plan.method == "gibbs":
        return _gibbs(sampler, plan, spins, report)
    hot, cold = beta_range(sampler.problem) if plan.range is None else plan.range
    cold = min(cold, sampler.lowered.beta_max) if plan.range is None else cold
    sweeps = SWEEPS if plan.sweeps is None else plan.sweeps
    if plan.method == "temper":
        return _temper(sampler, plan, ladder(hot, cold, plan.levels, plan.shape), sweeps, spins,
                       report)
    table = plan.table if plan.table is not None else ladder(hot, cold, min(sweeps, ENTRIES),
                                                             plan.shape)
    done = anneal(sampler, table, sweeps=sweeps, chains=plan.chains, seed=plan.seed, spins=spins,
                  report=report)
    return Found("anneal", done.energies, done.spins, done.spins[done.best],
                 done.energies[done.best].item(), done.betas, sweeps * plan.chains,
                 rounding=sampler.problem.rounding)


def _gibbs(
    sampler: IsingSampler, plan: Plan, spins: ArrayLike | None, report: Report | None
) -> Found:
    every = 1 if plan.sweeps is None else plan.sweeps
    burn_in = -(-plan.draws * every // 10) if plan.burn_in is None else plan.burn_in
    beta = 1.0 if plan.beta is None else plan.beta
    told = not diagnostics.missing()
    done = gibbs(sampler, beta, draws=plan.draws, every=every, burn_in=burn_in,
                 chains=plan.chains, seed=plan.seed, spins=spins, report=report)
    figures = {"draws": plan.draws, "every": every, "burn_in": burn_in,
               "effective_size": done.effective_size() if told else None,
               "rhat": done.rhat() if told else None,
               "magnetisation": float(np.abs(done.mean.mean(axis=1)).mean())}
    return Found("gibbs", done.energies, sampler.spins(done.state), done.best_spins,
                 done.best_energy, np.array([beta]),
                 (burn_in + plan.draws * every) * plan.chains, figures, sampler.problem.rounding)


def _temper(
    sampler: IsingSampler,
    plan: Plan,
    betas: NDArray[np.float64],
    sweeps: int,
    spins: ArrayLike | None,
    report: Report | None,
) -> Found:
    each = min(sweeps, SWEEPS_PER_ROUND)
    rounds = -(-sweeps // each)
    done = temper(sampler, betas, rounds=rounds, sweeps=each, chains=plan.chains, seed=plan.seed,
                  spins=spins, report=report)
    figures = {"levels": len(betas), "rounds": rounds, "sweeps_per_round": each,
               "betas": betas.tolist(), "swap_rates": done.swap_rates.tolist(),
               "round_trips": done.round_trips,
               "mean_energies": done.energies.mean(axis=(1, 2)).tolist()}
    return Found("temper", done.energies, done.spins, done.best_spins, done.best_energy, betas,
                 rounds * each * plan.chains * len(betas), figures, sampler.problem.rounding)

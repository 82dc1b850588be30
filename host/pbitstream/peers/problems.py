"""What is compared: couplings, betas and programs of the rows, the same for every system."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.ising.lower import Lowered, lower
from pbitstream.ising.problem import Problem
from pbitstream.peers.exact import enumerated_energy, torus_energy
from pbitstream.program import Program

__all__ = ["IsingTask", "LangevinTask", "bipartite_task", "critical_task", "grid_task",
           "langevin_task", "linear_task", "signs_task", "small_task", "torus_task"]

Values = NDArray[np.float64]
Float32 = NDArray[np.float32]

#: Neighbours at (0, 1), (4, 1) and (9, 10) and their quarter turns: 12 of them, all odd, so two
#: colours do.
TWELVE = ((0, 1), (1, 0), (4, 1), (1, -4), (9, 10), (10, -9))
FOUR = ((0, 1), (1, 0))
#: Modules of 128 units, and the pairs that banks of rank 16 join.
MODULES, DIM, RANK = 6, 128, 16
PAIRS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (0, 3), (1, 4))


@dataclass(frozen=True, eq=False)
class IsingTask:
    """Spins to sample at a beta.

    Attributes
    ----------
    lowered
        The problem and its program.
    beta
        In the problem's units: what the program runs, so that all systems run the same.
    exact
        Exact mean energy per spin, None if nobody knows.
    """

    lowered: Lowered
    beta: float
    exact: float | None = None

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.lowered.problem


@dataclass(frozen=True, eq=False)
class LangevinTask:
    """Langevin units: ``dx = (h + f - k2 x - k4 x^3) dt + sqrt(2 T dt) xi``.

    Attributes
    ----------
    program
        What we run.
    pairs, factors, gain
        Modules that banks join, their factors A and B of shape (banks, 2, dim, rank), and the gain
        of every rank.
    h
        Bias of every unit, (modules, dim).
    """

    program: Program
    pairs: tuple[tuple[int, int], ...]
    factors: Float32
    gain: float
    h: Float32
    k2: float
    k4: float
    temperature: float
    dt_shift: int

    @property
    def dt(self) -> float:
        """The time step."""
        return 2.0**-self.dt_shift

    def stiffness(self) -> Values:
        """Return K - J, (units, units): the drift without the cubic term."""
        modules, dim = self.h.shape
        matrix = self.k2 * np.eye(modules * dim)
        for (s, t), (a, b) in zip(self.pairs, self.factors.astype(np.float64)):
            at_s, at_t = (slice(dim * m, dim * (m + 1)) for m in (s, t))
            matrix[at_t, at_s] -= self.gain * b @ a.T
            matrix[at_s, at_t] -= self.gain * a @ b.T
        return matrix


def grid_task(side: int = 64) -> IsingTask:
    """Return a periodic grid with couplings +-1 to +-7."""
    return _task(_box(side, FOUR, "grid", 7, 1), 12 / 128)


def torus_task(side: int = 70) -> IsingTask:
    """Return a torus of degree 12 with couplings +-1 to +-7."""
    return _task(_box(side, TWELVE, "torus of degree 12", 7, 2), 6 / 128)


@lru_cache(4)
def signs_task(side: int, degree: int) -> IsingTask:
    """Return a torus with couplings +-1.

    With four neighbours the signs are ``J_ij = s_i s_j`` of a random s, which turns no energy level
    of the ferromagnet: the exact energy is Kaufman's.
    """
    if degree == 12:
        return _task(_box(side, TWELVE, "torus of degree 12", 1, 3), 32 / 128)
    beta = 96 / 256
    return _task(_gauged(side, 4), beta, torus_energy(side, side, beta))


def critical_task(side: int = 16) -> IsingTask:
    """Return a ferromagnet next to its critical point, in a random gauge, with its exact energy.

    113/256 is the multiple of the threshold table's step next to ``ln(1 + sqrt 2) / 2 = 0.44069``.
    """
    beta = 113 / 256
    return _task(_gauged(side, 5), beta, torus_energy(side, side, beta))


def small_task(spins: int = 12) -> IsingTask:
    """Return a random graph with biases, and its energy by enumeration."""
    rng = np.random.default_rng(6)
    first, second = np.triu_indices(spins, 1)
    kept = rng.random(len(first)) < 0.4
    problem = Problem.from_edges(first[kept], second[kept], _whole(rng, int(kept.sum()), 4),
                                 n=spins, h=rng.integers(-3, 4, spins), name="random graph")
    beta = 32 / 128
    return _task(problem, beta, enumerated_energy(problem, beta) / spins)


def bipartite_task(left: int, right: int) -> IsingTask:
    """Return two layers, all coupled to all of the other, with couplings +-1 to +-127."""
    first, second = (part.ravel() for part in np.mgrid[:left, left : left + right])
    rng = np.random.default_rng(7)
    weight = _whole(rng, len(first), 127)
    problem = Problem.from_edges(first, second, weight, n=left + right,
                                 name=f"dense {left} x {right}")
    # Below the beta at which such a glass freezes.
    return _task(problem, 0.75 / float(np.sqrt((weight**2).mean() * max(left, right))))


def langevin_task(dim: int = DIM, rank: int = RANK) -> LangevinTask:
    """Return 6 modules of 128 units with cubic terms, and 8 banks of rank 16."""
    return _langevin(PAIRS, MODULES, dim, rank, gain=0.1, k4=0.25, temperature=0.25, bias=0.0,
                     dt_shift=4)


def linear_task() -> LangevinTask:
    """Return two small modules without cubic terms: an Ornstein-Uhlenbeck process."""
    return _langevin(((0, 1),), 2, 8, 2, gain=0.25, k4=0.0, temperature=0.25, bias=0.3, dt_shift=5)


def _langevin(pairs: tuple[tuple[int, int], ...], modules: int, dim: int, rank: int, *,
              gain: float, k4: float, temperature: float, bias: float,
              dt_shift: int) -> LangevinTask:
    rng = np.random.default_rng(0)
    factors = (rng.standard_normal((len(pairs), 2, dim, rank)) / np.sqrt(dim)).astype(np.float32)
    h = (bias * rng.standard_normal((modules, dim))).astype(np.float32)
    builder = ProgramBuilder(dt_shift=dt_shift)
    for index in range(modules):
        builder.langevin(f"m{index}", dim, k2=1.0, k4=k4, x_max=2.5, temperature=temperature)
    for (source, target), (a, b) in zip(pairs, factors):
        builder.low_rank(source, target, a, b, np.full(rank, gain))
    return LangevinTask(builder.build(), pairs, factors, gain, h, 1.0, k4, temperature, dt_shift)


def _task(problem: Problem, beta: float, exact: float | None = None) -> IsingTask:
    lowered = lower(problem)
    return IsingTask(lowered, lowered.beta_of(beta) * lowered.scale, exact)


def _box(side: int, steps: tuple[tuple[int, int], ...], name: str, most: int,
         seed: int) -> Problem:
    """Return a periodic box with couplings +-1 to +-most."""
    sites = np.arange(side * side).reshape(side, side)
    second = [np.roll(sites, (-down, -right), (0, 1)).ravel() for down, right in steps]
    first = np.tile(sites.ravel(), len(steps))
    weight = _whole(np.random.default_rng(seed), len(first), most)
    return Problem.from_edges(first, np.concatenate(second), weight, n=side * side,
                              name=f"{side} x {side} {name}")


def _gauged(side: int, seed: int) -> Problem:
    """Return a periodic grid with ``J_ij = s_i s_j`` of random s."""
    grid = _box(side, FOUR, "ferromagnet, random gauge", 1, seed)
    spins = np.random.default_rng(seed).choice([-1.0, 1.0], grid.n)
    return Problem.from_edges(grid.first, grid.second, spins[grid.first] * spins[grid.second],
                              n=grid.n, name=grid.name)


def _whole(rng: np.random.Generator, count: int, most: int) -> Values:
    """Return numbers +-1 to +-most."""
    return np.asarray(rng.integers(1, most + 1, count) * rng.choice([-1.0, 1.0], count))

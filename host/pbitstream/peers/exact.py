"""Exact energies: every state of a small problem, and Kaufman's solution of a periodic grid."""

import math

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.ising.problem import Problem

__all__ = ["enumerated_energy", "torus_energy"]

#: States of so many spins are still listed.
MOST = 16
#: Step of the derivative by K; its error is far below any sampling error.
STEP = 1e-4


def enumerated_energy(problem: Problem, beta: float) -> float:
    """Return the mean energy under ``exp(-beta E)``, over all states of at most 16 spins."""
    if problem.n > MOST:
        raise SpecError(f"the problem must have at most {MOST} p-bits, not {problem.n}")
    states = (np.arange(1 << problem.n)[:, None] >> np.arange(problem.n)) & 1
    energies = problem.energy((2 * states - 1).astype(np.int8)).astype(np.float64)
    weights = np.exp(-beta * (energies - energies.min()))
    return float(weights @ energies / weights.sum())


def torus_energy(rows: int, columns: int, beta: float) -> float:
    """Return the mean energy per spin of a periodic ferromagnet, J = 1, of any even size.

    Kaufman's partition function of m x n spins [1]_, with K = beta,

        Z = (2 sinh 2K)^(mn/2) / 2 * (prod 2 cosh(m g_odd / 2) + prod 2 sinh(m g_odd / 2)
            + prod 2 cosh(m g_even / 2) + prod 2 sinh(m g_even / 2)),
        cosh g_l = cosh 2K coth 2K - cos(pi l / n),  g_0 = 2K + ln tanh K,

    and ``-d ln Z / dK / mn``. Exact at every K above 0, the critical point among them.

    References
    ----------
    .. [1] B. Kaufman, "Crystal statistics. II. Partition function evaluated by spinor analysis",
       Phys. Rev. 76, 1949; in this form A. E. Ferdinand, M. E. Fisher, Phys. Rev. 185, 1969.
    """
    above, below = (_log_partition(rows, columns, beta + step) for step in (STEP, -STEP))
    return -(above - below) / (2 * STEP) / (rows * columns)


def _log_partition(m: int, n: int, k: float) -> float:
    level = np.arange(2 * n)
    argument = math.cosh(2 * k) / math.tanh(2 * k) - np.cos(np.pi * level / n)
    g = np.arccosh(np.maximum(argument, 1.0))
    # The only one that changes its sign: negative above the critical temperature.
    g[0] = 2 * k + math.log(math.tanh(k))
    logs, signs = zip(*(_log_product(m * part / 2, sign)
                        for part in (g[1::2], g[0::2]) for sign in (1.0, -1.0)))
    largest = max(logs)
    total = sum(sign * math.exp(log - largest) for log, sign in zip(logs, signs))
    return float(m * n / 2 * math.log(2 * math.sinh(2 * k)) - math.log(2) + largest
                 + math.log(total))


def _log_product(x: NDArray[np.float64], sign: float) -> tuple[float, float]:
    """Return ln |prod (e^x + sign e^-x)| and the sign of the product."""
    size = np.abs(x)
    with np.errstate(divide="ignore"):
        log = float((size + np.log1p(sign * np.exp(-2 * size))).sum())
    return log, 1.0 if sign > 0 else float(np.prod(np.sign(x)))

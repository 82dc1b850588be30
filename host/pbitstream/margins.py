"""How far a quantised program is from instability and overflow, and how fast it settles.

Over the free Langevin units, with K = diag(k2) and J the quantised coupling, the equilibrium is
stable for k4 = 0 iff ``lambda_min(K - J) > 0`` and ``dt < 2 / lambda_max(K - J)``; with k4 > 0
the step must satisfy ``dt < 2 / (lambda_max(K - J) + 3 k4 x^2)``, x the largest |x| of the
calibration run. The gap g = lambda_min(K - J) sets the pace: autocorrelation time
``(2 - g dt) / (g dt)`` steps, burn-in ``ceil(8 / (g dt))`` steps, and the rms error of a time mean
over N steps is ``sqrt(2 / (dt N) mean_i [(K - J)^-1 diag(T) (K - J)^-1]_ii)`` at k4 = 0.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.coupling import apply_coupling, low_rank_factors
from pbitstream.errors import SpecError, UnstableError
from pbitstream.spec.noise import noise_temperature
from pbitstream.spec.topology import LowRankBank, Topology
from pbitstream.spec.words import BETA, DT_SHIFTS, EXPOSED, FIELD_LIMIT, K2, K4
from pbitstream.tables import worst_field

__all__ = ["Margins", "certainly_stable", "compute_margins"]

Values = NDArray[np.float64]
Tables = Mapping[str, NDArray[Any]]

#: Above this many free Langevin units eigenvalues come from Lanczos iterations.
DENSE_LIMIT = 1024
LANCZOS_STEPS = 160
#: Stands for a gap or curvature of zero where one is divided by.
SMALLEST = 2.0**-20


@dataclass(frozen=True)
class Margins:
    """Stability, pace and headroom of a program.

    Attributes
    ----------
    lambda_max, lambda_min
        Extreme eigenvalues of J over the free Langevin units; None without such units.
    gap
        Smallest eigenvalue of K - J.
    linear_gap
        The same over the units with k4 = 0, which nothing else holds back; None without such.
    dt, dt_limit, linear_dt_limit
        Time step, the step at which the dynamics diverges, and the same without the quartic term.
    headroom_bits
        log2 of the int32 limit over the worst-case field of any unit.
    tau, burn_in
        Slowest autocorrelation time and the burn-in that leaves e^-8 of the start, in steps. Of
        the quadratic part alone: a quartic term makes both shorter, p-bits have their own pace.
    error_scale
        rms error of a time mean over N steps is ``error_scale / sqrt(N)``; an upper bound above
        1,024 free units; None without Langevin units.
    boltzmann
        Whether the program samples a Boltzmann law as dt goes to 0: all beta and 1/T equal within
        1 %; None if T = 0. At finite dt the variance of a mode of stiffness g is
        T / (g (1 - g dt / 2)).
    """

    lambda_max: float | None
    lambda_min: float | None
    gap: float | None
    linear_gap: float | None
    dt: float
    dt_limit: float | None
    linear_dt_limit: float | None
    headroom_bits: float
    tau: float | None
    burn_in: int | None
    error_scale: float | None
    boltzmann: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data for JSON."""
        return asdict(self)

    def steps_for(self, error: float) -> int:
        """Return the window, in steps, whose rms error is at most `error`."""
        if not error > 0:
            raise SpecError(f"error must be positive, not {error}")
        return max(1, math.ceil(((self.error_scale or 0.0) / error) ** 2))

    def check(self, *, force: bool = False) -> None:
        """Raise UnstableError, with the margin and the cure, unless the program is stable.

        `force` lets a step pass that is too large for the quartic term alone.
        """
        if self.linear_gap is not None and self.linear_gap <= 0:
            raise UnstableError(
                f"no stable equilibrium: the smallest eigenvalue of K - J over units with k4 = 0 "
                f"is {self.linear_gap:.4g} and must be positive (largest eigenvalue of J: "
                f"{self.lambda_max:.4g}); shrink the couplings between free modules or raise k2"
            )
        limit = self.linear_dt_limit if force else self.dt_limit
        if limit is not None and self.dt >= limit:
            shift = max(0, math.floor(-math.log2(limit)) + 1)
            cure = f"use dt_shift {shift} or more"
            if shift not in DT_SHIFTS:
                cure = "no step is small enough"
            raise UnstableError(
                f"dt = {self.dt:g} must be below {limit:.4g}; {cure}, or, "
                "if only the quartic term is the reason, state the largest |x| that occurs "
                "(x_max), or force the load and watch the clip counts"
            )


def compute_margins(topology: Topology, tables: Tables) -> Margins:
    """Return the margins of a quantised program; O(n^3) up to 1,024 free Langevin units."""
    dt = 2.0**-topology.dt_shift
    worst = max(1, int(worst_field(topology, tables).max(initial=1)))
    headroom = math.log2(FIELD_LIMIT / worst)
    free = np.zeros(topology.units, bool)
    temperature = np.zeros(topology.units)
    x_max = np.zeros(topology.units)
    for index, module in enumerate(topology.modules):
        part = topology.units_of(index)
        free[part] = module.kind == "langevin" and not module.clamped
        codes = int(tables["noise_gain"][index]), int(tables["noise_shift"][index])
        temperature[part] = noise_temperature(*codes, topology.dt_shift)
        x_max[part] = EXPOSED.value(int(tables["x_max"][index]))
    boltzmann = _samples_boltzmann(topology, tables)
    if not free.any():
        nothing = dict.fromkeys(field.name for field in fields(Margins))
        return Margins(**{**nothing, "dt": dt, "headroom_bits": headroom,  # type: ignore[arg-type]
                          "boltzmann": boltzmann})
    k2 = tables["k2"][free] * K2.value(1)
    k4 = tables["k4"][free] * K4.value(1)

    def apply(x: Values) -> Values:
        full = np.zeros((topology.units, x.shape[1]))
        full[free] = x
        return apply_coupling(topology, tables, full)[free]

    linear = k4 == 0
    solver = _dense if len(k2) <= DENSE_LIMIT else _iterative
    j_range, (low, high), linear_gap, variance = solver(apply, k2, linear, temperature[free])
    # A K - J that only repels has no step limit; a tiny curvature stands for none.
    high = max(high, SMALLEST)
    stiffest = high + float((3 * k4 * x_max[free] ** 2).max())
    pace = max(low, 0.0) * dt
    return Margins(
        lambda_max=j_range[1],
        lambda_min=j_range[0],
        gap=low,
        linear_gap=linear_gap,
        dt=dt,
        dt_limit=2 / stiffest,
        linear_dt_limit=2 / high,
        headroom_bits=headroom,
        tau=(2 - pace) / pace if pace else None,
        burn_in=math.ceil(8 / pace) if pace else None,
        error_scale=math.sqrt(2 / dt * variance),
        boltzmann=boltzmann,
    )


def certainly_stable(topology: Topology, tables: Tables, *, force: bool = False) -> bool:
    """Return whether Gershgorin's discs alone prove what `Margins.check` asks for.

    Every eigenvalue of K - J lies within ``sum_j |J_ij|`` of some k2_i. No proof, which is no
    verdict, where banks between free modules are not all low-rank, or where there are more than
    1,024 free Langevin units. O(n^2 rank), a small part of what eigenvalues cost.
    """
    free = np.zeros(topology.units, bool)
    x_max = np.zeros(topology.units)
    for index, module in enumerate(topology.modules):
        part = topology.units_of(index)
        free[part] = module.kind == "langevin" and not module.clamped
        x_max[part] = EXPOSED.value(int(tables["x_max"][index]))
    if not 0 < free.sum() <= DENSE_LIMIT:
        return False
    k2, k4 = tables["k2"] * K2.value(1), tables["k4"] * K4.value(1)
    linear = (k4 == 0).astype(np.float64)
    # J_ts of every pair of modules with t >= s: parallel banks may cancel each other.
    blocks: dict[tuple[int, int], Values] = {}
    for index, bank in enumerate(topology.banks):
        s, t = sorted((bank.source, bank.target))
        if not (free[topology.starts[s]] and free[topology.starts[t]]):
            continue
        if not isinstance(bank, LowRankBank):
            return False
        a, b, gain = low_rank_factors(topology, tables, index)
        block = (b * gain) @ a.T if bank.target == t else (a * gain) @ b.T
        block = block + block.T if s == t else block
        blocks[t, s] = blocks[t, s] + block if (t, s) in blocks else block
    # Of every unit, over all others and over those with k4 = 0.
    sums, linear_sums = np.zeros(topology.units), np.zeros(topology.units)
    for (t, s), block in blocks.items():
        size, near, far = np.abs(block), topology.units_of(t), topology.units_of(s)
        sums[near] += size.sum(axis=1)
        linear_sums[near] += size @ linear[far]
        if s != t:
            sums[far] += size.sum(axis=0)
            linear_sums[far] += linear[near] @ size
    held_by_k2 = free & (k4 == 0)
    if not (k2[held_by_k2] > linear_sums[held_by_k2]).all():
        return False
    stiffness = k2 + sums if force else k2 + sums + (3 * k4 * x_max**2).max(where=free, initial=0)
    return bool(2.0**-topology.dt_shift * stiffness[free].max() < 2)


def _dense(
    apply: Callable[[Values], Values],
    k2: Values,
    linear: NDArray[np.bool_],
    temperature: Values,
) -> tuple[tuple[float, float], tuple[float, float], float | None, float]:
    """Return the ranges of J and K - J, the linear gap, and mean_i of the means' dt N / 2 variance.

    That is mean_i [M^-1 diag(T) M^-1]_ii with M = K - J; T mean(1 / eigenvalues^2) at one T.
    """
    j = apply(np.eye(len(k2)))
    m = np.diag(k2) - j
    values = np.linalg.eigvalsh(m)
    own = k2[0] - values[::-1] if (k2 == k2[0]).all() else np.linalg.eigvalsh(j)
    linear_gap = None
    if linear.any():
        linear_gap = float(values[0] if linear.all() else
                           np.linalg.eigvalsh(m[np.ix_(linear, linear)])[0])
    if np.abs(values).min() < SMALLEST:
        variance = math.inf
    elif (temperature == temperature[0]).all():
        variance = float(temperature[0] * (1 / values**2).mean())
    else:
        variance = float((np.linalg.inv(m) ** 2 @ temperature).mean())
    return ((float(own[0]), float(own[-1])), (float(values[0]), float(values[-1])), linear_gap,
            variance)


def _iterative(
    apply: Callable[[Values], Values],
    k2: Values,
    linear: NDArray[np.bool_],
    temperature: Values,
) -> tuple[tuple[float, float], tuple[float, float], float | None, float]:
    """Return what `_dense` returns, by Lanczos iterations; the variance is an upper bound."""

    def restoring(x: Values) -> Values:
        return k2[:, None] * x - apply(x)

    def among_linear(x: Values) -> Values:
        full = np.zeros((len(k2), x.shape[1]))
        full[linear] = x
        return restoring(full)[linear]

    low, high = _lanczos(restoring, len(k2))
    linear_gap = None
    if linear.any():
        linear_gap = low if linear.all() else _lanczos(among_linear, int(linear.sum()))[0]
    variance = float(temperature.max()) / max(low, SMALLEST) ** 2
    return _lanczos(apply, len(k2)), (low, high), linear_gap, variance


def _lanczos(apply: Callable[[Values], Values], n: int) -> tuple[float, float]:
    """Return the extreme eigenvalues of a symmetric operator, widened by their residuals.

    Lanczos with full reorthogonalisation from a fixed start; the interval is pushed outwards by
    the residual norms of its two Ritz pairs.
    """
    steps = min(LANCZOS_STEPS, n)
    basis = np.zeros((steps + 1, n))
    diagonal, beside = np.zeros(steps), np.zeros(steps)
    basis[0] = np.random.default_rng(0).standard_normal(n)
    basis[0] /= np.linalg.norm(basis[0])
    for i in range(steps):
        v = apply(basis[i][:, None])[:, 0]
        diagonal[i] = basis[i] @ v
        for _ in range(2):
            v -= basis[: i + 1].T @ (basis[: i + 1] @ v)
        beside[i] = np.linalg.norm(v)
        if beside[i] < 1e-12:
            steps = i + 1
            break
        basis[i + 1] = v / beside[i]
    off = beside[: steps - 1]
    ritz, vectors = np.linalg.eigh(np.diag(diagonal[:steps]) + np.diag(off, 1) + np.diag(off, -1))
    residual = beside[steps - 1] * np.abs(vectors[-1])
    return float(ritz[0] - residual[0]), float(ritz[-1] + residual[-1])


def _samples_boltzmann(topology: Topology, tables: Tables) -> bool | None:
    betas, temperatures = [], []
    for index, module in enumerate(topology.modules):
        if module.clamped:
            continue
        if module.kind == "pbit":
            betas.append(BETA.value(int(tables["beta"][index])))
        else:
            codes = int(tables["noise_gain"][index]), int(tables["noise_shift"][index])
            temperatures.append(noise_temperature(*codes, topology.dt_shift))
    if temperatures and min(temperatures) == 0:
        return None
    inverse = betas + [1 / t for t in temperatures]
    return max(inverse) <= 1.01 * min(inverse)

"""Exact answers the physics tests compare with, none of them computed by the product's kernels."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.linalg import solve_discrete_lyapunov

from pbitstream.coupling import coupling_matrix
from pbitstream.program import Program

Values = NDArray[np.float64]


def assert_within(measured, exact, error, *, seed, what, sigmas=5.0, bias=0.0):
    """Assert |measured - exact| <= sigmas * error + bias everywhere; return the worst ratio."""
    measured, exact, error, bias = np.broadcast_arrays(measured, exact, error, bias)
    assert (error > 0).all(), f"{what}: a standard error is zero, so nothing was measured"
    distance = np.maximum(np.abs(measured - exact) - bias, 0) / error
    worst = np.unravel_index(np.argmax(distance), distance.shape)
    assert distance[worst] <= sigmas, (
        f"{what}{list(worst)}: {measured[worst]:.6g} is {distance[worst]:.1f} standard errors "
        f"({error[worst]:.2g}) from {exact[worst]:.6g}, bias allowance {bias[worst]:.2g}; "
        f"allowed {sigmas}; seed {seed}"
    )
    return float(distance[worst])


def scatter(per_chain: Values) -> tuple[Values, Values]:
    """Return the mean over chains (axis 0) and its standard error from their scatter."""
    return per_chain.mean(axis=0), per_chain.std(axis=0, ddof=1) / math.sqrt(len(per_chain))


def euler_covariances(restoring: Values, temperature: Values, dt: float, lags: int) -> list[Values]:
    """Return E[x(n+k) x(n)^T], k = 0..lags, of x <- (1 - dt M) x + dt h + sqrt(2 T dt) xi.

    The covariance solves C = A C A^T + 2 dt diag(T) with A = 1 - dt M, and C(k) = A^k C. For one
    unit of stiffness g that is T / (g (1 - g dt / 2)) times (1 - g dt)^k.
    """
    a = np.eye(len(restoring)) - dt * restoring
    c = solve_discrete_lyapunov(a, 2 * dt * np.diag(temperature))
    return [np.linalg.matrix_power(a, k) @ c for k in range(lags + 1)]


def quartic_moments(k2: float, k4: float, h: float, temperature: float) -> Values:
    """Return E[x], E[x^2] of the Boltzmann law of one unit, by adaptive quadrature."""
    def energy(x: float) -> float:
        return k2 / 2 * x**2 + k4 / 4 * x**4 - h * x

    lowest = min(energy(x) for x in np.linspace(-8, 8, 4001))
    moments = [
        quad(lambda x, n=n: x**n * math.exp(-(energy(x) - lowest) / temperature), -8, 8,
             epsabs=1e-12, epsrel=1e-11, limit=400)[0]
        for n in range(3)
    ]
    return np.array(moments[1:]) / moments[0]


def quartic_euler_moments(k2: float, k4: float, h: float, temperature: float, dt: float) -> Values:
    """Return E[x], E[x^2] of the Euler chain itself, noise a sum of four uniforms.

    Stationary vector of the transition density on a fine grid; the density is a cubic spline, so
    sums over the grid are accurate to O(spacing^4).
    """
    std = math.sqrt(2 * temperature * dt)
    # Beyond `edge` the Euler map itself runs away; the chain never gets there.
    edge = min(3.0, 0.95 * math.sqrt((2 / dt - k2) / k4))
    x = np.arange(-edge, edge, std / 8)
    after = np.clip(x + dt * (h - k2 * x - k4 * x**3), -edge, edge)
    s = (x[:, None] - after[None]) / (std * math.sqrt(3)) + 2  # sum of four uniforms on 0..1
    density = sum(sign * np.clip(s - j, 0, None) ** 3
                  for j, sign in enumerate((1, -4, 6, -4, 1))) / 6
    density = np.where((s > 0) & (s < 4), density, 0)
    density /= density.sum(axis=0)
    p = np.full(len(x), 1 / len(x))
    squared = density
    for _ in range(10):  # 2^10 steps
        squared = squared @ squared
    p = squared @ p
    return np.array([p @ x, p @ x**2])


def spin_states(n: int) -> Values:
    """Return all 2^n rows of n spins; row number has bit i set where spin i is +1."""
    return 2.0 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1) - 1


def ising_law(j: Values, h: Values, beta: float) -> Values:
    """Return the Boltzmann probabilities of the rows of `spin_states`, E = -m J m / 2 - h m."""
    m = spin_states(len(h))
    energy = -0.5 * np.einsum("si,ij,sj->s", m, j, m) - m @ h
    weight = np.exp(-beta * (energy - energy.min()))
    return weight / weight.sum()


def state_numbers(spins) -> NDArray[np.int64]:
    """Return the row of `spin_states` for 0/1 spins on the last axis."""
    return spins.astype(np.int64) @ (1 << np.arange(spins.shape[-1]))


def plug_in_divergence(numbers: NDArray[np.int64], law: Values) -> tuple[float, float]:
    """Return KL(samples || law) and its expectation (states - 1) / (2 samples) for exact ones."""
    q = np.bincount(numbers.ravel(), minlength=len(law)) / numbers.size
    seen = q > 0
    divergence = float((q[seen] * np.log(q[seen] / law[seen])).sum())
    return divergence, (len(law) - 1) / (2 * numbers.size)


def _log_kaufman(n: int, m: int, k: float) -> float:
    """Return ln Z of the n x m Ising torus at coupling K (Kaufman 1949, eq. 91)."""
    c = math.cosh(2 * k) / math.tanh(2 * k)
    gamma = [math.acosh(c - math.cos(math.pi * r / n)) for r in range(2 * n)]
    gamma[0] = 2 * k + math.log(math.tanh(k))  # negative above the critical temperature
    logs, signs = [], []
    for first in (1, 0):
        half = [m * gamma[r] / 2 for r in range(first, 2 * n, 2)]
        logs.append(sum(abs(g) + math.log1p(math.exp(-2 * abs(g))) for g in half))
        signs.append(1.0)
        logs.append(sum(abs(g) + math.log(-math.expm1(-2 * abs(g))) for g in half))
        signs.append(math.prod(math.copysign(1, g) for g in half))
    top = max(logs)
    total = sum(sign * math.exp(log - top) for sign, log in zip(signs, logs))
    return n * m / 2 * math.log(2 * math.sinh(2 * k)) - math.log(2) + top + math.log(total)


def kaufman_energy(n: int, m: int, k: float) -> float:
    """Return the energy per site, in units of J, of the n x m torus: -d ln Z / dK / (n m)."""
    e = 1e-4
    f = {i: _log_kaufman(n, m, k + i * e) for i in (-2, -1, 1, 2)}
    return -(8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * e) / (n * m)


def torus_energy_by_enumeration(n: int, m: int, k: float) -> float:
    """Return the same by summing over all 2^(n m) states."""
    spins = spin_states(n * m).reshape(-1, n, m)
    energy = -(spins * (np.roll(spins, 1, 1) + np.roll(spins, 1, 2))).sum(axis=(1, 2))
    weight = np.exp(-k * (energy - energy.min()))
    return float(energy @ weight / weight.sum() / (n * m))


def mixed_law(program: Program, h: Values, temperature: float) -> tuple[Values, Values, Values]:
    """Return E[state], E[state^2] of all units and P(spins) under exp(-E / T), all units free.

    Spins are enumerated; given them, Langevin units with k4 = 0 are jointly Gaussian and those
    with k4 > 0, which must not be coupled to Langevin units, are integrated one by one.
    """
    topology, tables = program.topology, program.tables
    j = coupling_matrix(topology, tables)
    k2, k4 = tables["k2"] / 2**10, tables["k4"] / 2**12
    spin = np.concatenate([np.full(m.dim, m.kind == "pbit") for m in topology.modules])
    gauss, quartic = ~spin & (k4 == 0), ~spin & (k4 > 0)
    assert not j[np.ix_(quartic, ~spin)].any()
    m = spin_states(int(spin.sum()))
    field = h + m @ j[spin]
    log_weight = (0.5 * np.einsum("si,ij,sj->s", m, j[np.ix_(spin, spin)], m)
                  + m @ h[spin]) / temperature
    first, second = np.zeros((len(m), len(h))), np.zeros((len(m), len(h)))
    first[:, spin], second[:, spin] = m, 1.0
    inverse = np.linalg.inv(np.diag(k2[gauss]) - j[np.ix_(gauss, gauss)])
    centre = field[:, gauss] @ inverse
    log_weight += 0.5 * (centre * field[:, gauss]).sum(axis=1) / temperature
    first[:, gauss] = centre
    second[:, gauss] = centre**2 + temperature * np.diag(inverse)
    x = np.linspace(-8, 8, 1601)  # the trapezium rule converges exponentially here
    for unit in np.flatnonzero(quartic):
        energy = k2[unit] / 2 * x**2 + k4[unit] / 4 * x**4 - field[:, unit, None] * x
        lowest = energy.min(axis=1, keepdims=True)
        p = np.exp(-(energy - lowest) / temperature)
        z = p.sum(axis=1)
        log_weight += np.log(z) - lowest[:, 0] / temperature
        first[:, unit], second[:, unit] = p @ x / z, p @ x**2 / z
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    return weight @ first, weight @ second, weight

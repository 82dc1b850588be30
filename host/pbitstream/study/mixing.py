"""Mixing: how long a substrate remembers, against its size, its spectral gap and k4.

A mode of stiffness g under Langevin steps dt forgets as ``(1 - g dt)^n``: relaxation takes
``-1 / ln(1 - g dt)`` steps per factor e, and its autocorrelation time is ``(2 - g dt) / (g dt)``
steps. The slowest mode has ``g = k2 - lambda_max(J)``. With k4 > 0 the mean curvature
``k2 + 3 k4 <x_i^2>`` takes the place of k2.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.coupling import coupling_matrix
from pbitstream.devices.protocol import Device, State
from pbitstream.program import Program
from pbitstream.spec.words import MAX_LOW_RANK_DIM, STATE
from pbitstream.study.base import Figure, Panel, Point, Row

__all__ = ["Mixing"]

Values = NDArray[np.float64]

RANK = 8
TEMPERATURE = 0.1
DT_SHIFT = 4
CHAINS = 256
#: How far the bias of the relaxation moves the slowest mode; its own spread is about 1.
KICK = 0.5
#: Window in predicted autocorrelation times; the mean of a shorter one is biased by their ratio.
WINDOW = 40
#: Units, lambda_max / k2 and k4: one is swept while the others stay.
SIZES, RADII, QUARTICS = (16, 64, 256, 1024), (0.0, 0.5, 0.75, 0.9, 0.95), (0.0, 0.05, 0.25, 1.0)
SIZE, RADIUS, SLOW = 64, 0.75, 0.9


class Mixing:
    """Autocorrelation and relaxation time of the slowest mode, measured and predicted."""

    name = "mixing"
    question = "How does mixing time depend on dimension, spectral gap and k4?"
    method = (
        f"Random rank-{RANK} banks between halves of the units, scaled to lambda_max; T = "
        f"{TEMPERATURE:g}, dt = 2^-{DT_SHIFT}, k2 = 1. tau: variance of the window mean of the "
        f"slowest mode over {CHAINS} chains, {WINDOW} tau long; relaxation: the way of its mean "
        "after a small bias is switched on. A seed is another bank and other noise."
    )
    parameters: ClassVar = {"sweep": "sweep", "units": "units", "radius": "λmax/k2", "k4": "k4"}
    figures = (
        Figure("tau", "tau", "autocorrelation time of the slowest mode, steps", 0),
        Figure("tau_predicted", "tau\nfrom g",
               "(2 - g dt) / (g dt), g the stiffness of that mode at the mean curvature", 0),
        Figure("relaxation", "relax.", "steps per factor e of the answer to a bias", 1),
        Figure("relaxation_predicted", "relax.\nfrom g", "-1 / ln(1 - g dt)", 1),
    )
    panels = (
        Panel("gap", "radius", ("tau", "tau_predicted"), only={"sweep": "gap"}, logarithmic="y"),
        Panel("dimension", "units", ("tau", "tau_predicted"), only={"sweep": "dimension"},
              logarithmic="x"),
        Panel("quartic stiffness", "k4", ("tau", "tau_predicted", "relaxation"),
              only={"sweep": "k4"}),
    )
    identity = f"mixing 2 {RANK} {TEMPERATURE} {DT_SHIFT} {CHAINS} {WINDOW}"

    def points(self) -> list[Point]:
        """Return the three sweeps."""
        found: list[Point] = []
        found += [{"sweep": "dimension", "units": n, "radius": RADIUS, "k4": 0.0} for n in SIZES]
        found += [{"sweep": "gap", "units": SIZE, "radius": r, "k4": 0.0} for r in RADII]
        found += [{"sweep": "k4", "units": SIZE, "radius": SLOW, "k4": k4} for k4 in QUARTICS]
        return found

    def measure(self, device: Device, point: Point, seed: int) -> dict[str, float]:
        """Return times of one random bank."""
        units, radius, k4 = int(point["units"]), float(point["radius"]), float(point["k4"])
        program = random_halves(units, radius, k4, seed)
        j = coupling_matrix(program.topology, program.tables)
        values, vectors = np.linalg.eigh(j)
        slow, dt = vectors[:, -1], 2.0**-DT_SHIFT
        device.load(program, force=True)
        gap = 1.0 - float(values[-1])
        # A first short run says how far the units go, which k4 turns into stiffness.
        burn_in = math.ceil(8 / (gap * dt))
        if k4:
            squares = device.relax(np.zeros((1, units)), steps=burn_in, burn_in=burn_in, seed=seed,
                                   chains=CHAINS, moments=True).square
            assert squares is not None
            curved, modes = np.linalg.eigh(np.diag(1.0 + 3 * k4 * squares[0]) - j)
            mean_gap, slow_mode = float(curved[0]), modes[:, 0]
        else:
            mean_gap, slow_mode = gap, slow
        predicted = (2 - mean_gap * dt) / (mean_gap * dt)
        window = math.ceil(WINDOW * predicted)
        readout = device.relax(np.zeros((1, units)), steps=window, burn_in=burn_in, seed=seed,
                               chains=CHAINS)
        means = readout.sums[0] * readout.unit / window @ slow_mode
        spread = TEMPERATURE / (gap * (1 - gap * dt / 2))
        if k4:
            spread = float(np.square(STATE.value(1) * readout.state.units @ slow_mode).mean())
        return {
            "tau": window * float((means**2).mean()) / spread,
            "tau_predicted": predicted,
            "relaxation": self._relaxation(device, slow_mode, mean_gap, readout.state),
            "relaxation_predicted": -1 / math.log(1 - mean_gap * dt),
        }

    def conclusions(self, rows: Sequence[Row]) -> list[str]:
        """Return how far predictions hold and what each sweep does."""
        worst = max((abs(row.figures["relaxation"].mean
                         / row.figures["relaxation_predicted"].mean - 1)
                     for row in rows if not row.point["k4"]), default=math.nan)
        settled = (f"With k4 = 0 an answer settles at the predicted pace within {100 * worst:.1f} "
                   "%; dimension enters through the gap alone.")
        found = [settled]
        quartic = [row for row in rows if row.point["sweep"] == "k4"]
        if quartic:
            first, last = quartic[0].figures, quartic[-1].figures
            found.append(f"At lambda_max = {SLOW:g} k2, k4 = {quartic[-1].point['k4']:g} shortens "
                         f"tau from {first['tau'].mean:.0f} to {last['tau'].mean:.0f} steps; the "
                         f"mean curvature predicts {last['tau_predicted'].mean:.0f}.")
        return found

    def _relaxation(self, device: Device, mode: Values, gap: float, state: State) -> float:
        """Return steps per factor e of the way to where a bias along the mode leads.

        Biases of both signs meet the same noise, which cancels in their difference.
        """
        h = KICK * gap * mode[None]
        pace = gap * 2.0**-DT_SHIFT

        def apart(steps: float) -> float:
            up, down = (device.relax(sign * h, steps=1, burn_in=round(steps / pace), seed=0,
                                     chains=CHAINS, state=state).mean[0] for sign in (1, -1))
            return float((up - down) @ mode)

        end, near, far = apart(24), apart(0.5), apart(1.5)
        taken = round(1.5 / pace) - round(0.5 / pace)
        return taken / math.log((end - near) / (end - far))


def random_halves(units: int, radius: float, k4: float, seed: int) -> Program:
    """Return a program of two halves joined by random low-rank banks with this lambda_max.

    Halves of more than 128 units are several modules; every pair across has a bank.
    """
    draw = np.random.default_rng([seed, units])
    half = units // 2
    size = min(half, MAX_LOW_RANK_DIM)
    rank = min(RANK, size)
    count = half // size
    factors = [(draw.standard_normal((size, rank)), draw.standard_normal((size, rank)))
               for _ in range(count**2)]
    dense = np.block([[factors[s * count + t][1] @ factors[s * count + t][0].T
                       for s in range(count)] for t in range(count)])
    scale = radius / float(np.linalg.norm(dense, 2))
    builder = ProgramBuilder(dt_shift=DT_SHIFT)
    names = [f"{side}{n}" for side in ("left", "right") for n in range(count)]
    indices = [builder.langevin(name, size, k4=k4, temperature=TEMPERATURE) for name in names]
    for s in range(count):
        for t in range(count):
            a, b = factors[s * count + t]
            builder.low_rank(indices[s], indices[count + t], a, b, np.full(rank, scale))
    return builder.build()

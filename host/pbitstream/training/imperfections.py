"""What noise, fixed point and device mismatch do to estimates of equilibrium propagation.

All of it with the symmetric rule on systems of `pbitstream.training.systems`; references are those
of exact parameters at T = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.training.energy import Gradient, Parameters
from pbitstream.training.laboratory import AlignmentRow, Budget, Memo, Report, alignment, idle
from pbitstream.training.rules import cosine, estimate_gradient
from pbitstream.training.substrate import Batch, FloatSubstrate, Settled, Substrate
from pbitstream.training.systems import System, flat, reference

__all__ = ["CODES", "MISMATCH", "SETTLED", "WINDOWS", "Independent", "MismatchRow", "Mismatched",
           "NoiseRow", "fixed_point", "mismatch", "noise"]

Values = NDArray[np.float64]

DT = 1 / 8
#: A budget whose relaxations have ended, so that only the imperfection is left.
SETTLED = (200, 200)
#: Nudges of the fixed-point substrate, in codes of 2^-10.
CODES = (1, 2, 5, 10, 20, 50, 100, 200)
#: Standard deviations of relative mismatch.
MISMATCH = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
#: Steps averaged, and how many times the state is read on the way.
WINDOWS = ((64, 4), (256, 16), (1024, 64), (1024, 16))
#: A second stream of noise, for phases that shall not share theirs.
OTHER = 1 << 32


@dataclass(frozen=True)
class NoiseRow:
    """Noise of one chain's estimate at a temperature, window and number of reads; means of systems.

    `spread` is sqrt(mean |g - mean g|^2) / |truth| over chains; `cosine` that of one chain's
    estimate with the truth, `cosine_mean` that of the mean over all chains. `common` tells
    whether both nudged phases see the same noise.
    """

    temperature: float
    window: int
    reads: int
    nudge: float
    common: bool
    spread: float
    cosine: float
    cosine_mean: float


class Independent:
    """A substrate whose -nudge phases go on from a free phase of their own noise."""

    def __init__(self, substrate: Substrate) -> None:
        self.substrate = substrate
        self._free_steps = 0

    def load(self, parameters: Parameters) -> None:
        """Load the parameters."""
        self.substrate.load(parameters)

    def applied(self, nudge: float) -> float:
        """Return what the substrate applies."""
        return self.substrate.applied(nudge)

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        """Relax; at -nudge, from a free phase with another seed."""
        if start is None:
            self._free_steps = steps
        if nudge < 0:
            seed += OTHER
            if start is not None:
                start = self.substrate.settle(batch, nudge=0.0, steps=self._free_steps, start=None,
                                              seed=seed)
        return self.substrate.settle(batch, nudge=nudge, steps=steps, start=start, seed=seed)


class _Chain:
    """One row of the relaxations of a batch of equal samples: an independent chain."""

    def __init__(self, substrate: Substrate, whole: Batch, row: int) -> None:
        self.substrate, self.whole, self.row = substrate, whole, slice(row, row + 1)

    def load(self, parameters: Parameters) -> None:
        self.substrate.load(parameters)

    def applied(self, nudge: float) -> float:
        return self.substrate.applied(nudge)

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        begin = None if start is None else start.memory
        every = self.substrate.settle(self.whole, nudge=nudge, steps=steps, start=begin, seed=seed)
        # Samples are averaged as segments are, in one product instead of one per segment.
        return Settled(every.x[:, self.row].swapaxes(0, 1), every)


def noise(
    systems: Sequence[System],
    *,
    temperatures: Sequence[float] = (0.001, 0.01, 0.1),
    windows: Sequence[tuple[int, int]] = WINDOWS,
    nudges: Sequence[float] = (0.02, 0.1),
    chains: int = 16,
    seed: int = 0,
    report: Report = idle,
) -> list[NoiseRow]:
    """Measure the spread of estimates at T > 0 against temperature, window and nudge.

    Free phases have 64 steps; nudged ones are read at the ends of equal parts. Common noise cancels
    in the difference of the phases, independent noise is divided by the nudge.
    """
    cases = [(t, w, n, common) for t in temperatures for w in windows for n in nudges
             for common in (True, False)]
    rows = []
    for number, (temperature, (window, reads), nudge, common) in enumerate(cases):
        report("noise", number, len(cases))
        found = []
        for place, system in enumerate(systems):
            batch = system.batch
            whole = Batch(np.repeat(batch.clamp, chains, axis=0),
                          np.repeat(batch.target, chains, axis=0), batch.output)
            plain = FloatSubstrate(DT, temperature, reads)
            substrate = Memo(plain if common else Independent(plain))
            substrate.load(system.parameters)
            made = np.stack([
                flat(estimate_gradient(
                    _Chain(substrate, whole, row), system.parameters, batch, nudge=nudge,
                    free_steps=64, nudged_steps=window, seed=seed + place,
                ).gradient, system.names)
                for row in range(chains)
            ])
            truth = flat(system.gradient, system.names)
            size = np.linalg.norm(truth)
            mean = made.mean(axis=0)
            spread = np.sqrt(((made - mean) ** 2).sum() / (chains - 1)) / size
            single = made @ truth / np.linalg.norm(made, axis=1) / size
            found.append((spread, single.mean(), mean @ truth / np.linalg.norm(mean) / size))
        spread, single, all_chains = np.mean(found, axis=0)
        rows.append(NoiseRow(temperature, window, reads, nudge, common, float(spread),
                             float(single), float(all_chains)))
    return rows


def fixed_point(
    systems: Sequence[System],
    device: Substrate,
    *,
    codes: Sequence[int] = CODES,
    budget: tuple[int, int] = SETTLED,
    report: Report = idle,
) -> dict[str, list[AlignmentRow]]:
    """Measure alignment on a fixed-point substrate of dt = 1/8 and, beside it, in float."""
    grain = device.applied(1e-9)  # the smallest it can apply
    budgets = [Budget(code * grain, *budget) for code in codes]
    found = {}
    for name, substrate in (("float", FloatSubstrate(DT)), ("fixed", device)):
        found[name] = alignment(systems, substrate, budgets, rules=("symmetric",),
                                starts=("warm",), report=report, what=f"{name} point")
    return found


@dataclass(frozen=True)
class MismatchRow:
    """Cosines at a mismatch: with the gradient of the nominal energy, and of the device's own."""

    mismatch: float
    nominal: float
    nominal_min: float
    own: float
    own_min: float


class Mismatched:
    """A substrate whose k2, gains and biases differ from what the trainer believes.

    Each is off by a factor ``1 + mismatch N(0, 1)`` of its own; A, B and k4 are exact. The errors
    of an element are the same in every phase, and couplings stay symmetric.
    """

    def __init__(self, substrate: Substrate, mismatch: float, seed: int) -> None:
        self.substrate, self.mismatch, self.seed = substrate, mismatch, seed

    def factors(self, parameters: Parameters) -> Gradient:
        """Return what every array is multiplied by; the same at every call."""
        rng = np.random.default_rng(self.seed)
        return {
            name: 1 + self.mismatch * rng.standard_normal(array.shape)
            if name in ("h", "k2") or name.endswith(".gain") else np.ones_like(array)
            for name, array in parameters.arrays.items()
        }

    def device(self, parameters: Parameters) -> Parameters:
        """Return the energy that the device has."""
        factors = self.factors(parameters)
        return parameters.with_arrays(
            {name: array * factors[name] for name, array in parameters.arrays.items()})

    def load(self, parameters: Parameters) -> None:
        """Load what becomes of the parameters."""
        self.substrate.load(self.device(parameters))

    def applied(self, nudge: float) -> float:
        """Return what the substrate applies."""
        return self.substrate.applied(nudge)

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        """Relax the device's own energy."""
        return self.substrate.settle(batch, nudge=nudge, steps=steps, start=start, seed=seed)


def mismatch(
    systems: Sequence[System],
    *,
    strengths: Sequence[float] = MISMATCH,
    nudge: float = 0.02,
    budget: tuple[int, int] = SETTLED,
    seed: int = 0,
    report: Report = idle,
) -> list[MismatchRow]:
    """Measure alignment when the trainer's formula uses parameters that the device only nearly has.

    `own` compares with the gradient of the device's cost over the trainer's parameters: what
    training on that device has to follow.
    """
    rows = []
    for number, strength in enumerate(strengths):
        report("mismatch", number, len(strengths))
        found = []
        for place, system in enumerate(systems):
            substrate = Mismatched(FloatSubstrate(DT), strength, seed + place)
            substrate.load(system.parameters)
            estimate = estimate_gradient(substrate, system.parameters, system.batch, nudge=nudge,
                                         free_steps=budget[0], nudged_steps=budget[1])
            factors = substrate.factors(system.parameters)
            own = reference(substrate.device(system.parameters), system.batch).gradient
            chained = {name: factors[name] * value for name, value in own.items()}
            found.append([cosine(estimate.gradient, truth, system.names)
                          for truth in (system.gradient, chained)])
        nominal, owned = np.array(found).T
        rows.append(MismatchRow(strength, float(nominal.mean()), float(nominal.min()),
                                float(owned.mean()), float(owned.min())))
    return rows

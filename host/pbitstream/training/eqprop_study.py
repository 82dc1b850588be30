"""The study of equilibrium propagation: every measurement of the laboratory, for one seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pbitstream.devices.protocol import Device
from pbitstream.errors import SpecError
from pbitstream.training import imperfections, laboratory
from pbitstream.training.imperfections import SETTLED, WINDOWS, MismatchRow, NoiseRow
from pbitstream.training.laboratory import (
    BUDGETS,
    FIT_BELOW,
    AlignmentRow,
    Bias,
    BoundRow,
    Budget,
    Report,
    idle,
)
from pbitstream.training.substrate import DeviceSubstrate, FloatSubstrate, Substrate
from pbitstream.training.systems import PAPER, SMALL, System, random_system

__all__ = ["FULL", "QUICK", "Check", "Sizes", "Study", "study_eqprop"]

#: dt of the small systems, and of those of arXiv 2604.23806 in float and as 2^-shift.
DT_SHIFT, PAPER_DT, PAPER_DT_SHIFT = 3, 0.01, 7
PAPER_STEPS = 300
#: Where the rules are told apart: nearly every free phase is unfinished, the nudged ones are not.
TELLING = Budget(0.02, 10, 40)


@dataclass(frozen=True)
class Sizes:
    """How many systems, chains and settings the parts of the study have."""

    alignment: int
    slopes: int
    paper: int
    noise: int
    chains: int
    imperfect: int
    paper_nudges: tuple[float, ...] = (0.01, 0.03)
    temperatures: tuple[float, ...] = (0.001, 0.01, 0.1)
    windows: tuple[tuple[int, int], ...] = WINDOWS


FULL = Sizes(alignment=100, slopes=10, paper=20, noise=5, chains=32, imperfect=10)
QUICK = Sizes(alignment=12, slopes=10, paper=3, noise=1, chains=8, imperfect=2,
              paper_nudges=(0.01,), temperatures=(0.01,), windows=WINDOWS[:2])


@dataclass(frozen=True)
class Check:
    """A figure that must be reached, and whether it is."""

    figure: str
    must: str
    reached: float
    holds: bool


@dataclass(frozen=True, eq=False)
class Study:
    """All results; `paper` is by (reading, substrate), `fixed_point` by (budget, substrate)."""

    seed: int
    sizes: Sizes
    bias: Bias
    bounds: list[BoundRow]
    alignment: list[AlignmentRow]
    paper: dict[tuple[str, str], list[AlignmentRow]]
    noise: list[NoiseRow]
    fixed_point: dict[tuple[str, str], list[AlignmentRow]]
    mismatch: list[MismatchRow]

    def slope(self, rule: str) -> float:
        """Return the mean slope over systems, fitted up to `FIT_BELOW`."""
        return float(self.bias.slopes[rule].mean())

    def checks(self) -> list[Check]:
        """Compare with what must be reached."""
        one, two = self.slope("one-sided"), self.slope("symmetric")
        rows = {row.rule: row for row in self.alignment if row.start == "warm"
                and (row.nudge, row.free, row.nudged) == (TELLING.nudge, TELLING.free,
                                                          TELLING.nudged)}
        symmetric, matched, wrong = (rows[rule] for rule in
                                     ("symmetric", "one-sided-matched", "one-sided"))
        made = [
            Check("slope of the bias, one-sided", "1.0 ± .15", one, abs(one - 1) <= 0.15),
            Check("slope of the bias, symmetric", "2.0 ± .05", two, abs(two - 2) <= 0.05),
            Check("cosine at .02, 10 + 40 steps, symmetric", ">= .995", symmetric.mean,
                  symmetric.mean >= 0.995),
            Check("the same, one-sided-matched", ">= .99", matched.mean, matched.mean >= 0.99),
            Check("the same, one-sided", "< .2", wrong.mean, wrong.mean < 0.2),
            Check("the same, one-sided, share below 0", ">= .4", wrong.negative,
                  wrong.negative >= 0.4),
        ]
        reading = next(iter(PAPER))
        for (name, substrate), found in self.paper.items():
            if name != reading or substrate == "float 2^-7":
                continue
            high = max(row.mean for row in found if row.rule == "one-sided")
            low = min(row.mean for row in found if row.rule == "symmetric")
            made.append(Check(f"D = 64, {substrate}, one-sided", "< 0", high, high < 0))
            made.append(Check(f"D = 64, {substrate}, symmetric", ">= .9", low, low >= 0.9))
        tightest = max(row.tightest for row in self.bounds)
        made.append(Check("bias over its Taylor bound, largest", "<= 1", tightest, tightest <= 1))
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        bias = self.bias
        return {
            "seed": self.seed,
            "systems": self.sizes.alignment,
            "sizes": asdict(self.sizes),
            "compared": "bank factors A and B, gains, h",
            "checks": [asdict(check) for check in self.checks()],
            "slopes": {rule: self.slope(rule) for rule in bias.slopes},
            "slopes_of_systems": {
                "fitted_up_to": FIT_BELOW,
                **{rule: list(found) for rule, found in bias.slopes.items()},
            },
            "slopes_over_all_nudges": {rule: float(found.mean())
                                       for rule, found in bias.slopes_all.items()},
            "bias": [{"nudge": float(nudge), **{rule: float(found[:, place].mean())
                                                for rule, found in bias.relative.items()}}
                     for place, nudge in enumerate(bias.nudges)],
            "bounds": [asdict(row) for row in self.bounds],
            "alignment": [asdict(row) for row in self.alignment],
            "paper": [{"reading": reading, "substrate": name, **asdict(row)}
                      for (reading, name), rows in self.paper.items() for row in rows],
            "noise": [asdict(row) for row in self.noise],
            "fixed_point": [{"substrate": name, **asdict(row)}
                            for (_, name), rows in self.fixed_point.items() for row in rows],
            "mismatch": [asdict(row) for row in self.mismatch],
        }


def study_eqprop(
    device: Device, *, seed: int = 0, sizes: Sizes = FULL, report: Report = idle
) -> Study:
    """Measure everything on systems drawn from a seed.

    Parameters
    ----------
    device
        Runs the fixed-point parts.
    seed
        Of systems, noise and mismatch; system i of a kind is the same at every size.
    """
    counts = (sizes.alignment, sizes.slopes, sizes.noise, sizes.imperfect)
    if min(*counts, sizes.paper) < 1:
        raise SpecError(f"systems must be at least 1, not {min(*counts, sizes.paper)}")
    systems: list[System] = []
    for number in range(max(counts)):
        report("draw systems", number, max(counts))
        systems.append(random_system(np.random.default_rng([seed, 0, number]), SMALL))
    dt = 2.0**-DT_SHIFT
    bias = laboratory.bias(systems[: sizes.slopes], report=report)
    bounds = laboratory.bounds(systems[: sizes.slopes], report=report)
    aligned = laboratory.alignment(systems[: sizes.alignment], FloatSubstrate(dt), BUDGETS,
                                   report=report)
    paper = _paper(device, seed, sizes, report)
    noise = imperfections.noise(
        systems[: sizes.noise], temperatures=sizes.temperatures, windows=sizes.windows,
        chains=sizes.chains, seed=seed, report=report,
    )
    few = systems[: sizes.imperfect]
    fixed = {}
    for label, steps in (("settled", SETTLED), ("short", (TELLING.free, TELLING.nudged))):
        found = imperfections.fixed_point(few, DeviceSubstrate(device, DT_SHIFT), budget=steps,
                                          report=report)
        fixed.update({(label, name): rows for name, rows in found.items()})
    off = imperfections.mismatch(few, seed=seed, report=report)
    return Study(seed, sizes, bias, bounds, aligned, paper, noise, fixed, off)


def _paper(
    device: Device, seed: int, sizes: Sizes, report: Report
) -> dict[tuple[str, str], list[AlignmentRow]]:
    """Measure the setting of arXiv 2604.23806 in float, and in float and fixed point at 2^-7."""
    budgets: Sequence[Budget] = [Budget(nudge, PAPER_STEPS, PAPER_STEPS)
                                 for nudge in sizes.paper_nudges]
    found = {}
    for place, (reading, shape) in enumerate(PAPER.items()):
        systems = [random_system(np.random.default_rng([seed, 1 + place, number]), shape)
                   for number in range(sizes.paper)]
        substrates: dict[str, Substrate] = {
            "float .01": FloatSubstrate(PAPER_DT),
            "float 2^-7": FloatSubstrate(2.0**-PAPER_DT_SHIFT),
            "fixed 2^-7": DeviceSubstrate(device, PAPER_DT_SHIFT),
        }
        for name, substrate in substrates.items():
            found[reading, name] = laboratory.alignment(
                systems, substrate, budgets, starts=("warm",), report=report,
                what=f"D = 64, {name}",
            )
    return found

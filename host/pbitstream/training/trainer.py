"""Training a substrate by equilibrium propagation: minibatches in, checkpoints and a curve out."""

import csv
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pbitstream.errors import PbitstreamError, SpecError
from pbitstream.training.banks import LowRank
from pbitstream.training.checkpoint import checkpoint_path, read_checkpoint, write_checkpoint
from pbitstream.training.energy import Parameters
from pbitstream.training.optimiser import Adam
from pbitstream.training.rules import RULES, Estimate, Rule, Start, estimate_gradient
from pbitstream.training.substrate import Batch, Substrate

__all__ = ["COLUMNS", "DivergedError", "Recipe", "Trainer", "cap_coupling"]

#: Columns of the history: update, cost of the free states, drift over nudge, clipped operations.
COLUMNS = ("update", "cost", "drift_over_nudge", "clips")
#: The one-sided rule divides the free phase's drift by the nudge; above this it is refused.
DRIFT_BOUND = 0.1
#: A cost this many times the first one ends a run.
DIVERGED = 10.0


class DivergedError(PbitstreamError, ArithmeticError):
    """A run left the range of numbers or of sense; its last good checkpoint is kept."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run besides substrate, data and start.

    Attributes
    ----------
    updates
        Updates in all.
    rate, clip, decay
        First rate, global norm limit and moving average of `Adam`.
    nudge, free_steps, nudged_steps, rule, start
        Of the gradient estimate.
    cap, cap_every
        Every so many updates, couplings between free modules are scaled to
        lambda_max(J) <= cap * min k2.
    checkpoint_every
        Updates between checkpoints.
    seed
        Of minibatches and noise.
    """

    updates: int
    rate: float = 3e-3
    clip: float = 10.0
    decay: float = 0.998
    nudge: float = 0.1
    free_steps: int = 40
    nudged_steps: int = 20
    rule: Rule = "symmetric"
    start: Start = "warm"
    cap: float = 0.8
    cap_every: int = 20
    checkpoint_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("updates", "free_steps", "nudged_steps", "cap_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("rate", "clip", "nudge", "cap"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise SpecError(f"{name} must be positive, not {getattr(self, name)}")
        if self.rule not in RULES:
            raise SpecError(f"rule must be one of {', '.join(RULES)}, not {self.rule}")


class Trainer:
    """Runs a recipe.

    Parameters
    ----------
    parameters
        The start.
    substrate
        Float or device.
    batches
        Minibatch of an update, a function of its number: so a resumed run sees what an
        uninterrupted one would have seen.
    recipe
        What to do.
    folder
        Where checkpoint and ``history.csv`` go; an existing checkpoint there is resumed. None
        keeps nothing.
    frozen
        Names of arrays that are not trained.
    """

    def __init__(
        self,
        parameters: Parameters,
        substrate: Substrate,
        batches: Callable[[int], Batch],
        recipe: Recipe,
        *,
        folder: str | os.PathLike[str] | None = None,
        frozen: tuple[str, ...] = ("k2", "k4"),
    ) -> None:
        self.substrate = substrate
        self.batches = batches
        self.recipe = recipe
        self.folder = None if folder is None else Path(folder)
        self.frozen = frozen
        self.adam = Adam(recipe.rate, recipe.updates, clip=recipe.clip, decay=recipe.decay)
        self.parameters = cap_coupling(parameters, recipe.cap)
        self.history = np.zeros((0, len(COLUMNS)))
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = checkpoint_path(self.folder)
            if path.exists():
                kept = read_checkpoint(path, parameters, asdict(recipe))
                self.parameters = parameters.with_arrays(kept.arrays)
                self.adam.first, self.adam.second = kept.first, kept.second
                self.adam.average, self.adam.done = kept.average, kept.done
                self.history = kept.history

    @property
    def averaged(self) -> Parameters:
        """The moving average of the parameters, which is what a run is for."""
        return self.parameters.with_arrays({**self.parameters.arrays, **self.adam.average})

    def run(self, report: Callable[[int, Estimate], None] | None = None) -> Parameters:
        """Run the updates that are left; `report` is called after each.

        Raises
        ------
        DivergedError
            If the cost is not finite or ten times the first one; the last checkpoint is kept.
        SpecError
            If the one-sided rule is asked to divide too large a drift by the nudge.
        """
        recipe = self.recipe
        rows = [tuple(row) for row in self.history]
        while self.adam.done < recipe.updates:
            number = self.adam.done
            estimate = self._estimate(number)
            self._check(estimate, rows)
            trained = {n: g for n, g in estimate.gradient.items() if n not in self.frozen}
            arrays = self.adam.update(self.parameters.arrays, trained)
            self.parameters = self.parameters.with_arrays(arrays)
            if self.adam.done % recipe.cap_every == 0:
                self.parameters = cap_coupling(self.parameters, recipe.cap)
            self.adam.follow(self.parameters.arrays)
            rows.append((number + 1.0, estimate.cost, estimate.drift / estimate.nudge,
                         float(estimate.clips)))
            last = self.adam.done == recipe.updates
            if self.folder is not None and (self.adam.done % recipe.checkpoint_every == 0 or last):
                self.history = np.array(rows)
                self._save()
            if report is not None:
                report(self.adam.done, estimate)
        self.history = np.array(rows)
        return self.averaged

    def _estimate(self, number: int) -> Estimate:
        recipe = self.recipe
        self.substrate.load(self.parameters)
        return estimate_gradient(
            self.substrate, self.parameters, self.batches(number), nudge=recipe.nudge,
            free_steps=recipe.free_steps, nudged_steps=recipe.nudged_steps, rule=recipe.rule,
            start=recipe.start, seed=recipe.seed + number,
        )

    def _check(self, estimate: Estimate, rows: list[tuple[float, ...]]) -> None:
        first = rows[0][1] if rows else estimate.cost
        if not math.isfinite(estimate.cost) or estimate.cost > DIVERGED * first:
            kept = "" if self.folder is None else f"; {checkpoint_path(self.folder)} holds the last"
            raise DivergedError(
                f"update {len(rows) + 1} has a cost of {estimate.cost:.4g}, the first had "
                f"{first:.4g}; lower the rate or the cap{kept}"
            )
        ratio = estimate.drift / estimate.nudge
        if self.recipe.rule == "one-sided" and ratio > DRIFT_BOUND:
            raise SpecError(
                f"the free phase still drifts by {estimate.drift:.3g}, {ratio:.3g} of the nudge, "
                f"and the one-sided rule needs {DRIFT_BOUND}; take more free steps, a larger "
                "nudge, or rule symmetric"
            )

    def _save(self) -> None:
        assert self.folder is not None
        write_checkpoint(checkpoint_path(self.folder), self.parameters, self.adam, self.history,
                         asdict(self.recipe))
        target = self.folder / "history.csv"
        partial = target.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self.history.tolist())
        os.replace(partial, target)


def cap_coupling(parameters: Parameters, cap: float) -> Parameters:
    """Return parameters whose couplings between free modules obey lambda_max(J) <= cap min k2.

    Those banks are scaled by one factor, shared evenly by A and B. A mixed bank counts with the row
    of its gains that is largest in sum, which bounds what hat functions mix.
    """
    free = parameters.free
    j = _largest_rows(parameters).coupling_matrix()[np.ix_(free, free)]
    largest = float(np.linalg.eigvalsh(j)[-1])
    limit = cap * float(parameters.arrays["k2"][free].min())
    if largest <= limit:
        return parameters
    arrays = dict(parameters.arrays)
    for index, bank in enumerate(parameters.banks):
        ends = (parameters.modules[bank.source], parameters.modules[bank.target])
        if not any(module.clamped for module in ends):
            shared = ("a", "b") if isinstance(bank, LowRank) else ("w",)
            for name in shared:
                factor = (limit / largest) ** (1 / len(shared))
                arrays[f"bank{index}.{name}"] = arrays[f"bank{index}.{name}"] * factor
    return parameters.with_arrays(arrays)


def _largest_rows(parameters: Parameters) -> Parameters:
    """Return parameters in which every mixed bank has the one gain row that is largest in sum."""
    arrays, banks = dict(parameters.arrays), []
    for index, bank in enumerate(parameters.banks):
        if isinstance(bank, LowRank) and bank.mixed:
            gain = arrays[f"bank{index}.gain"]
            arrays[f"bank{index}.gain"] = gain[[np.abs(gain).sum(axis=1).argmax()]]
            bank = replace(bank, mixed=False)
        banks.append(bank)
    return replace(parameters, banks=tuple(banks), arrays=arrays)

"""Training a substrate by equilibrium propagation: minibatches in, checkpoints and a curve out."""

import csv
import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import PbitstreamError, SpecError
from pbitstream.training.banks import LowRank
from pbitstream.training.checkpoint import checkpoint_path, read_checkpoint, write_checkpoint
from pbitstream.training.drift import judge_drift
from pbitstream.training.energy import Parameters
from pbitstream.training.nudging import Chosen, choose_nudge
from pbitstream.training.optimiser import Adam
from pbitstream.training.rules import RULES, Estimate, Rule, Start, estimate_gradient
from pbitstream.training.substrate import Batch, Substrate

__all__ = ["COLUMNS", "DivergedError", "Recipe", "Trainer", "cap_coupling"]

#: Columns of the history: update, cost of the free states, drift over nudge, clipped operations.
COLUMNS = ("update", "cost", "drift_over_nudge", "clips")
#: Minibatches that a nudge is chosen on.
PROBED = 2
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
    nudge
        Nudging strength, or None to choose it from probes at the start of the run; see
        `pbitstream.training.nudging`. A checkpoint keeps what was chosen.
    free_steps, nudged_steps, rule, start
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
    nudge: float | None = None
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
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SpecError(f"{name} must be positive, not {value}")
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
        #: What was found wrong and did not stop the run: at most one line of each kind.
        self.warnings: list[str] = []
        #: What was chosen where the recipe has no nudge, from the start of `run` on.
        self.chosen: Chosen | None = None
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = checkpoint_path(self.folder)
            if path.exists():
                kept = read_checkpoint(path, parameters, asdict(recipe))
                self.parameters = parameters.with_arrays(kept.arrays)
                self.adam.first, self.adam.second = kept.first, kept.second
                self.adam.average, self.adam.done = kept.average, kept.done
                self.history = kept.history
                self.warnings += kept.notes.get("warnings", [])
                if kept.notes.get("chosen") is not None:
                    self.chosen = Chosen(**kept.notes["chosen"])

    @property
    def averaged(self) -> Parameters:
        """The moving average of the parameters, which is what a run is for."""
        average = {name: array.copy() for name, array in self.adam.average.items()}
        return self.parameters.with_arrays({**self.parameters.arrays, **average})

    def run(
        self,
        report: Callable[[int, Estimate], None] | None = None,
        warn: Callable[[str], None] | None = None,
        until: int | None = None,
    ) -> Parameters:
        """Run the updates that are left, or up to `until` in all.

        `report` is called after each update, `warn` with a warning, at most once in a run.

        Raises
        ------
        DivergedError
            If the cost is not finite or ten times the first one; the last checkpoint is kept.
        SpecError
            If a one-sided rule is asked to divide too large a drift by the nudge; for the symmetric
            one it is a warning, see `pbitstream.training.drift`.
        """
        recipe = self.recipe
        rows = [tuple(row) for row in self.history]
        nudge = self._nudge()
        while self.adam.done < min(recipe.updates, recipe.updates if until is None else until):
            number = self.adam.done
            estimate = self._estimate(number, nudge)
            self._check(estimate, rows, warn)
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

    def _nudge(self) -> float:
        """Return the nudge of this run, chosen now if it is neither given nor kept."""
        recipe = self.recipe
        if recipe.nudge is not None or recipe.rule == "implicit":
            return recipe.nudge or 1.0
        if self.chosen is None:
            k2 = self.parameters.arrays["k2"][self.parameters.free].min()
            self.chosen = choose_nudge(
                self.substrate, self.parameters, [self.batches(n) for n in range(PROBED)],
                free_steps=recipe.free_steps, nudged_steps=recipe.nudged_steps, rule=recipe.rule,
                start=recipe.start, seed=recipe.seed, gap=float(k2) - largest(self.parameters),
                names=[n for n in sorted(self.parameters.arrays) if n not in self.frozen],
            )
        return self.chosen.nudge

    def _estimate(self, number: int, nudge: float) -> Estimate:
        recipe = self.recipe
        self.substrate.load(self.parameters)
        return estimate_gradient(
            self.substrate, self.parameters, self.batches(number), nudge=nudge,
            free_steps=recipe.free_steps, nudged_steps=recipe.nudged_steps, rule=recipe.rule,
            start=recipe.start, seed=recipe.seed + number,
        )

    def _check(self, estimate: Estimate, rows: list[tuple[float, ...]],
               warn: Callable[[str], None] | None) -> None:
        first = rows[0][1] if rows else estimate.cost
        if not math.isfinite(estimate.cost) or estimate.cost > DIVERGED * first:
            kept = "" if self.folder is None else f"; {checkpoint_path(self.folder)} holds the last"
            raise DivergedError(
                f"update {len(rows) + 1} has a cost of {estimate.cost:.4g}, the first had "
                f"{first:.4g}; lower the rate or the cap{kept}"
            )
        said = judge_drift(estimate, self.recipe.rule, self.recipe.start)
        if said is not None and not self.warnings:
            self.warnings.append(f"update {len(rows) + 1}: {said}")
            if warn is not None:
                warn(self.warnings[-1])

    def _save(self) -> None:
        assert self.folder is not None
        write_checkpoint(checkpoint_path(self.folder), self.parameters, self.adam, self.history,
                         asdict(self.recipe), {
                             "warnings": self.warnings,
                             "chosen": None if self.chosen is None else asdict(self.chosen),
                         })
        target = self.folder / "history.csv"
        partial = target.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self.history.tolist())
        os.replace(partial, target)


def cap_coupling(parameters: Parameters, cap: float) -> Parameters:
    """Return parameters whose couplings between free modules obey lambda_max(J) <= cap min k2.

    Those banks are scaled by one factor, shared evenly by A and B.
    """
    j = _largest_couplings(parameters)
    limit = cap * float(parameters.arrays["k2"][parameters.free].min())
    # Only a positive definite matrix has a Cholesky factor, which costs a tenth of eigenvalues.
    with suppress(np.linalg.LinAlgError):
        np.linalg.cholesky(limit * np.eye(len(j)) - j)
        return parameters
    found = float(np.linalg.eigvalsh(j)[-1])
    if found <= limit:
        return parameters
    arrays = dict(parameters.arrays)
    for index, bank in enumerate(parameters.banks):
        ends = (parameters.modules[bank.source], parameters.modules[bank.target])
        if not any(module.clamped for module in ends):
            shared = ("a", "b") if isinstance(bank, LowRank) else ("w",)
            for name in shared:
                factor = (limit / found) ** (1 / len(shared))
                arrays[f"bank{index}.{name}"] = arrays[f"bank{index}.{name}"] * factor
    return parameters.with_arrays(arrays)


def largest(parameters: Parameters) -> float:
    """Return lambda_max(J) over free units.

    A mixed bank counts with the row of its gains that is largest in sum, which bounds what hat
    functions mix.
    """
    return float(np.linalg.eigvalsh(_largest_couplings(parameters))[-1])


def _largest_couplings(parameters: Parameters) -> NDArray[np.float64]:
    """Return J over free units, at the largest rows of mixed banks."""
    free = parameters.free
    return _largest_rows(parameters).coupling_matrix()[np.ix_(free, free)]


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

"""One training run of the digit denoiser, from images to files and figures."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.diffusion.generation import generation_metrics
from pbitstream.diffusion.judge import Judge
from pbitstream.diffusion.schedule import sampling_times
from pbitstream.model import Model
from pbitstream.training.denoising import Digits, denoiser, f_mse, hats, predict
from pbitstream.training.energy import Parameters
from pbitstream.training.ledger import Accounting, account, ledger
from pbitstream.training.nudging import Chosen
from pbitstream.training.rules import Estimate
from pbitstream.training.substrate import Substrate, to_program
from pbitstream.training.trainer import COLUMNS, Recipe, Trainer

__all__ = ["TrainingResult", "judge_samples", "sampler", "train_denoiser"]

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A finished run: its averaged parameters, the curve and what was measured.

    `history` has the columns of `pbitstream.training.trainer.COLUMNS`; `f_mse` is of the held-out
    images at 20 times, read from the same substrate; `ledger` is what `pbitstream.training.ledger`
    says of one update, `chosen` the nudge where the recipe had none.
    """

    parameters: Parameters
    history: Values
    f_mse: float
    accounting: Accounting
    ledger: dict[str, Any]
    warnings: tuple[str, ...] = ()
    chosen: Chosen | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data for JSON."""
        last = self.history[-min(len(self.history), 100) :, COLUMNS.index("cost")]
        return {
            "numbers": self.parameters.count,
            "updates": len(self.history),
            "training_f_mse": float(last.mean()) * 2 / self.parameters.modules[-1].dim,
            "f_mse": self.f_mse,
            "clips": int(self.history[:, COLUMNS.index("clips")].sum()),
            "warnings": list(self.warnings),
            "chosen_nudge": None if self.chosen is None else asdict(self.chosen),
            "accounting": asdict(self.accounting),
            "ledger": self.ledger,
        }


def train_denoiser(
    substrate: Substrate,
    train: Values,
    test: Values,
    recipe: Recipe,
    *,
    folder: str | os.PathLike[str] | None = None,
    hidden: int = 128,
    batch: int = 128,
    read_steps: int = 100,
    report: Callable[[int, Estimate], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train the denoiser of `pbitstream.training.denoising` and measure it on held-out images.

    Parameters
    ----------
    train, test
        Images in [-1, 1], (n, 64).
    folder
        Of checkpoint, history, ``model.safetensors`` and ``program.safetensors``; resumed.
    read_steps
        Relaxation steps of a measurement.
    report, warn
        Called after every update, and with a warning as soon as there is one.
    """
    start = denoiser(recipe.seed, hidden)
    trainer = Trainer(start, substrate, Digits(train, batch, recipe.seed), recipe, folder=folder)
    parameters = trainer.run(report, warn)
    substrate.load(parameters)
    counts = account(parameters, recipe, batch, getattr(substrate, "segments", 1))
    result = TrainingResult(
        parameters,
        trainer.history,
        f_mse(substrate, parameters, test, read_steps),
        counts,
        ledger(parameters, recipe, batch, counts),
        tuple(trainer.warnings),
        trainer.chosen,
    )
    if folder is not None:
        save(Path(folder), result, recipe, {"images": str(len(train)), "batch": str(batch)})
    return result


def sampler(
    substrate: Substrate, parameters: Parameters, steps: int = 100
) -> Callable[[Values, int], Values]:
    """Return ``denoise(x_t, row) -> F`` for `pbitstream.diffusion.sampler.sample`."""
    times = sampling_times()

    def denoise(x: Values, row: int) -> Values:
        return predict(substrate, parameters, x, np.full(len(x), times[row]), steps, seed=row)

    return denoise


def judge_samples(judge: Judge, images: Values) -> dict[str, float]:
    """Return Frechet distance with its interval, and the confident share, of sampled images."""
    metrics = generation_metrics(judge, images)
    return {
        "count": float(len(images)),
        "frechet": metrics.frechet.value,
        "frechet_low": metrics.frechet.low,
        "frechet_high": metrics.frechet.high,
        "f90": metrics.f90.value,
    }


def save(
    folder: Path, result: TrainingResult, recipe: Recipe, provenance: Mapping[str, str]
) -> None:
    """Write the averaged parameters as a float model and as a program for the 20 times."""
    notes = {
        **provenance,
        "recipe": repr(recipe),
        "chosen_nudge": repr(result.chosen),
        "f_mse": f"{result.f_mse:.4f}",
        "numbers": str(result.parameters.count),
    }
    Model(dict(result.parameters.arrays), notes).save(folder / "model.safetensors")
    program, _ = to_program(result.parameters, 4, 0.0, mixes=hats(sampling_times()),
                            provenance=notes)
    program.save(folder / "program.safetensors")

"""What ``pbitstream solve`` prints: predicted and measured errors, the matrix, the substrate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pbitstream.cli.output import listing, number, table
from pbitstream.linear import InverseDiagonal, Solution
from pbitstream.linear.prediction import Prediction

__all__ = ["LABELS", "Solved", "show"]

Values = NDArray[np.float64]

LABELS = {"flow": "gradient flow, T = 0", "average": "time average, T > 0",
          "squares": "average of squares, T > 0"}
#: Labels on terminals that are narrower than `WIDE`.
SHORT_LABELS = {"flow": "flow", "average": "average", "squares": "squares"}
WIDE = 80
#: Below this, errors are a table of three columns: that the wanted one is met shows in them.
NARROW = 52
LEGEND = ("Measured against numpy.linalg. A flow's prediction is a bound; an average is planned "
          "for half of the wanted error, which it then meets with 95 %.")


@dataclass(frozen=True, eq=False)
class Solved:
    """What ran, and what numpy.linalg says.

    `answers` are by method: flow, and average where it ran; or squares, of an inverse diagonal.
    """

    source: str
    device: str
    seed: int
    device_info: dict[str, Any]
    answers: Mapping[str, Solution | InverseDiagonal]
    exact: Values

    @property
    def first(self) -> Solution | InverseDiagonal:
        """The answer that is written and judged first."""
        return next(iter(self.answers.values()))

    @property
    def answer_values(self) -> Values:
        """x, or the diagonal."""
        return values_of(self.first)

    @property
    def predictions(self) -> Mapping[str, Prediction]:
        """Predictions of every method that ran or could."""
        first = self.first
        return first.predictions if isinstance(first, Solution) else {"squares": first.prediction}

    def error_of(self, values: Values) -> float:
        """Return the relative rms error that the wanted one is compared with."""
        if isinstance(self.first, Solution):
            return float(np.linalg.norm(values - self.exact) / np.linalg.norm(self.exact))
        return float(np.sqrt(((values / self.exact - 1) ** 2).mean()))

    def measured(self, method: str) -> float | None:
        """Return the error of a method, None if it did not run."""
        return self.error_of(values_of(self.answers[method])) if method in self.answers else None

    @property
    def met(self) -> bool:
        """Whether every answer has the wanted error."""
        return all(self.error_of(values_of(answer)) <= answer.wanted
                   for answer in self.answers.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        first = self.first
        methods = {
            name: {
                "predicted": prediction.to_dict(),
                "measured_error": self.measured(name),
                "steps": self.answers[name].steps if name in self.answers else None,
                "saturated": self.answers[name].saturated if name in self.answers else None,
            }
            for name, prediction in self.predictions.items()
        }
        return {
            "source": self.source,
            "device": self.device,
            "seed": self.seed,
            "rows": len(self.exact),
            "condition": first.condition,
            "scaled_condition": first.scaled_condition,
            "quantisation": first.quantisation,
            "gap": first.gap,
            "dt": first.dt,
            "wanted_error": first.wanted,
            "met": self.met,
            "residual": first.residual if isinstance(first, Solution) else None,
            "tau_of_squares": None if isinstance(first, Solution) else first.tau,
            "methods": methods,
            "answer": self.answer_values,
            "numpy": self.exact,
        }


def values_of(answer: Solution | InverseDiagonal) -> Values:
    """Return x, or the diagonal."""
    return answer.x if isinstance(answer, Solution) else answer.values


def show(console: Console, solved: Solved) -> None:
    """Print everything."""
    what = "A x = b" if isinstance(solved.first, Solution) else "diagonal of the inverse of A"
    kind = solved.device_info.get("kind", "")
    labels = LABELS if console.width >= WIDE else SHORT_LABELS
    console.print(f"[bold]{what} on {escape(solved.device.removesuffix(':'))}[/]"
                  + (f" [dim]({escape(kind)})[/]" * bool(kind)))
    console.print(f"{solved.source}, {len(solved.exact):,} unknowns; seed {solved.seed}\n",
                  markup=False)
    console.print(_errors(solved, labels, console.width < NARROW))
    console.print(f"[dim]{LEGEND}[/]\n")
    console.print(_parts(solved, labels), "")
    console.print(_matrix(solved))
    saturated = sum(answer.saturated for answer in solved.answers.values())
    console.print(f"\nsaturated: {saturated:,} updates" if saturated else "\nsaturated: nothing",
                  style="yellow" if saturated else "")


def _errors(solved: Solved, labels: Mapping[str, str], narrow: bool) -> Table:
    wanted = solved.first.wanted
    columns = ["predicted\nsteps", "predicted\nerror", "measured\nerror", "\nmet"]
    if narrow:
        columns = ["\nsteps", "error,\nahead", "error,\nmeasured"]
    made = table(f"Relative rms error, wanted: {_short(wanted)}", "", *columns)
    for name, prediction in solved.predictions.items():
        measured = solved.measured(name)
        steps = f"{prediction.burn_in + prediction.steps:,}"
        if prediction.chains > 1:
            steps = f"{prediction.chains} x {steps}"
        met = "not run" if measured is None else "yes" if measured <= wanted else "no"
        cells = (labels[name], steps, _short(prediction.error), _short(measured), met)
        made.add_row(*cells[: 1 + len(columns)], style="dim" if measured is None else "")
    return made


def _parts(solved: Solved, labels: Mapping[str, str]) -> Table:
    """Of what the predicted error is made."""
    # Of a diagonal, time steps leave a bias; of a solution, bias and states are rounded.
    third = "rounding\nof b, x" if isinstance(solved.first, Solution) else "left of\nthe step"
    made = table("Predicted error, by cause", "", "\ndynamics", "rounding\nof A", third)
    for name, prediction in solved.predictions.items():
        made.add_row(labels[name], _short(prediction.dynamics), _short(prediction.tables),
                     _short(prediction.rounding))
    return made


def _matrix(solved: Solved) -> Table:
    first = solved.first
    made = listing("Matrix and substrate")
    rows = [
        ("condition number of A", number(first.condition, 2)),
        ("  at unit diagonal", number(first.scaled_condition, 2)),
        ("relative rounding of A", _short(first.quantisation)),
        ("gap of K - J", number(first.gap, 3)),
        ("dt", number(first.dt)),
        ("gap dt", _short(first.gap * first.dt)),
    ]
    if isinstance(first, Solution):
        rows.append(("residual |b - A x| / |b|", _short(first.residual)))
    else:
        rows.append(("autocorrelation time of squares", number(first.tau, 1)))
    heat = [prediction.temperature for prediction in solved.predictions.values()]
    if max(heat) > 0:
        rows.append(("temperature of the average", _short(max(heat))))
    for row in rows:
        made.add_row(*row)
    return made


def _short(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2g}"

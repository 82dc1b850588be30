"""What ``pbitstream infer`` prints: pictures, metrics with controls, timing, margins, cost."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pbitstream.cli.output import listing, number, table
from pbitstream.cli.pictures import picture_rows
from pbitstream.diffusion.evaluation import Evaluation
from pbitstream.program import Program

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LABELS", "Shown", "chosen_states", "show"]

#: How tables and figures call the systems of an evaluation.
LABELS = {
    "substrate": "substrate",
    "equilibrium": "float64 equilibrium",
    "digital": "digital U-Net",
    "constant": "constant control",
    "shuffled": "shuffled control",
}


@dataclass(frozen=True, eq=False)
class Shown:
    """An evaluation with what is known about the device and the program behind it."""

    evaluation: Evaluation
    program: Program
    model: str
    device: str
    device_info: dict[str, Any]
    source: str
    asked_noise: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document."""
        cost = self.program.cost()
        return {
            "device": self.device,
            "seed": self.evaluation.seed,
            **self.evaluation.to_dict(),
            "program": {
                "digest": self.program.digest,
                "margins": self.program.margins().to_dict(),
                "cost": vars(cost),
            },
        }

    @property
    def noise_text(self) -> str:
        """The noise levels in words, with the one that was asked for where it differs."""
        times = self.evaluation.times
        if len(times) > 1:
            return f"{len(times)} noise levels, t = {times[0]:.2f} to {times[-1]:.2f}"
        text = f"noise t = {times[0]:.2f}"
        if self.asked_noise is not None and abs(self.asked_noise - times[0]) > 1e-9:
            text += f", the table's nearest to {self.asked_noise:g}"
        return text


def show(console: Console, shown: Shown) -> None:
    """Print everything."""
    evaluation = shown.evaluation
    kind = shown.device_info.get("kind", "")
    console.print(f"[bold]{shown.model}[/] on {shown.device}" + (f" [dim]({kind})[/]" * bool(kind)))
    console.print(f"{evaluation.images} images, {shown.source}; {shown.noise_text}")
    console.print(f"{evaluation.burn_in} + {evaluation.steps} steps, seed {evaluation.seed}")
    console.print()
    _pictures(console, evaluation)
    console.print(_metrics(shown))
    console.print()
    beside = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    beside.add_row(_timing(evaluation), _margins(shown.program), _cost(shown.program))
    console.print(beside)
    console.print()
    _remarks(console, evaluation)


def chosen_states(evaluation: Evaluation, count: int) -> "NDArray[np.int64]":
    """Return up to `count` states: different images, times spread over those used."""
    rows, images = len(evaluation.rows), evaluation.images
    if rows == 1:
        return np.arange(min(count, images))
    # The last levels are noise alone, where every denoiser shows the mean digit.
    levels = np.linspace(0.05, 0.85, min(count, rows)).dot(rows - 1).round().astype(np.int64)
    return np.arange(len(levels)) % images * rows + levels


def _pictures(console: Console, evaluation: Evaluation) -> None:
    states = evaluation.states
    strips = {
        "noisy": states.x,
        "substrate": evaluation.outputs["substrate"].image,
        "U-Net": evaluation.outputs["digital"].image,
    }
    if states.clean is not None:
        strips = {"clean": states.clean, **strips}
    for line in picture_rows(console, strips, lambda n: chosen_states(evaluation, n),
                             lambda state: _level(evaluation, state)):
        console.print(line, no_wrap=True, overflow="crop")


def _level(evaluation: Evaluation, state: int) -> str:
    return f"t = {evaluation.times[state % len(evaluation.rows)]:.2f}"


def _metrics(shown: Shown) -> Table:
    names = ("plain cos", "centred cos", "R²", "F MSE", "image MSE")
    made = table("Quality against the digital U-Net's layer and the clean image", "", *names)
    evaluation = shown.evaluation
    for name, metrics in evaluation.metrics.items():
        figures = [number(value) for value in metrics.to_dict().values()]
        control = name in ("constant", "shuffled")
        made.add_row(LABELS[name], *figures,
                     style="bold" if name == "substrate" else "dim" if control else "")
    if evaluation.noisy_mse is not None:
        made.add_row("noisy input", *["–"] * 4, number(evaluation.noisy_mse))
    return made


def _timing(evaluation: Evaluation) -> Table:
    made = table("Timing", "", "s", "µs/input")
    for name, seconds in evaluation.timing.items():
        each = seconds / len(evaluation.states)
        made.add_row(name, f"{seconds:.3f}", "–" if name == "load" else f"{each * 1e6:,.1f}",
                     style="bold" if name == "total" else "")
    return made


def _margins(program: Program) -> Table:
    margins = program.margins()
    made = listing("Margins")
    for label, value in (
        ("λmax(J)", margins.lambda_max),
        ("λmin(J)", margins.lambda_min),
        ("gap of K - J", margins.gap),
        ("dt", margins.dt),
        ("largest dt", margins.dt_limit),
        ("headroom (bits)", margins.headroom_bits),
        ("burn-in (steps)", margins.burn_in),
    ):
        made.add_row(label, number(value, 3))
    return made


def _cost(program: Program) -> Table:
    cost = program.cost()
    made = listing("Cost of a step")
    made.add_row("multiplications", number(cost.multiplications_per_step))
    made.add_row("table words", number(cost.words))
    made.add_row("board cycles", number(cost.cycles_per_step))
    made.add_row("  with lanes", number(cost.lanes))
    return made


def _remarks(console: Console, evaluation: Evaluation) -> None:
    error = evaluation.standard_error
    if error is None:
        console.print("standard error: unknown, the window is shorter than 16 steps")
    else:
        console.print(f"standard error of a readout: {error:.4f} (rms over outputs, batch means)")
    clips = {name: count for name, count in evaluation.saturated.items() if count}
    counted = ", ".join(f"{name} {count:,}" for name, count in clips.items())
    console.print(f"saturated: {counted or 'nothing'}",
                  style="yellow" if clips else "")

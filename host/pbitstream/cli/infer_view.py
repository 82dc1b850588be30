"""What ``pbitstream infer`` prints: pictures, metrics with controls, timing, margins, cost."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pbitstream.cli.energy_view import show_energy
from pbitstream.cli.output import listing, number, plural, table, uncoupled
from pbitstream.cli.pictures import picture_rows
from pbitstream.diffusion.evaluation import Evaluation
from pbitstream.program import Program
from pbitstream.statistics import MIN_SEGMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LABELS", "Shown", "chosen_states", "show"]

#: Share of saturated updates that deserves a warning.
MUCH = 0.01
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
    energy: dict[str, Any] | None = None

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
            **({} if self.energy is None else {"energy": self.energy}),
        }

    @property
    def title(self) -> str:
        """What ran on what; the colon at the end of a bare scheme is left out."""
        return f"{self.model} on {self.device.removesuffix(':')}"

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
    console.print(f"[bold]{escape(shown.title)}[/]" + (f" [dim]({escape(kind)})[/]" * bool(kind)))
    console.print(f"{plural(evaluation.images, 'image')}, {shown.source}; {shown.noise_text}")
    console.print(f"{evaluation.burn_in} + {evaluation.steps} steps, seed {evaluation.seed}")
    console.print()
    _pictures(console, evaluation)
    console.print(_metrics(shown))
    console.print(f"[dim]{_legend(evaluation)}[/]\n")
    _side_by_side(console, _timing(evaluation), _margins(shown.program), _cost(shown.program))
    _remarks(console, evaluation)
    if shown.energy is not None:
        show_energy(console, shown.energy)


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
    evaluation = shown.evaluation
    title = "Quality against the digital U-Net's layer"
    if evaluation.states.clean is not None:
        title += " and the clean image"
    made = table(title, "", "plain\ncosine", "centred\ncosine", "\nR²", "F\nMSE", "image\nMSE")
    for name, metrics in evaluation.metrics.items():
        figures = [number(value) for value in metrics.to_dict().values()]
        control = name in ("constant", "shuffled")
        made.add_row(LABELS[name], *figures,
                     style="bold" if name == "substrate" else "dim" if control else "")
    if evaluation.noisy_mse is not None:
        made.add_row("noisy input", *["–"] * 4, number(evaluation.noisy_mse))
    return made


def _legend(evaluation: Evaluation) -> str:
    """Say what the columns and the controls are."""
    text = (f"Layer: the {evaluation.outputs['substrate'].layer.shape[1]} activations of the U-Net "
            "that the substrate replaces. Cosine with the U-Net's, plain, and centred: less the "
            "training mean; R² over that mean.\n")
    if evaluation.states.clean is not None:
        text += "F MSE: error of the network's output F, one convolution after the layer. "
    text += "Constant: the training mean"
    if "shuffled" in evaluation.metrics:
        text += "; shuffled: the substrate's layer for another image"
    return f"{text}."


def _side_by_side(console: Console, *tables: Table) -> None:
    """Print tables in one row where they fit, else below each other."""
    gap = 2
    widths = [console.measure(made).maximum for made in tables]
    if sum(widths) + gap * (len(tables) - 1) > console.width:
        for made in tables:
            console.print(made, "")
        return
    row = Table.grid(padding=(0, gap, 0, 0), pad_edge=False)
    row.add_row(*tables)
    console.print(row, "")


def _timing(evaluation: Evaluation) -> Table:
    made = table("Timing", "", "s", "per input")
    made.caption = "total: substrate path only"
    for name, seconds in evaluation.timing.items():
        each = "–" if name == "load" else _duration(seconds / len(evaluation.states))
        made.add_row(name, f"{seconds:.3f}", each,
                     style={"total": "bold", "reference": "dim"}.get(name, ""))
    return made


def _duration(seconds: float) -> str:
    each = 1e6 * seconds
    return f"{each:,.1f} µs" if each < 1e4 else f"{each / 1e3:,.1f} ms"


def _margins(program: Program) -> Table:
    margins = program.margins()
    made = listing("Margins")
    if uncoupled(margins.to_dict()):
        made.caption = "no coupling among free units"
    else:
        made.add_row("λmax(J)", number(margins.lambda_max, 3))
        made.add_row("λmin(J)", number(margins.lambda_min, 3))
    for label, value in (
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
    if error is None and evaluation.steps < MIN_SEGMENTS:
        console.print(f"standard error: unknown, the window is shorter than {MIN_SEGMENTS} steps")
    elif error is None:
        console.print("standard error: unknown, the window is too short against the correlation "
                      "of its steps")
    else:
        console.print(f"standard error of a readout: {error:.4f} (rms over outputs, batch means)")
        tau = evaluation.autocorrelation_time
        if tau is not None:
            console.print(f"autocorrelation time: {tau:.1f} steps; half the error takes "
                          f"{4 * evaluation.steps:,} steps")
    clips = {name: count for name, count in evaluation.saturated.items() if count}
    if not clips:
        console.print("saturated: nothing")
        return
    counted = ", ".join(f"{name} {count:,}" for name, count in clips.items())
    console.print(f"saturated: {counted} of {evaluation.updates:,} unit updates", style="yellow")
    share = sum(clips.values()) / evaluation.updates
    if share > MUCH:
        console.print(f"warning: {100 * share:.1f} % of the updates saturate, so these figures are "
                      "of a clipped substrate; a lower temperature clips less", style="bold yellow")

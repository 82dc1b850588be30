"""Figures of commands, drawn by matplotlib without a display."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pbitstream.cli.output import plural, write_whole
from pbitstream.errors import MissingExtraError

if TYPE_CHECKING:
    from pbitstream.cli.infer_view import Shown
    from pbitstream.diffusion.evaluation import Evaluation

__all__ = ["require_matplotlib", "save_curve", "save_figure", "save_infer"]

Values = NDArray[np.float64]

SIDE, GAP = 8, 1
#: Pixels that a group of pictures leaves for its title.
TITLE = 4
#: Pictures in a row, noise levels in a figure.
PICTURES, LEVELS = 10, 4
#: A figure is never narrower than this many pictures.
FEWEST = 4
COLOURS = {"substrate": "#c44e52", "equilibrium": "#dd8452", "digital": "#4c72b0",
           "constant": "#8c8c8c"}
STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
         "axes.titlesize": 10, "axes.titlelocation": "left", "svg.hashsalt": "pbitstream"}


def require_matplotlib() -> Any:
    """Return matplotlib, or raise MissingExtraError with what installs it."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib, which is missing; "
                                "pip install 'pbitstream[plot]'") from error
    return matplotlib


def save_figure(path: Path, figure: Any) -> None:
    """Write a figure in the format of the name's ending, whole or not at all."""
    ending = path.suffix[1:].lower()

    def write(file: BinaryIO) -> None:
        figure.savefig(file, format=ending, dpi=150, facecolor="white")

    write_whole(path, write)


def save_infer(path: Path, shown: "Shown") -> None:
    """Write digits at several noise levels beside the error over noise, with a caption."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    evaluation = shown.evaluation
    with matplotlib.rc_context(STYLE):
        blocks = _blocks(evaluation)
        high = sum(len(rows) for _, rows in blocks) + 0.6 * len(blocks)
        curves = len(evaluation.rows) > 1 and evaluation.states.clean is not None
        pictures = min(PICTURES, max(evaluation.images, FEWEST))
        wide = 0.52 * pictures + 1.3 + 4.2 * curves
        title, caption = _fill(shown.title, wide, 12), _fill(_caption(shown), wide, 8)
        lines = title.count("\n") + caption.count("\n")
        figure: Any = Figure(figsize=(wide, 0.5 * high + 0.95 + 0.15 * lines),
                             layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=12)
        left: Any = figure
        right: Any = None
        if curves:
            left, right = figure.subfigures(1, 2, width_ratios=[0.52 * pictures + 1.3, 4.2])
        _draw_sheet(left.subplots(), blocks)
        if right is not None:
            _draw_curves(right.subplots(2, 1), evaluation)
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=8, color="#444444")
        save_figure(path, figure)


def _blocks(evaluation: "Evaluation") -> list[tuple[str, dict[str, Values]]]:
    """Return titled groups of labelled rows of images: clean ones, then every noise level."""
    rows, times = len(evaluation.rows), evaluation.times
    count = min(PICTURES, evaluation.images)

    def at(images: Values, level: int) -> Values:
        return images.reshape(evaluation.images, rows, SIDE, SIDE)[:count, level]

    blocks = []
    if evaluation.states.clean is not None:
        blocks.append(("", {"clean": at(evaluation.states.clean, 0)}))
    for level in np.unique(np.linspace(0.15, 0.8, LEVELS).dot(rows - 1).round().astype(int)):
        blocks.append((f"noise t = {times[level]:.2f}", {
            "noisy": at(evaluation.states.x, level),
            "substrate": at(evaluation.outputs["substrate"].image, level),
            "U-Net": at(evaluation.outputs["digital"].image, level),
        }))
    return blocks


def _draw_sheet(axes: Any, blocks: list[tuple[str, dict[str, Values]]]) -> None:
    """Draw all groups into one picture, which gives all their pixels one size."""
    cell = SIDE + GAP
    count = max(len(images) for _, rows in blocks for images in rows.values())
    high = cell * sum(len(rows) for _, rows in blocks) + TITLE * (len(blocks) - 1) - GAP
    # What no picture fills stays blank.
    sheet = np.full((high, cell * max(count, FEWEST) - GAP), np.nan)
    labels: dict[float, str] = {}
    down = 0
    for index, (title, rows) in enumerate(blocks):
        down += TITLE * (index > 0)
        axes.text(-0.5, down - 1, title, va="bottom", size=10)
        for label, images in rows.items():
            labels[down + SIDE / 2 - 0.5] = label
            for right, image in enumerate(images):
                sheet[down : down + SIDE, cell * right : cell * right + SIDE] = image
            down += cell
    axes.imshow(sheet, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_yticks(list(labels), list(labels.values()))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_anchor("NW")


def _draw_curves(panels: Any, evaluation: "Evaluation") -> None:
    """Draw the error of the image, and R² of the layer, over diffusion time."""
    from pbitstream.cli.infer_view import LABELS

    for axes, figure, title in (
        (panels[0], "denoised_mse", "error of the denoised image, mean square per pixel"),
        (panels[1], "r2", "R² of the layer over its training mean"),
    ):
        for name, colour in COLOURS.items():
            values = [getattr(metrics, figure) for metrics in evaluation.by_time[name]]
            axes.plot(evaluation.times, values, color=colour, label=LABELS[name],
                      linestyle="--" if name == "equilibrium" else "-",
                      marker="o" if name == "substrate" else None, markersize=3)
        axes.set_title(title)
        axes.set_xlabel("diffusion time t (noise)")
        axes.set_xlim(0, 1)
        axes.grid(alpha=0.25)
    panels[0].set_ylim(0)
    panels[0].legend(frameon=False, loc="upper left")


def _fill(text: str, width: float, size: float) -> str:
    """Break lines that are wider than a figure, in inches, at a font size in points."""
    from textwrap import fill

    letters = int(width / (0.0079 * size))
    return "\n".join(fill(line, letters) for line in text.split("\n"))


def _caption(shown: "Shown") -> str:
    evaluation = shown.evaluation
    metrics, digital = evaluation.metrics["substrate"], evaluation.metrics["digital"]
    text = (f"{plural(len(evaluation.states), 'state')} ({shown.source}), {evaluation.burn_in} + "
            f"{evaluation.steps} steps, seed {evaluation.seed}\n"
            f"layer: R² {metrics.r2:.3f} (float64 equilibrium "
            f"{evaluation.metrics['equilibrium'].r2:.3f}, constant "
            f"{evaluation.metrics['constant'].r2:.3f}), centred cosine "
            f"{metrics.centred_cosine:.3f}")
    if metrics.denoised_mse is not None:
        text += (f"\nimage MSE {metrics.denoised_mse:.3f} (noisy {evaluation.noisy_mse:.3f}, "
                 f"digital U-Net {digital.denoised_mse:.3f})")
    return text


def save_curve(path: Path, history: Values, f_mse: float) -> None:
    """Write a learning curve: F-MSE of minibatches, their running mean, and that of test digits."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    update, loss = history[:, 0], history[:, 1] * 2 / SIDE**2
    width = max(1, len(loss) // 50)
    mean = np.convolve(loss, np.ones(width) / width, mode="valid")
    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(update, loss, color=COLOURS["constant"], linewidth=0.4, alpha=0.6,
                  label="minibatch")
        axes.plot(update[width - 1 :], mean, color=COLOURS["substrate"], label="running mean")
        axes.axhline(f_mse, color=COLOURS["digital"], linestyle="--",
                     label=f"test digits, averaged parameters: {f_mse:.3f}")
        axes.set(xlabel="update", ylabel="F-MSE", title="denoiser trained on the substrate",
                 ylim=(0.9 * min(f_mse, float(mean.min())), min(1.2, 1.05 * float(loss.max()))))
        axes.legend(frameon=False)
        save_figure(path, figure)

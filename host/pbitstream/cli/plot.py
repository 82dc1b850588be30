"""Figures of commands, drawn by matplotlib without a display."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pbitstream.cli.output import write_whole
from pbitstream.errors import MissingExtraError

if TYPE_CHECKING:
    from pbitstream.cli.infer_view import Shown
    from pbitstream.diffusion.evaluation import Evaluation

__all__ = ["require_matplotlib", "save_figure", "save_infer"]

Values = NDArray[np.float64]

SIDE, GAP = 8, 1
#: Pictures in a row, noise levels in a figure.
PICTURES, LEVELS = 10, 4
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
        high = sum(len(rows) for _, rows in blocks) + 0.7 * len(blocks)
        curves = len(evaluation.rows) > 1 and evaluation.states.clean is not None
        pictures = min(PICTURES, max(evaluation.images, 4))
        figure: Any = Figure(figsize=(0.52 * pictures + 1.3 + 4.2 * curves, 0.5 * high + 1.25),
                        layout="constrained")
        figure.suptitle(f"{shown.model} on {shown.device}", x=0.01, ha="left", weight="bold",
                        fontsize=12)
        left: Any = figure
        right: Any = None
        if curves:
            left, right = figure.subfigures(1, 2, width_ratios=[0.52 * pictures + 1.3, 4.2])
        axes = left.subplots(len(blocks), 1, squeeze=False,
                             height_ratios=[len(rows) for _, rows in blocks])[:, 0]
        for place, (title, rows) in zip(axes, blocks):
            _draw_block(place, title, rows)
        if right is not None:
            _draw_curves(right.subplots(2, 1), evaluation)
        figure.supxlabel(_caption(shown), x=0.01, ha="left", fontsize=8, color="#444444")
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


def _draw_block(axes: Any, title: str, rows: dict[str, Values]) -> None:
    cell = SIDE + GAP
    count = len(next(iter(rows.values())))
    sheet = np.full((cell * len(rows) - GAP, cell * count - GAP), np.nan)
    for down, images in enumerate(rows.values()):
        for right, image in enumerate(images):
            sheet[cell * down : cell * down + SIDE, cell * right : cell * right + SIDE] = image
    axes.imshow(sheet, cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_title(title)
    axes.set_yticks([cell * down + SIDE / 2 - 0.5 for down in range(len(rows))], list(rows))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_anchor("W")


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


def _caption(shown: "Shown") -> str:
    evaluation = shown.evaluation
    metrics, digital = evaluation.metrics["substrate"], evaluation.metrics["digital"]
    text = (f"{len(evaluation.states):,} states ({shown.source}), {evaluation.burn_in} + "
            f"{evaluation.steps} steps, seed {evaluation.seed}\n"
            f"layer: R² {metrics.r2:.3f} (float64 equilibrium "
            f"{evaluation.metrics['equilibrium'].r2:.3f}, constant "
            f"{evaluation.metrics['constant'].r2:.3f}), centred cosine "
            f"{metrics.centred_cosine:.3f}")
    if metrics.denoised_mse is not None:
        text += (f"\nimage MSE {metrics.denoised_mse:.3f} (noisy {evaluation.noisy_mse:.3f}, "
                 f"digital U-Net {digital.denoised_mse:.3f})")
    return text

"""The figure of ``pbitstream solve``: error over steps, and the answer against numpy.linalg."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure
from pbitstream.cli.solve_view import LABELS, Solved, values_of
from pbitstream.linear import Solution

__all__ = ["save_solve"]

COLOURS = {"flow": "#c44e52", "average": "#4c72b0", "squares": "#4c72b0"}


def save_solve(path: Path, solved: Solved) -> None:
    """Write measured and predicted error over steps, and every unknown against numpy.linalg."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(8.8, 3.8), layout="constrained")
        error, answer = figure.subplots(1, 2, width_ratios=[3, 2])
        _draw_errors(error, solved)
        _draw_answer(answer, solved)
        figure.legend(*error.get_legend_handles_labels(), loc="outside lower left", ncols=3,
                      frameon=False)
        save_figure(path, figure)


def _draw_errors(axes: Any, solved: Solved) -> None:
    for name, result in solved.answers.items():
        prediction, colour = solved.predictions[name], COLOURS[name]
        steps = np.array([count for count, _ in result.history])
        axes.plot(steps, [solved.error_of(values) for _, values in result.history], ".",
                  color=colour, label=f"{LABELS[name]}: measured")
        floor = math.hypot(prediction.tables, prediction.rounding)
        if name == "flow" and isinstance(result, Solution):
            # At rest all of the answer is missing.
            over = np.linspace(1, steps[-1], 200)
            left = prediction.dynamics * np.exp(result.rate * (steps[-1] - over))
            dynamics = np.minimum(1, left)
        else:
            # A burn-in is paid for before the first step of the window.
            before = steps[-1] - prediction.steps
            over = np.geomspace(max(1, prediction.steps // 1024), prediction.steps, 200)
            dynamics = prediction.dynamics * np.sqrt(prediction.steps / over)
            over = over + before
        axes.plot(over, np.hypot(dynamics, floor), color=colour, linewidth=1,
                  label="predicted, at most" if name == "flow" else "predicted, rms")
    axes.axhline(solved.first.wanted, color="#8c8c8c", linestyle="--", linewidth=0.8,
                 label="wanted")
    axes.set(yscale="log", xlabel="steps of a chain", title="relative rms error")
    if len(solved.answers) > 1 or "squares" in solved.answers:
        axes.set_xscale("log")
    axes.grid(alpha=0.25)


def _draw_answer(axes: Any, solved: Solved) -> None:
    ends = [float(solved.exact.min()), float(solved.exact.max())]
    axes.plot(ends, ends, color="#8c8c8c", linewidth=0.8)
    for name, result in solved.answers.items():
        axes.plot(solved.exact, values_of(result), ".", color=COLOURS[name], label=LABELS[name])
    title = "x" if isinstance(solved.first, Solution) else "diagonal of the inverse"
    axes.set(xlabel="numpy.linalg", ylabel="substrate", title=title)
    axes.locator_params(nbins=5)
    axes.grid(alpha=0.25)

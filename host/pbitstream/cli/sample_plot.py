"""The figure of ``pbitstream sample``: energies found, and how the run went."""

from pathlib import Path
from typing import Any

import numpy as np

from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure
from pbitstream.sampling.run import Found

__all__ = ["save_sample"]

BLUE, RED, GREY = "#4c72b0", "#c44e52", "#8c8c8c"
#: Chains drawn as lines, bins of the histogram.
LINES, BINS = 8, 40


def save_sample(path: Path, document: dict[str, Any], found: Found) -> None:
    """Write a histogram of energies, beside traces or the levels of a tempering."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        panels = 1 if found.method == "anneal" else 2
        figure: Any = Figure(figsize=(4.6 * panels, 3.4), layout="constrained")
        axes = np.atleast_1d(figure.subplots(1, panels))
        name = document["problem"]["name"] or Path(document["file"]).name
        best = document["best"]
        cut = f", cut {best['cut']:,g}" if "cut" in best else ""
        figure.suptitle(f"{name}: lowest energy {best['energy']:,g}{cut}", x=0.01, ha="left",
                        weight="bold", fontsize=11, parse_math=False)
        _histogram(axes[0], found)
        if found.method == "gibbs":
            _traces(axes[1], found)
        elif found.method == "temper":
            _levels(axes[1], found)
        save_figure(path, figure)


def _histogram(axis: Any, found: Found) -> None:
    values, counts = found.counted()
    if len(values) > BINS:
        axis.hist(found.sample, bins=BINS, color=BLUE)
    else:
        width = 0.8 * np.diff(values).min(initial=1.0)
        axis.bar(values, counts, width=width, color=BLUE)
        axis.margins(x=max(0.05, 1 / len(values)))
    axis.axvline(found.best_energy, color=RED, linewidth=1)
    what = {"anneal": "where the chains ended", "gibbs": "of all draws",
            "temper": "of the coldest level, second half"}[found.method]
    axis.set(title=f"energies {what}", xlabel="energy", ylabel="count")


def _traces(axis: Any, found: Found) -> None:
    for chain in found.energies[:LINES]:
        axis.plot(chain, linewidth=0.6, alpha=0.7)
    axis.set(title=f"{min(LINES, len(found.energies))} chains", xlabel="draw", ylabel="energy")


def _levels(axis: Any, found: Found) -> None:
    half = found.energies[..., found.energies.shape[-1] // 2 :]
    axis.plot(found.betas, half.mean(axis=(1, 2)), color=BLUE, marker="o", markersize=3)
    axis.set(title="levels", xlabel="beta", ylabel="mean energy")
    rates = axis.twinx()
    rates.spines["right"].set_visible(True)
    rates.plot((found.betas[1:] + found.betas[:-1]) / 2, found.figures["swap_rates"], color=RED,
               linewidth=1, marker="o", markersize=2)
    rates.set(ylabel="share of swaps accepted", ylim=(0, 1.05))
    rates.yaxis.label.set_color(RED)

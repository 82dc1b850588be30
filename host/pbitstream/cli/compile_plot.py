"""The figure of ``pbitstream compile``: spectrum of each bank, and rank against error."""

from pathlib import Path
from typing import Any

import numpy as np

from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure

__all__ = ["save_compile"]

COLOURS = ("#4c72b0", "#c44e52", "#dd8452", "#55a868", "#8172b3", "#937860")


def save_compile(path: Path, document: dict[str, Any]) -> None:
    """Write singular values and R² on validation rows over rank, with the chosen rank marked."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    settings = document["settings"]
    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(8.4, 3.4), layout="constrained")
        spectrum, error = figure.subplots(1, 2)
        for bank, colour in zip(document["banks"], COLOURS * len(document["banks"])):
            label = f"{bank['source']} – {bank['target']}"
            values = np.array(bank["spectrum"])
            values = values[values > 1e-12 * values[0]]
            spectrum.semilogy(np.arange(1, len(values) + 1), values, color=colour, label=label)
            curve = bank["r2_by_rank"]
            if curve:
                error.plot(np.arange(1, len(curve) + 1), curve, color=colour, label=label)
        for layer, systems in document["evaluation"]["layers"].items():
            error.axhline(systems["substrate"]["r2"], color="#444444", linestyle=":",
                          label=f"{layer} on the device, all banks")
        for axes, title in ((spectrum, f"singular values, method {settings['method']}"),
                            (error, "R² on validation rows, low-rank bank alone")):
            axes.axvline(settings["rank"], color="#8c8c8c", linestyle="--", linewidth=0.8)
            axes.set(xlabel="rank", title=title)
            axes.grid(alpha=0.25)
        error.set_ylim(top=1)
        error.legend(frameon=False)
        save_figure(path, figure)

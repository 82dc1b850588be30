"""The figure of ``pbitstream bench peers``: rates of all systems, and ratios with their targets."""

from pathlib import Path
from typing import Any

from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure
from pbitstream.peers.contestant import OURS

__all__ = ["save_peers"]

COLOURS = {OURS: "#c44e52", "THRML": "#4c72b0", "dwave-samplers": "#55a868",
           "ferrotherm": "#8172b2", "JAX loop": "#dd8452"}


def save_peers(path: Path, data: dict[str, Any]) -> None:
    """Write rates by row on a logarithmic axis, and beside them ratios and what must be reached."""
    from matplotlib.figure import Figure

    rows = data["rows"][::-1]
    with require_matplotlib().rc_context(STYLE):
        high = max(2.4, 0.52 * len(rows) + 1.3)
        figure: Any = Figure(figsize=(9.5, high), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
        _rates(left, rows)
        _ratios(right, rows)
        left.set_yticks(range(len(rows)), [row["title"].replace(", ", "\n", 1) for row in rows])
        left.tick_params(axis="y", length=0, labelsize=8)
        machine = data["machine"]
        figure.suptitle(f"{machine['processor']}, medians of {data['rounds']} interleaved rounds",
                        x=0.01, ha="left", fontsize=10)
        save_figure(path, figure)


def _rates(axes: Any, rows: list[dict[str, Any]]) -> None:
    shown: set[str] = set()
    for place, row in enumerate(rows):
        for system in row["systems"]:
            rates, name = system["rates"], system["system"]
            if rates is None:
                continue
            middle = rates["median"]
            spread = [[middle - rates["lowest"]], [rates["highest"] - middle]]
            axes.errorbar([middle], [place], xerr=spread, fmt="o", markersize=5,
                          color=COLOURS.get(name, "#8c8c8c"), elinewidth=1,
                          label=None if name in shown else name)
            shown.add(name)
    axes.set_xscale("log")
    axes.set_xlabel("unit updates per second (wall), median and range of rounds")
    axes.grid(axis="x", alpha=0.25)
    if shown:
        axes.legend(frameon=False, fontsize=8, ncols=len(shown), loc="lower left",
                    bbox_to_anchor=(0, 1), handletextpad=0.1, columnspacing=0.8)


def _ratios(axes: Any, rows: list[dict[str, Any]]) -> None:
    for place, row in enumerate(rows):
        targets = [target for target in row["targets"] if target["reached"] is not None]
        for number, target in enumerate(targets):
            at = place - (number - (len(targets) - 1) / 2) * 0.36
            axes.barh(at, target["reached"], height=0.3, left=0,
                      color=COLOURS.get(target["over"], "#8c8c8c"))
            axes.plot([target["must_reach"]] * 2, [at - 0.2, at + 0.2], color="black",
                      linewidth=1.5)
            unit = " per CPU s" if target["clock"] == "cpu" else ""
            axes.text(max(target["reached"], target["must_reach"]), at,
                      f"  {target['reached']:.1f}x{unit}", va="center", fontsize=8)
    axes.set_xscale("log")
    # Room for the figures behind the bars.
    axes.set_xlim(0.5, 30 * axes.get_xlim()[1])
    axes.set_xlabel("ours over theirs; black: must reach")

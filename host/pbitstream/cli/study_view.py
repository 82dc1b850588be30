"""How a study of `pbitstream.study` looks: one table, its legend, what it says, and one plot."""

import math
from pathlib import Path
from typing import Any

from rich.console import Console

from pbitstream.cli.output import table
from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure
from pbitstream.study.base import COVERAGE, Figure, Panel, Row, Spread, Study

__all__ = ["save_plot", "show"]

#: Colours of lines, in order.
CYCLE = ("#4c72b0", "#c44e52", "#55a868", "#8172b3", "#dd8452", "#64b5cd", "#8c8c8c")
#: Most panels in a row of the plot.
ACROSS = 3


def show(console: Console, study: Study) -> None:
    """Print question, table, legend and conclusions."""
    topic = study.topic
    console.print(f"[bold]{topic.question}[/]")
    console.print(f"[dim]{topic.method}[/]\n")
    heads = [*topic.parameters.values(), *(figure.title for figure in topic.figures)]
    words = [name for name in topic.parameters
             if any(isinstance(row.point.get(name), str) for row in study.rows)]
    made = table("", *heads, text=len(words))
    made.title, made.padding = None, (0, 1, 0, 0)
    for column in made.columns[: len(words)]:
        column.no_wrap = True
    for row in study.rows:
        cells = [_plain(row.point.get(name, "–")) for name in topic.parameters]
        made.add_row(*cells, *(_cell(row.figures[f.name], f) for f in topic.figures))
    console.print(made)
    console.print(f"\n[dim]{_legend(study)}[/]\n")
    for sentence in topic.conclusions(study.rows):
        console.print(f"• {sentence}")


def _legend(study: Study) -> str:
    seeds = f"seeds {study.seeds[0]} to {study.seeds[-1]}"
    parts = [f"{_flat(figure.title)}: {figure.what}" for figure in study.topic.figures]
    return (f"{'; '.join(parts)}.\nIn brackets half the {100 * COVERAGE:.0f} % interval of the "
            f"mean over {len(study.seeds)} seeds ({seeds}), in units of the last digit.")


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(found: Spread, figure: Figure) -> str:
    """Return a mean, with half its interval in units of the last digit: 0.785(22)."""
    if math.isnan(found.mean):
        return "–"
    half = round((found.high - found.mean) * 10**figure.digits)
    return f"{found.mean:.{figure.digits}f}" + (f"({half})" if half else "")


def save_plot(path: Path, study: Study) -> None:
    """Write the topic's panels, with the intervals as bars."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure as Canvas

    panels = study.topic.panels
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    with matplotlib.rc_context(STYLE):
        canvas: Any = Canvas(figsize=(4.1 * across + 0.4, 3.4 * down + 0.8), layout="constrained")
        canvas.suptitle(study.topic.question, x=0.01, ha="left", weight="bold", fontsize=12)
        places = canvas.subplots(down, across, squeeze=False).ravel()
        for axes, panel in zip(places, panels):
            _draw(axes, study, panel)
        for axes in places[len(panels):]:
            axes.set_axis_off()
        canvas.supxlabel(f"bars: {100 * COVERAGE:.0f} % interval of the mean over "
                         f"{len(study.seeds)} seeds", x=0.01, ha="left", fontsize=8,
                         color="#444444")
        save_figure(path, canvas)


def _draw(axes: Any, study: Study, panel: Panel) -> None:
    labels = {figure.name: _flat(figure.title) for figure in study.topic.figures}
    rows = [row for row in study.rows
            if all(row.point.get(name) == value for name, value in panel.only.items())
            and panel.x in row.point]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_plain(row.point[panel.lines]) if panel.lines else "", []).append(row)
    colours = iter(CYCLE * len(rows))
    for group, members in groups.items():
        for name in panel.figures:
            _line(axes, members, panel.x, name, group or labels[name], next(colours))
    if any(isinstance(row.point[panel.x], str) for row in rows):
        axes.tick_params(axis="x", labelrotation=60, labelsize=8)
    else:
        axes.set_xlabel(_flat(study.topic.parameters[panel.x]))
        if "x" in panel.logarithmic:
            axes.set_xscale("log", base=2)
    if "y" in panel.logarithmic:
        axes.set_yscale("log")
    axes.set_title(panel.title)
    axes.grid(alpha=0.25)
    if len(groups) * len(panel.figures) > 1:
        title = _flat(study.topic.parameters[panel.lines]) if panel.lines else None
        axes.legend(frameon=False, fontsize=8, title=title, title_fontsize=8)


def _line(axes: Any, rows: list[Row], x: str, name: str, label: str, colour: str) -> None:
    """Draw one figure of some rows; points in words stay unjoined."""
    shown = [row for row in rows if not math.isnan(row.figures[name].mean)]
    words = any(isinstance(row.point[x], str) for row in shown)
    if not words:
        shown.sort(key=lambda row: row.point[x])
    found = [row.figures[name] for row in shown]
    axes.errorbar([row.point[x] for row in shown], [f.mean for f in found],
                  [f.high - f.mean for f in found], fmt="o" if words else "o-", color=colour,
                  markersize=4, linewidth=1, elinewidth=1, capsize=2, label=label)


def _flat(title: str) -> str:
    """Return the head of a column in one line."""
    return title.replace("-\n", "").replace("\n", " ")

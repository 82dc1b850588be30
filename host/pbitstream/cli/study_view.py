"""How a study of `pbitstream.study` looks: one table, its legend, what it says, and one plot."""

import math
from pathlib import Path
from textwrap import fill
from typing import Any

from rich.console import Console
from rich.table import Table

from pbitstream.cli.output import table
from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure
from pbitstream.study.base import COVERAGE, Figure, Panel, Row, Spread, Study

__all__ = ["save_plot", "show"]

#: Colours of lines, in order.
CYCLE = ("#4c72b0", "#c44e52", "#55a868", "#8172b3", "#dd8452", "#64b5cd", "#8c8c8c")
#: Most panels in a row of the plot, and most lines whose legend stands inside a panel.
ACROSS, FEW = 3, 3
MARKS: dict[str, Any] = {"markersize": 4, "linewidth": 1, "elinewidth": 1, "capsize": 2}


def show(console: Console, study: Study) -> None:
    """Print question, table, legend and conclusions."""
    topic = study.topic
    console.print(f"[bold]{topic.question}[/]")
    console.print(f"[dim]{topic.method}[/]\n")
    made = _table(study, intervals=True)
    wide = console.measure(made, options=console.options.update(max_width=1000)).maximum
    shown = wide <= console.width
    console.print(made if shown else _table(study, intervals=False))
    console.print(f"\n[dim]{_legend(study, wide, intervals=shown)}[/]\n")
    for sentence in topic.conclusions(study.rows):
        console.print(f"• {sentence}")


def _table(study: Study, *, intervals: bool) -> Table:
    topic = study.topic
    heads = [*topic.parameters.values(), *(figure.title for figure in topic.figures)]
    words = [name for name in topic.parameters
             if any(isinstance(row.point.get(name), str) for row in study.rows)]
    made = table("", *heads, text=len(words))
    made.title, made.padding = None, (0, 1, 0, 0)
    for column in made.columns[: len(words)]:
        column.no_wrap = True
    for row in study.rows:
        cells = [_plain(row.point.get(name, "–")) for name in topic.parameters]
        made.add_row(*cells, *(_cell(row.figures[f.name], f, intervals) for f in topic.figures))
    return made


def _legend(study: Study, wide: int, *, intervals: bool) -> str:
    seeds = f"seeds {study.seeds[0]} to {study.seeds[-1]}"
    parts = [f"{_flat(figure.title)}: {figure.what}" for figure in study.topic.figures]
    text = "; ".join(parts)
    mean = f"the mean over {len(study.seeds)} seeds ({seeds})"
    if not intervals:
        return f"{text}.\nEach is {mean}; a terminal of {wide} columns shows intervals too."
    return (f"{text}.\nIn brackets half the {100 * COVERAGE:.0f} % interval of {mean}, in units of "
            "the last digit.")


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(found: Spread, figure: Figure, interval: bool) -> str:
    """Return a mean, with half its interval in units of the last digit: 0.785(22)."""
    if math.isnan(found.mean):
        return "–"
    half = round((found.high - found.mean) * 10**figure.digits)
    return f"{found.mean:.{figure.digits}f}" + (f"({half})" if half and interval else "")


def save_plot(path: Path, study: Study) -> None:
    """Write the topic's panels, with the intervals as bars."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure as Canvas

    panels = study.topic.panels
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    wide = 4.3 * across + 1.2
    most = max(len(_shown(study, panel)) if _in_words(study, panel) else 0 for panel in panels)
    high = max(3.4, 0.26 * most + 1.2)
    with matplotlib.rc_context(STYLE):
        canvas: Any = Canvas(figsize=(wide, high * down + 0.8), layout="constrained")
        canvas.suptitle(fill(study.topic.question, int(8.5 * wide)), x=0.01, ha="left",
                        weight="bold", fontsize=12)
        places = canvas.subplots(down, across, squeeze=False).ravel()
        for axes, panel in zip(places, panels):
            _draw(axes, study, panel)
        for axes in places[len(panels):]:
            axes.set_axis_off()
        canvas.supxlabel(f"bars: {100 * COVERAGE:.0f} % interval of the mean over "
                         f"{len(study.seeds)} seeds", x=0.01, ha="left", fontsize=8,
                         color="#444444")
        save_figure(path, canvas)


def _shown(study: Study, panel: Panel) -> list[Row]:
    return [row for row in study.rows if panel.x in row.point
            and all(row.point.get(name) == value for name, value in panel.only.items())]


def _in_words(study: Study, panel: Panel) -> bool:
    return any(isinstance(row.point[panel.x], str) for row in _shown(study, panel))


def _draw(axes: Any, study: Study, panel: Panel) -> None:
    labels = {figure.name: _flat(figure.title) for figure in study.topic.figures}
    words = _in_words(study, panel)
    groups: dict[str, list[Row]] = {}
    for row in _shown(study, panel):
        groups.setdefault(_plain(row.point[panel.lines]) if panel.lines else "", []).append(row)
    colours = iter(CYCLE * sum(map(len, groups.values())))
    draw = _points if words else _line
    for group, members in groups.items():
        for name in panel.figures:
            draw(axes, members, panel, name, group or labels[name], next(colours))
    if words:
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelsize=8)
    else:
        axes.set_xlabel(_flat(study.topic.parameters[panel.x]))
    value, other = ("x", "y") if words else ("y", "x")
    if "y" in panel.logarithmic:
        getattr(axes, f"set_{value}scale")("log")
    if "x" in panel.logarithmic:
        getattr(axes, f"set_{other}scale")("log", base=2)
    if panel.limits is not None:
        getattr(axes, f"set_{value}lim")(*panel.limits)
    axes.set_title(panel.title)
    axes.grid(alpha=0.25)
    count = len(groups) * len(panel.figures)
    if count > 1:
        title = _flat(study.topic.parameters[panel.lines]) if panel.lines else None
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
        axes.legend(frameon=False, fontsize=8, title=title, title_fontsize=8,
                    **(beside if count > FEW or words else {}))


def _line(axes: Any, rows: list[Row], panel: Panel, name: str, label: str, colour: str) -> None:
    """Draw one figure over a number."""
    shown = sorted((row for row in rows if not math.isnan(row.figures[name].mean)),
                   key=lambda row: row.point[panel.x])
    found = [row.figures[name] for row in shown]
    axes.errorbar([row.point[panel.x] for row in shown], [f.mean for f in found],
                  [f.high - f.mean for f in found], fmt="o-", color=colour, **MARKS, label=label)


def _points(axes: Any, rows: list[Row], panel: Panel, name: str, label: str, colour: str) -> None:
    """Draw one figure of points in words, below each other."""
    found = [row.figures[name] for row in rows]
    axes.errorbar([f.mean for f in found], [str(row.point[panel.x]) for row in rows],
                  xerr=[f.high - f.mean for f in found], fmt="o", color=colour, **MARKS,
                  label=label)


def _flat(title: str) -> str:
    """Return the head of a column in one line."""
    return title.replace("-\n", "").replace("\n", " ")

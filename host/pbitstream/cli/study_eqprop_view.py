"""What ``pbitstream study eqprop`` prints and draws."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pbitstream.cli.output import number, table
from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure
from pbitstream.training.eqprop_study import Study
from pbitstream.training.imperfections import NoiseRow
from pbitstream.training.laboratory import FIT_BELOW, AlignmentRow

__all__ = ["save_plot", "show"]

RULES = ("one-sided", "one-sided-matched", "symmetric")
COLOURS = {"one-sided": "#c44e52", "one-sided-matched": "#dd8452", "symmetric": "#4c72b0"}


def show(console: Console, study: Study) -> None:
    """Print what must be reached, then a table for every part."""
    console.print(f"seed {study.seed}; compared: bank factors A and B, gains, h\n")
    sizes = study.sizes
    notes = {
        _checks: "",
        _bias: f"means over {_systems(sizes.slopes)} at fixed points\n"
               f"slopes up to nudge {FIT_BELOW:g}, in brackets over all nudges\n"
               "bound: nudge/2 max |g″|, nudge²/6 max |g‴|",
        _alignment: f"mean \\[lowest], {_systems(sizes.alignment)}; 3 modules of 8, rank 4, "
                    "k2 = k4 = 1, dt 1/8\n< 0: share of systems, one-sided",
        _paper: f"mean \\[lowest, highest] over {_systems(sizes.paper)}; rank 16, "
                "300 + 300 steps, warm",
        _noise: f"spread of one chain's estimate over |gradient|; {_systems(sizes.noise)}, "
                f"{sizes.chains} chains\n"
                "common: both nudged phases see one noise; own: each its own",
        _fixed: "1 - cosine, symmetric; settled: 200 + 200 steps, short: 10 + 40",
        _mismatch: "k2, gains and h of the substrate off by this; symmetric, nudge .02\n"
                   "nominal: the trainer's gradient; own: the substrate's",
    }
    for part, note in notes.items():
        console.print(part(study))
        console.print(f"[dim]{note}[/dim]\n" if note else "")


def _systems(count: int) -> str:
    return "1 system" if count == 1 else f"{count} systems"


def _checks(study: Study) -> Table:
    made = table("Must reach", "figure", "must reach", "reached", "")
    for check in study.checks():
        made.add_row(check.figure, check.must, f"{check.reached:.4f}",
                     "yes" if check.holds else "[bold red]no[/]")
    return made


def _bias(study: Study) -> Table:
    made = table("Relative bias against nudge", "nudge", "one-sided", "bound", "symmetric", "bound")
    limits = {(row.rule, row.nudge): row.taylor for row in study.bounds}
    bias = study.bias
    for place, nudge in enumerate(bias.nudges):
        cells = []
        for rule in bias.relative:
            limit = limits.get((rule, float(nudge)))
            cells += [f"{bias.relative[rule][:, place].mean():.2e}",
                      "–" if limit is None else f"{limit:.2e}"]
        made.add_row(f"{nudge:g}", *cells)
    made.add_section()
    cells = []
    for rule in bias.slopes:
        cells += [f"{study.slope(rule):.3f} ({bias.slopes_all[rule].mean():.3f})", ""]
    made.add_row("slope", *cells)
    return made


def _alignment(study: Study) -> Table:
    made = table("Cosine with the true gradient", "start", "nudge", "steps", "one-sided", "< 0",
                 "matched", "symmetric")
    for start in ("warm", "cold"):
        made.add_section()
        for (nudge, free, steps), rules in _by_budget(study.alignment, start).items():
            one, matched, symmetric = (rules[rule] for rule in RULES)
            made.add_row(start, f"{nudge:g}", f"{free} + {steps}", _spread(one, 2),
                         f"{100 * one.negative:.0f} %", _spread(matched), _spread(symmetric))
    return made


def _by_budget(
    rows: list[AlignmentRow], start: str
) -> dict[tuple[float, int, int], dict[str, AlignmentRow]]:
    found: dict[tuple[float, int, int], dict[str, AlignmentRow]] = {}
    for row in rows:
        if row.start == start:
            found.setdefault((row.nudge, row.free, row.nudged), {})[row.rule] = row
    return found


def _spread(row: AlignmentRow, digits: int = 3, *, highest: bool = False) -> str:
    most = f", {row.max:.{digits}f}" if highest else ""
    return f"{row.mean:.{digits}f} \\[{row.min:.{digits}f}{most}]"


def _paper(study: Study) -> Table:
    made = table("D = 64, k = 16, J4 = .05: cosine", "reading", "substrate", "nudge", "one-sided",
                 "symmetric", text=2)
    before = ""
    for (reading, substrate), rows in study.paper.items():
        if before and reading != before:
            made.add_section()
        before = reading
        for rules in _by_budget(rows, "warm").values():
            one, symmetric = rules["one-sided"], rules["symmetric"]
            made.add_row(reading, substrate, f"{one.nudge:.3g}", _spread(one, 2, highest=True),
                         _spread(symmetric, 3))
    return made


def _noise(study: Study) -> Table:
    cases, nudges = _noise_cases(study.noise)
    heads = [f"{name}\n{nudge:g}" for name in ("common", "own") for nudge in nudges]
    made = table("Noise at T > 0", "T", "window", "reads", *heads, f"cosines\nat {nudges[0]:g}")
    for (temperature, window, reads), found in cases.items():
        cells = [number(found[common, nudge].spread, 3)
                 for common in (True, False) for nudge in nudges]
        both = [f"{found[common, nudges[0]].cosine:.3f}" for common in (True, False)]
        made.add_row(f"{temperature:g}", str(window), str(reads), *cells, " / ".join(both))
    return made


def _noise_cases(
    rows: list[NoiseRow],
) -> tuple[dict[tuple[float, int, int], dict[tuple[bool, float], NoiseRow]], list[float]]:
    cases: dict[tuple[float, int, int], dict[tuple[bool, float], NoiseRow]] = {}
    for row in rows:
        found = cases.setdefault((row.temperature, row.window, row.reads), {})
        found[row.common, row.nudge] = row
    return cases, sorted({row.nudge for row in rows})


def _fixed(study: Study) -> Table:
    made = table("Fixed point", "nudge", "float, settled", "fixed, settled", "float, short",
                 "fixed, short", "clips")
    parts = [study.fixed_point[budget, substrate] for budget in ("settled", "short")
             for substrate in ("float", "fixed")]
    for rows in zip(*parts):
        made.add_row(f"{1024 * rows[0].nudge:.0f}/1024", *[f"{1 - row.mean:.1e}" for row in rows],
                     str(sum(row.clips for row in rows)))
    return made


def _mismatch(study: Study) -> Table:
    made = table("Mismatch: 1 - cosine", "off by", "nominal", "worst", "own", "worst")
    for row in study.mismatch:
        made.add_row(f"{100 * row.mismatch:g} %", *[
            f"{1 - cosine:.1e}"
            for cosine in (row.nominal, row.nominal_min, row.own, row.own_min)
        ])
    return made


def save_plot(path: Path, study: Study) -> None:
    """Write bias against nudge, alignment of budgets, noise, and the effect of fixed point."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure: Any = Figure(figsize=(10.5, 7.4), layout="constrained")
        figure.suptitle("Equilibrium propagation against the true gradient", x=0.01, ha="left",
                        weight="bold", fontsize=12)
        (bias, bars), (noise, fixed) = figure.subplots(2, 2)
        _draw_bias(bias, study)
        _draw_bars(bars, study)
        _draw_noise(noise, study)
        _draw_fixed(fixed, study)
        figure.supxlabel(f"seed {study.seed}; bias: {_systems(study.sizes.slopes)}; bars: mean "
                         f"over {_systems(study.sizes.alignment)}, a dash at the lowest",
                         x=0.01, ha="left", fontsize=8, color="#444444")
        save_figure(path, figure)


def _draw_bias(axes: Any, study: Study) -> None:
    bias = study.bias
    small = bias.nudges <= FIT_BELOW
    for rule, found in bias.relative.items():
        axes.loglog(bias.nudges, found.T, color=COLOURS[rule], alpha=0.2, linewidth=0.8)
        centre = np.exp(np.log(found).mean(axis=0))
        slope, height = np.polyfit(np.log(bias.nudges[small]), np.log(centre[small]), 1)
        axes.loglog(bias.nudges, np.exp(height) * bias.nudges**slope, "--", color=COLOURS[rule],
                    linewidth=1)
        axes.loglog(bias.nudges, centre, "o", color=COLOURS[rule], markersize=4,
                    label=f"{rule}: slope {study.slope(rule):.2f}")
    axes.set_title("bias of converged estimates, over |gradient|")
    axes.set_xlabel("nudge")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")


def _draw_bars(axes: Any, study: Study) -> None:
    """Draw the budgets with the longest nudged phase, warm."""
    rows = _by_budget(study.alignment, "warm")
    longest = max(steps for _, _, steps in rows)
    shown = {key: rules for key, rules in rows.items() if key[2] == longest}
    places = np.arange(len(shown))
    for shift, rule in enumerate(RULES):
        means = np.array([rules[rule].mean for rules in shown.values()])
        lowest = np.array([rules[rule].min for rules in shown.values()])
        axes.bar(places + 0.27 * (shift - 1), means, 0.25, color=COLOURS[rule], label=rule)
        axes.plot(places + 0.27 * (shift - 1), lowest, "_", color="#333333", markersize=7)
    axes.axhline(0, color="#333333", linewidth=0.8)
    axes.set_xticks(places, [f"nudge {nudge:g}\n{free} free" for nudge, free, _ in shown],
                    fontsize=8)
    axes.set_ylim(-1, 1.35)
    axes.set_yticks([-1, -0.5, 0, 0.5, 1])
    axes.set_title(f"cosine, {longest} nudged steps of 1/8")
    axes.legend(frameon=False, loc="upper center", ncols=3)


def _draw_noise(axes: Any, study: Study) -> None:
    """Draw spread over window for every temperature, at reads that keep their distance."""
    cases, nudges = _noise_cases(study.noise)
    every = min(window / reads for _, window, reads in cases)
    for shade, temperature in enumerate(sorted({case[0] for case in cases})):
        windows = [case for case in cases
                   if case[0] == temperature and case[1] / case[2] == every]
        for common, colour in ((True, COLOURS["symmetric"]), (False, COLOURS["one-sided"])):
            spreads = [cases[case][common, nudges[0]].spread for case in windows]
            axes.loglog([case[1] for case in windows], spreads, "o-", color=colour,
                        markersize=4 + 1.5 * shade, linewidth=0.8 + 0.4 * shade)
            axes.annotate(f"T {temperature:g}", (windows[-1][1], spreads[-1]), xytext=(6, -3),
                          textcoords="offset points", color=colour, fontsize=8)
    axes.axhline(1, color="#8c8c8c", linewidth=0.8, linestyle=":")
    axes.set_title(f"spread of one chain, over |gradient|, at nudge {nudges[0]:g}")
    axes.set_xlabel("window in steps, a read every "
                    f"{every:.0f}; blue: common noise, red: independent")
    axes.margins(x=0.15)
    axes.grid(alpha=0.25)


def _draw_fixed(axes: Any, study: Study) -> None:
    styles = {("settled", "float"): ("#8c8c8c", "--"), ("settled", "fixed"): ("#55a868", "-"),
              ("short", "fixed"): ("#8172b3", "-")}
    labels = {"settled": "200 + 200 steps", "short": "10 + 40 steps"}
    for (budget, substrate), (colour, line) in styles.items():
        rows = study.fixed_point[budget, substrate]
        axes.loglog([row.nudge for row in rows], [max(1 - row.mean, 1e-16) for row in rows], line,
                    marker="o", markersize=4, color=colour,
                    label=f"{substrate} point, {labels[budget]}" if substrate == "fixed"
                    else f"{substrate}, {labels[budget]}")
    axes.set_title("1 - cosine on the device, nudges of n/1024")
    axes.set_xlabel("nudge")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")

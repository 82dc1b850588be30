"""What ``pbitstream compile`` prints: banks, rank against error, readouts with controls, costs."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pbitstream.cli.output import listing, number, table, uncoupled

__all__ = ["show"]

#: Ranks of the table of errors.
RANKS = (1, 2, 4, 8, 16, 32, 64)
LABELS = {"substrate": "substrate", "equilibrium": "exact equilibrium",
          "float": "float fit, no quantisation", "constant": "control: constant",
          "shuffled": "control: another image"}


def show(console: Console, document: dict[str, Any]) -> None:
    """Print the report of a compilation."""
    settings = document["settings"]
    console.print(f"[bold]{escape(document['source'])}[/], {number(document['rows'])} rows, method "
                  f"{settings['method']}; {document['modules']} modules, field with "
                  f"{document['field_fraction']} fraction bits\n", soft_wrap=True)
    console.print(_banks(document["banks"]), "")
    curves = [bank for bank in document["banks"] if bank["r2_by_rank"]]
    if curves:
        console.print(_ranks(curves), "")
    console.print(_readout(document["evaluation"]), "")
    console.print(_costs(document), "")
    for what, name in document["files"].items():
        console.print(f"{what:<8}{escape(name)}", soft_wrap=True)


def _banks(banks: list[dict[str, Any]]) -> Table:
    made = table("Banks", "couples", "rank", "local numbers", "connections", "dense", "share")
    for bank in banks:
        count = bank["connections"]
        sparse = count["low_rank"] + count["local"]
        local = bank["local"]
        made.add_row(escape(f"{bank['source']} – {bank['target']}"), number(bank["rank"]),
                     "–" if local is None else number(local["numbers"]), number(sparse),
                     number(count["dense"]), f"{100 * sparse / count['dense']:.0f} %")
    made.caption = "connections: 2 D k + k, and local wires; dense: D²"
    return made


def _ranks(banks: list[dict[str, Any]]) -> Table:
    most = max(len(bank["r2_by_rank"]) for bank in banks)
    ranks = [rank for rank in RANKS if rank <= most]
    made = table("R² on validation rows by rank, low-rank bank alone", "couples",
                 *(f"k={rank}" for rank in ranks))
    for bank in banks:
        curve = bank["r2_by_rank"]
        made.add_row(escape(f"{bank['source']} – {bank['target']}"),
                     *(f"{curve[rank - 1]:.3f}" if rank <= len(curve) else "–" for rank in ranks))
    return made


def _readout(evaluation: dict[str, Any]) -> Table:
    made = table(f"Readout against the U-Net, {number(evaluation['rows'])} {evaluation['part']} "
                 "rows", "layer", "", "plain cos", "centred", "R²", "F-MSE", text=2)
    for layer, systems in evaluation["layers"].items():
        for index, (name, label) in enumerate(LABELS.items()):
            figures = systems[name]
            made.add_row(escape(layer) if index == 0 else "", label,
                         *(number(figures[key]) for key in ("plain_cosine", "centred_cosine",
                                                            "r2")),
                         number(figures.get("f_mse")))
        made.add_section()
    clips = {name: count for name, count in evaluation["saturated"].items() if count}
    lost = ", ".join(f"{escape(layer)} {number(loss)}"
                     for layer, loss in evaluation["quantisation_loss"].items())
    clipped = ", ".join(f"{name} {count:,}" for name, count in clips.items()) or "nothing"
    made.caption = f"R² lost to quantisation: {lost}\nclipped: {clipped}"
    return made


def _costs(document: dict[str, Any]) -> Table:
    margins, made = document["margins"], listing("Program")
    if not uncoupled(margins):
        made.add_row("largest eigenvalue of J, stiffness 1", number(margins["lambda_max"]))
    made.add_row("dt, and where it diverges", f"{margins['dt']:g}, {number(margins['dt_limit'])}")
    made.add_row("burn-in + window, steps", f"{document['burn_in']} + {document['steps']}")
    for error, steps in document["steps_for_error"].items():
        made.add_row(f"steps for an rms error of {error}", number(steps))
    made.add_row("multiplications of a step", number(document["cost"]["multiplications_per_step"]))
    for lanes, cycles in document["board_cycles"].items():
        fits = isinstance(cycles, int)
        made.add_row(f"predicted board cycles of a step, {lanes} lanes",
                     number(cycles) if fits else "does not fit")
    net = document["interface"]
    made.add_row(f"interface {net['form']}: weights, all parameters",
                 f"{net['weights']:,}, {net['parameters']:,}")
    made.add_row("seconds", f"{sum(document['seconds'].values()):.1f}")
    return made

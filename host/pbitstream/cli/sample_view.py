"""What ``pbitstream sample`` prints: the problem, what was found, a histogram of energies."""

from itertools import pairwise
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from pbitstream.cli.output import listing, number, plural
from pbitstream.sampling.run import Found

__all__ = ["show"]

#: Most rows of the histogram, columns of its longest bar.
ROWS, BAR = 12, 40


def show(console: Console, document: dict[str, Any], found: Found) -> None:
    """Print the tables."""
    problem, lowered = document["problem"], document["lowered"]
    title = escape(problem["name"] or document["file"])
    made = listing(f"{title}: {plural(problem['p_bits'], 'p-bit')}, "
                   f"{plural(problem['couplings'], 'coupling')}", text=True)
    made.add_row("format", document["format"])
    if problem["held"]:
        made.add_row("held", plural(problem["held"], "p-bit"))
    made.add_row("colour classes", number(lowered["classes"]))
    for line in lowered["banks"]:
        made.add_row("bank", escape(line))
    if lowered["loss"]:
        made.add_row("lost to rounding", f"{lowered['loss']:.2g} of the largest coupling")
    made.add_row("boards", "an image could hold it" if lowered["fits_boards"]
                 else f"no: {escape(lowered['why_not'])}")
    console.print(made)
    console.print()
    console.print(_figures(document))
    console.print()
    for line in _histogram(found, console.width):
        console.print(line, highlight=False)


def _figures(document: dict[str, Any]) -> Any:
    where = document["device"].removesuffix(":")
    if document["cluster"]:
        where += f", spread over {document['cluster']}"
    made = listing(escape(f"{document['method']} on {where}"))
    energy, best = document["energy"], document["best"]
    made.add_row("chains", number(document["chains"]))
    hot, cold = document["beta"]["hot"], document["beta"]["cold"]
    made.add_row("beta", f"{hot:.4g}" if hot == cold else f"{hot:.4g} to {cold:.4g}")
    made.add_row("lowest energy", _energy(best["energy"]))
    if "cut" in best:
        made.add_row("largest cut", _energy(best["cut"]))
    made.add_row("share of energies at the lowest", number(energy["at_lowest"], 3))
    made.add_row("median energy", _energy(energy["median"]))
    for name, title, digits in (("effective_size", "effective sample size of the energy", 0),
                                ("rhat", "R-hat of the energy", 3),
                                ("magnetisation", "|magnetisation|", 4),
                                ("round_trips", "round trips", 0)):
        if name in document:
            made.add_row(title, number(document[name], digits))
    if "swap_rates" in document:
        rates = document["swap_rates"]
        made.add_row("swaps accepted", f"{np.nanmin(rates):.2f} to {np.nanmax(rates):.2f}")
    made.add_row("seconds", number(document["seconds"], 2))
    made.add_row("million p-bit updates a second",
                 number(document["updates_per_second"] / 1e6, 0))
    return made


def _energy(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def _histogram(found: Found, width: int) -> list[str]:
    """Return lines of a histogram of energies, the lowest first."""
    values, counts = found.counted()
    labels = [_energy(value) for value in values.tolist()]
    if len(values) > ROWS:
        counts, edges = np.histogram(found.sample, ROWS)
        labels = [f"{low:,.6g} to {high:,.6g}" for low, high in pairwise(edges)]
    wide = max(map(len, labels))
    # Between the label with its two spaces, and a space with the largest count.
    longest = max(1, min(BAR, width - wide - 2 - len(f" {counts.max():,}")))
    lengths = [max(round(longest * count / counts.max()), int(count > 0))
               for count in counts.tolist()]
    return [f"{label:>{wide}}  [blue]{'█' * length}[/]{' ' * bool(length)}{count:,}"
            for label, length, count in zip(labels, lengths, counts.tolist())]

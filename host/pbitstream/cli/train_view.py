"""What ``pbitstream train`` prints: figures of the run, and the ledger of a training step."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pbitstream.cli.output import number, table

__all__ = ["show"]


def show(console: Console, document: dict[str, Any]) -> None:
    """Print the figures, warnings, and the ledger."""
    console.print(_figures(document))
    for warning in document["warnings"]:
        console.print(f"[bold red]warning[/]: {escape(warning)}", soft_wrap=True)
    console.print()
    console.print(_terms(document["ledger"]["terms"]))
    console.print("[dim]no sum is formed while a term is missing[/]\n")
    console.print(_factors(document["ledger"]["factors"]))
    console.print(f"\nkept in {document['folder']}")


def _figures(document: dict[str, Any]) -> Table:
    made = table("Denoiser trained on the substrate", "", "value")
    rows = [
        ("substrate", document["substrate"]),
        ("rule", document["recipe"]["rule"]),
        *_nudge(document),
        ("trained numbers", number(document["numbers"])),
        ("updates", number(document["updates"])),
        ("F-MSE of the last 100 minibatches", number(document["training_f_mse"])),
        ("F-MSE of 360 held-out digits", number(document["f_mse"])),
        ("clipped operations", number(document["clips"])),
    ]
    if document["samples"] is not None:
        rows += [
            ("Frechet distance, 600 samples", number(document["samples"]["frechet"], 1)),
            ("share judged with > .9 confidence", number(document["samples"]["f90"], 3)),
        ]
    for row in rows:
        made.add_row(*row)
    return made


def _nudge(document: dict[str, Any]) -> list[tuple[str, str]]:
    chosen = document["chosen_nudge"]
    if chosen is None:
        return []
    share = f"{chosen['bias']:.1e}, {chosen['noise']:.1e}"
    return [("nudge, chosen from probes", number(chosen["nudge"])),
            ("its bias and noise, over the gradient", share)]


def _terms(entries: list[dict[str, Any]]) -> Table:
    made = table("One training step, the whole minibatch", "term", "value", "grade")
    for entry in entries:
        known = entry["value"] is not None
        made.add_row(entry["name"], f"{entry['value']:,} {entry['unit']}" if known else "missing",
                     entry["grade"] or "–")
    return made


def _factors(rows: list[dict[str, Any]]) -> Table:
    made = table("Advantage, by definition", "definition and what goes in", "factor", text=2)
    for row in rows:
        lines = [row["definition"]]
        for entry in row["entries"]:
            if entry["value"] is not None:
                lines.append(f"[dim]- {entry['name']}: {entry['value']:.4g} {entry['unit']}, "
                             f"{entry['grade']}[/]")
        absent = [entry["name"] for entry in row["entries"] if entry["value"] is None]
        if absent:
            lines.append(f"[dim]- missing: {', '.join(absent)}[/]")
        factor = "cannot be stated" if row["factor"] is None else (
            f"{row['factor']:.3g}, {row['grade']}")
        made.add_row("\n".join([*lines, f"[dim]{row['why']}[/]"]), factor)
        made.add_section()
    return made

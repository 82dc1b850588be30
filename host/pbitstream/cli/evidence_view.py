"""How terms and factors of `pbitstream.evidence` are printed, each with its grade."""

from typing import Any

from rich.console import Console
from rich.table import Table

from pbitstream.cli.output import table

__all__ = ["show_evidence"]


def show_evidence(console: Console, title: str, ledger: dict[str, Any]) -> None:
    """Print the terms of an energy, then factors by definition."""
    console.print(_terms(title, ledger["terms"]))
    console.print("[dim]no sum is formed while a term is missing[/]\n")
    console.print(_factors(ledger["factors"]))


def _terms(title: str, entries: list[dict[str, Any]]) -> Table:
    made = table(title, "term", "value", "grade")
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

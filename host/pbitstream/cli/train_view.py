"""What ``pbitstream train`` prints: figures of the run, and the ledger of a training step."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pbitstream.cli.evidence_view import show_evidence
from pbitstream.cli.output import number, table

__all__ = ["show"]


def show(console: Console, document: dict[str, Any]) -> None:
    """Print the figures, warnings, and the ledger."""
    console.print(_figures(document))
    for warning in document["warnings"]:
        console.print(f"[bold red]warning[/]: {escape(warning)}", soft_wrap=True)
    console.print()
    show_evidence(console, "One training step, the whole minibatch", document["ledger"])
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
        ("F-MSE of 360 test digits", number(document["f_mse"])),
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

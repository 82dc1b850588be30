"""What ``pbitstream verify`` prints: what was compared, what was drawn again, where it differs."""

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from pbitstream.cli.output import number, plural, table
from pbitstream.devices.comparison import Difference

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show", "show_bench"]

#: Programs that the table lists; the figures below it are of all.
SHOWN = 20


def show(console: "Console", data: dict[str, Any]) -> None:
    """Print a comparison of two devices."""
    kind = data["device_info"].get("kind", "")
    console.print(f"[bold]{escape(data['device'].removesuffix(':'))}[/] against "
                  f"{data['reference']}; seed {data['seed']}"
                  + f" [dim]({escape(kind)})[/]" * bool(kind))
    console.print()
    programs = data["programs"]
    made = table("Programs", "name", "units", "modules", "banks", "calls", "steps", "updates",
                 "identical")
    for program in programs[-SHOWN:]:
        same = program["difference"] is None
        made.add_row(escape(program["name"]), *(number(program[name]) for name in (
            "units", "modules", "banks", "calls", "steps", "updates")), "yes" if same else "NO",
            style="" if same else "bold red")
    if len(programs) > SHOWN:
        made.caption = f"the last {SHOWN} of {len(programs):,} programs"
    console.print(made, "")
    for name, reason in data["skipped"].items():
        console.print(f"left out: {name} ({reason})", markup=False)
    again = data["drawn_again"]
    if again:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in again.items())
        console.print(f"drawn again: {sum(again.values()):,} ({reasons})")
    if data["refusal"]:
        console.print(f"the first that did not fit: {data['refusal']}", markup=False)
    clips = ", ".join(f"{name} {count:,}" for name, count in data["saturated"].items())
    console.print(f"saturated: {clips}")
    _verdict(console, data)


def _verdict(console: "Console", data: dict[str, Any]) -> None:
    updates = f"{data['updates']:,} unit updates"
    if data["identical"]:
        console.print(f"identical in every bit: {plural(len(data['programs']), 'program')}, "
                      f"{updates}; states, noise words, sums, squares and counters",
                      style="bold green")
        return
    program = data["programs"][-1]
    console.print(f"differs in call {program['calls']} of {program['name']}, after {updates}:",
                  style="bold red", markup=False)
    console.print(f"  {Difference(**program['difference'])}", style="red", markup=False)


def show_bench(console: "Console", data: dict[str, Any]) -> None:
    """Print the result of a bench."""
    console.print(f"[bold]bench {data['bench']}[/] on image {data['image']}; seed {data['seed']}\n")
    made = table("Tests", "name", "result", "seconds", text=2)
    for test in data["tests"]:
        made.add_row(test["name"], "passed" if test["passed"] else "FAILED",
                     number(test["seconds"], 1), style="" if test["passed"] else "bold red")
    console.print(made, "")
    for test in data["tests"]:
        if not test["passed"]:
            console.print(f"{test['name']}: {test['message']}", style="red", markup=False)
    coverage = data.get("coverage")
    if coverage:
        bins = coverage["bins"]
        missed = {name: each["text"] for name, each in bins.items() if not each["count"]}
        console.print(f"covered: {len(bins) - len(missed)} of {len(bins)} bins of the schedule "
                      f"space ({100 * coverage['share']:.0f} %)")
        for name, text in missed.items():
            console.print(f"  not covered: {name} ({text})", markup=False)
    for line in data.get("remarks", []):
        console.print(line, markup=False)
    console.print("passed" if data["passed"] else "failed",
                  style="bold green" if data["passed"] else "bold red")

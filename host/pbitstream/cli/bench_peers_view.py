"""The screen of ``pbitstream bench peers``."""

from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import number, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["show_peers"]


def show_peers(console: "Console", data: dict[str, Any]) -> None:
    """Print the document of `bench peers`."""
    machine = data["machine"]
    console.print(f"{machine['processor']}, {machine['cores']} cores; Python {machine['python']}")
    console.print(", ".join(f"{name} {version or 'absent'}"
                            for name, version in data["versions"].items()))
    console.print(f"medians of {data['rounds']} interleaved rounds; load average "
                  f"{number(machine['load_before'], 1)} before, "
                  f"{number(machine['load_after'], 1)} after")
    console.print("one thread of ours against all threads of theirs; BLAS: "
                  f"{machine['blas_threads']}\n")
    if data["checks"]:
        console.print(_checks(data), "")
    if data["rows"]:
        console.print(_tasks(data["rows"]), "")
        console.print(_rates(data["rows"]), "")
        console.print(_ratios(data["rows"]), "")
    if "first" in data:
        console.print(_first(data["first"]), "")
    if "cut" in data:
        console.print(_cut(data["cut"]), "")
    if "planted" in data:
        console.print(_planted(data["planted"]), "")


def _checks(data: dict[str, Any]) -> "Table":
    made = table("Equal statistics first: energy per spin, or mean square of x", "of", "system",
                 "found", "wanted", "deviation", text=2)
    for check in data["checks"]:
        made.add_row(check["what"], check["system"],
                     _measured(check["found"], check["standard_error"]),
                     _measured(check["wanted"], check["standard_error_of_wanted"]),
                     _deviation(check))
    made.caption = (f"deviation in standard errors, at most {data['limit_of_deviations']:g}; "
                    "what deviates further gets no ratio")
    return made


def _tasks(rows: list[dict[str, Any]]) -> "Table":
    made = table("Rows", "row", "what", "beta", text=2)
    for row in rows:
        made.add_row(row["name"], row["title"],
                     "–" if row["beta"] is None else f"{row['beta']:.4g}")
    return made


def _rates(rows: list[dict[str, Any]]) -> "Table":
    made = table("Million unit updates per second", "row, system", "as", "median", "range",
                 "per CPU s", "deviation", text=2)
    for row in rows:
        made.add_row(f"[bold]{row['name']}[/]", "", "", "", "", "")
        for system in row["systems"]:
            made.add_row(f"  {system['system']}", *_cells(system))
    made.caption = ("deviation: energy or mean square on this very problem, from the exact value "
                    "or ours; per CPU s: of all threads; building and compiling are apart")
    return made


def _cells(system: dict[str, Any]) -> tuple[str, ...]:
    if system["absent"]:
        return "not installed", "–", "–", "–", "–"
    rates = system["rates"]
    if rates is None:
        return system["option"], "–", "–", "–", _deviation(system["check"])
    low, high = (_millions(rates[name]) for name in ("lowest", "highest"))
    return (system["option"], _millions(rates["median"]), f"{low}–{high}",
            _millions(rates["per_cpu_second"]), _deviation(system["check"]))


def _ratios(rows: list[dict[str, Any]]) -> "Table":
    made = table("Ours over theirs", "row", "over", "by", "must reach", "reached", text=3)
    for row in rows:
        for target in row["targets"]:
            wanted = f"{target['must_reach']:g}"
            if target["stretch"]:
                wanted += f" ({target['stretch']:g})"
            reached = "–" if target["reached"] is None else f"{target['reached']:.1f}"
            made.add_row(row["name"], target["over"],
                         "CPU s" if target["clock"] == "cpu" else "wall", wanted,
                         _marked(reached, target["holds"]))
    compiled = {system["system"]: system["compile_seconds"] for row in rows
                for system in row["systems"] if not system["absent"]}
    slow = [f"{name} {seconds:.1f} s" for name, seconds in compiled.items() if seconds >= 0.05]
    if slow:
        made.caption = f"compiling, apart, in the last row of each: {', '.join(slow)}"
    return made


def _first(rows: list[dict[str, Any]]) -> "Table":
    made = table("First sample after import, 64 x 64 grid", "system", "must reach", "seconds")
    for row in rows:
        wanted = "–" if row["must_reach"] is None else f"< {row['must_reach']:g}"
        made.add_row(row["system"], wanted, _marked(f"{row['seconds']:.2f}", row["holds"]))
    return made


def _cut(data: dict[str, Any]) -> "Table":
    wanted = data["must_reach"]
    title = f"Cut of {data['graph']}" + ("" if wanted is None else f", must reach {wanted:,}")
    made = table(title, "system", "cut", "seconds", "sweeps of the last try")
    for system in data["systems"]:
        holds = None if wanted is None else system["cut"] >= wanted
        made.add_row(system["system"], _marked(f"{system['cut']:,.0f}", holds),
                     f"{system['seconds']:.1f}", number(system["most_sweeps"]))
    return made


def _planted(classes: list[dict[str, Any]]) -> "Table":
    made = table("Planted 10 x 10 x 10 lattices, ground energy known", "faces", "system",
                 "found", "mean excess", "s, all", "median s", text=2)
    for each in classes:
        for place, system in enumerate(each["systems"]):
            wanted = each["must_reach"]
            holds = None if wanted is None else system["reached"] >= wanted
            made.add_row(f"{each['frustrated']} of 6" if place == 0 else "", system["system"],
                         _marked(f"{system['reached']} of {each['instances']}", holds),
                         f"{system['mean_excess']:.1f}", f"{system['seconds']:.1f}",
                         f"{system['median_seconds']:.2f}")
    made.caption = ("faces: frustrated ones of each tile; all lattices with 4 must be found, those "
                    "with 6 are the hardest there are; excess: energy above the ground")
    return made


def _measured(value: float, error: float) -> str:
    return f"{value:.4f}" + (f" ± {error:.4f}" if error else "")


def _deviation(check: dict[str, Any]) -> str:
    if check["found"] == check["wanted"]:
        return "–"
    return _marked(f"{check['deviation']:+.1f}", None if check["holds"] else False)


def _marked(text: str, holds: bool | None) -> str:
    """Return a figure in green if it was reached, in red and with a word if not."""
    if holds is None:
        return text
    return f"[green]{text}[/]" if holds else f"[red]{text} missed[/]"


def _millions(rate: float) -> str:
    value = rate / 1e6
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

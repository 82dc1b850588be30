"""How counts, terms and meters of a run are printed."""

from typing import Any

from rich.console import Console
from rich.table import Table

from pbitstream.cli.output import listing, table

__all__ = ["show_energy"]

#: SI prefixes of prices and energies, by the power of ten.
PREFIXES = {3: "k", 0: "", -3: "m", -6: "µ", -9: "n", -12: "p", -15: "f"}


def show_energy(console: Console, ledger: dict[str, Any]) -> None:
    """Print the document of `pbitstream.cli.energy.Energy`."""
    console.print()
    console.print(_counts(ledger["counts"]))
    if ledger["note"] is not None:
        console.print(ledger["note"], style="dim", markup=False)
    console.print()
    console.print(_terms(ledger))
    if ledger["missing"]:
        console.print("no total, as these are missing:")
        for why in ledger["missing"]:
            console.print(f"  {why}", markup=False)
    for line in _sources(ledger):
        console.print(line, style="dim", markup=False)
    meter = ledger["meter"]
    if meter is None:
        return
    console.print()
    if "error" in meter:
        console.print(f"no reading of the meter: {meter['error']}", style="yellow", markup=False)
        console.print(f"the run went from {ledger['began']:.3f} to {ledger['ended']:.3f} s, in "
                      "Unix seconds", style="dim")
        return
    console.print(_meter(meter, ledger["counts"]))
    for line in _how(meter):
        console.print(line, style="dim", markup=False)


def _counts(counts: dict[str, Any]) -> Table:
    made = listing("Counted")
    for name, text in (
        ("relaxations", "relaxations"),
        ("steps", "steps in them"),
        ("langevin_updates", "Langevin updates"),
        ("pbit_updates", "p-bit updates"),
        ("multiplications", "multiplications in them"),
        ("reads", "values read"),
        ("writes", "values written"),
        ("conditioning", "multiplications of the conditioning net"),
    ):
        made.add_row(text, f"{counts[name]:,}")
    if counts["cycles"] is not None:
        made.add_row("board cycles", f"{counts['cycles']:,}")
        made.add_row("  every lane multiplying", f"{counts['multiplying']:,}")
    if counts["link"] is not None:
        for way in ("read", "written"):
            link = counts["link"]
            requests = link["read_requests" if way == "read" else "write_requests"]
            made.add_row(f"bytes {way} over the link", f"{link[f'bytes_{way}']:,}")
            made.add_row("  in requests", f"{requests:,}")
    made.add_row("seconds", f"{counts['seconds']:.3f}")
    return made


def _terms(ledger: dict[str, Any]) -> Table:
    made = table("Energy", "term", "count", "price", "energy", "grade")
    for line in ledger["terms"]:
        energy, price, count = line["energy"], line["price"], line["count"]
        counted = "–" if count is None else (
            f"{count:,}" if isinstance(count, int) else f"{count:.3f} s")
        made.add_row(energy["name"], counted, _amount(price["value"], price["unit"], "–"),
                     _amount(energy["value"], "J", "missing"), energy["grade"] or "–")
    total = ledger["total"]
    made.add_section()
    made.add_row("total", "", "", _amount(total["value"], "J", "refused"), total["grade"] or "–",
                 style="bold")
    return made


def _amount(value: float | None, unit: str, absent: str) -> str:
    """Return a value with the prefix that leaves one to three digits before the point."""
    if value is None:
        return absent
    power = next((p for p in PREFIXES if value >= 10.0**p), -15) if value else 0
    return f"{value / 10.0**power:.4g} {PREFIXES[power]}{unit}"


def _sources(ledger: dict[str, Any]) -> list[str]:
    """Return where the prices are from, one line each."""
    return [f"{line['energy']['name']}: {line['price']['source']}" for line in ledger["terms"]
            if line["price"]["value"] is not None]


def _meter(meter: dict[str, Any], counts: dict[str, Any]) -> Table:
    made = listing("Metered")
    made.add_row(f"{meter['seconds']:.3f} s of the run", _amount(meter["energy"], "J", ""))
    if meter["idle_share"] is None:
        made.add_row("idle share", "no baseline")
        return made
    made.add_row("  as much time at idle", _amount(meter["idle_share"], "J", ""))
    above = meter["above_idle"]
    sign = "-" if above < 0 else ""
    made.add_row("  above idle", sign + _amount(abs(above), "J", ""))
    updates = counts["langevin_updates"] + counts["pbit_updates"]
    # Not of what a clock that is off by a sample would move.
    if updates and above > (meter["shift"] or 0.0):
        made.add_row("above idle, over all unit updates", _amount(above / updates, "J", ""))
    return made


def _how(meter: dict[str, Any]) -> list[str]:
    lines = [f"{', '.join(meter['sources'])}; {'; '.join(meter['clock'])}",
             f"{meter['samples']:,} samples in the run, {meter['longest_gap']:.3g} s apart at most"]
    if meter["shift"] is not None:
        lines[-1] += f"; a clock off by one sample changes it by {_amount(meter['shift'], 'J', '')}"
    if meter["idle_seconds"] is not None:
        power = meter["idle_energy"] / meter["idle_seconds"]
        lines.append(f"baseline: {_amount(power, 'W', '')} over {meter['idle_seconds']:.1f} s "
                     "before it, the device loaded and idle")
    return lines

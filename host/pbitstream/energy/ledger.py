"""The energy of a run: counts times prices, and a total where no term is missing.

The equation is::

    E = E_standby + N_langevin e_langevin + N_pbit e_pbit + N_reads e_read + N_writes e_write
        + E_conditioning(host) + E_link

A term has the grade of its price on this device, the total the worst of its terms. A term whose
count is 0 needs no price. One that lacks anything refuses the total, and says what would bring it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pbitstream.energy.counters import Counts
from pbitstream.energy.prices import TERMS, Price, Term
from pbitstream.evidence import GRADES, Entry

__all__ = ["Line", "Run", "ledger_of", "lines", "total"]

#: What is absent where a count is None.
_WITHOUT = {"seconds": "no time of a chip", "link_bytes": "no link"}
#: How the kind of a board begins; whatever says anything else is none.
_BOARD = "digital gateware"
_STAND_INS = {"software": "an emulator", "simulated": "a simulator"}


@dataclass(frozen=True)
class Run:
    """What was counted in a run on a device.

    Attributes
    ----------
    device
        Its URL, without options.
    kind
        What it says of itself; see `Device.info`.
    counts, seconds
        Of the run, after the program was loaded.
    shared
        Whether several devices shared the work, so that its seconds are no device's own.
    """

    device: str
    kind: str
    counts: Counts
    seconds: float
    shared: bool = False

    @property
    def stand_in(self) -> str | None:
        """What computed in place of a chip, so that seconds are not a chip's; None for a board."""
        if self.device.startswith("replay:"):
            return "a recording"
        if self.kind.startswith(_BOARD):
            return None
        return _STAND_INS.get(self.kind.partition(" ")[0].rstrip(","), "a device of unknown kind")

    def count(self, name: str, price: Price | None) -> float | None:
        """Return a count by the name that `Term.units` has for it; None if there is none."""
        if name != "seconds":
            found: float | None = getattr(self.counts, name)
            return found
        # The time of a stand-in is no time of the device that the price is of.
        if self.shared or (self.stand_in and (price is None or price.device != self.device)):
            return None
        return self.seconds


@dataclass(frozen=True)
class Line:
    """A term with what went into it; `missing` says what does not let it be stated."""

    term: Term
    unit: str
    count: float | None
    price: Entry
    energy: Entry
    missing: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"name": self.term.name, "count": self.count, "counted": self.term.units[self.unit],
                "price": asdict(self.price), "energy": asdict(self.energy),
                "missing": self.missing}


def lines(run: Run, prices: Mapping[str, Price]) -> list[Line]:
    """Return every term of the energy, those that cannot be stated too."""
    return [_line(run, term, prices.get(term.name)) for term in TERMS]


def total(terms: list[Line]) -> Entry:
    """Return the sum of all terms; its value is None if one is missing."""
    missing = [line.term.name for line in terms if line.missing]
    if missing:
        return Entry("total", None, "J", None, f"refused, without {', '.join(missing)}")
    value = sum(line.energy.value for line in terms if line.energy.value is not None)
    grades = [line.energy.grade for line in terms if line.energy.grade is not None]
    return Entry("total", value, "J", max(grades, key=GRADES.index), f"{len(terms)} terms")


def ledger_of(run: Run, prices: Mapping[str, Price]) -> dict[str, Any]:
    """Return counts, terms and total as plain data for JSON."""
    terms = lines(run, prices)
    return {
        "device": run.device,
        "note": None if run.stand_in is None else f"{run.stand_in}'s counts; no joule of a chip",
        "counts": {**run.counts.to_dict(), "seconds": run.seconds},
        "terms": [line.to_dict() for line in terms],
        "total": asdict(total(terms)),
        "missing": [line.missing for line in terms if line.missing],
    }


def _line(run: Run, term: Term, price: Price | None) -> Line:
    usable = [u for u, name in term.units.items() if run.count(name, None) is not None]
    unit = usable[0] if price is None else price.unit
    count = run.count(term.units[unit], price)
    source, grade = "not given", None
    if price is not None:
        source, grade = price.source, price.grade_on(run.device)
        if price.device != run.device:
            source += f"; of {price.device}, so {grade} here"
    entry = Entry(f"price of {term.text}", None if price is None else price.value, unit, grade,
                  source)

    def line(value: float | None, grade: str | None, source: str, missing: str | None) -> Line:
        return Line(term, unit, count, entry, Entry(term.text, value, "J", grade, source), missing)

    if count == 0:
        return line(0.0, "counted", "there were none", None)
    if price is None:
        why = (f"{term.text}: no price; add [{term.name}] in {' or '.join(usable)} to a file of "
               "prices")
        return line(None, None, why, why)
    if count is None:
        absent = term.units[unit]
        who = "a cluster" if run.shared and absent == "seconds" else run.stand_in or "the device"
        what = f"{who} has {_WITHOUT[absent]}"
        why = f"{term.text}: {what}; give its price in {' or '.join(usable)}"
        return line(None, None, why, why)
    return line(price.value * count, grade, source, None)

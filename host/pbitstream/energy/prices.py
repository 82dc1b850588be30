"""Prices: what an update, a read or a byte takes, with the device they are of and their grade.

A file of prices is TOML: ``device``, whose they are, and a table per term of the energy::

    device = "serial:/dev/ttyUSB1"

    [pbit_update]
    value = 12.5
    unit = "pJ/update"
    grade = "metered"
    source = "bench supply, 2 Aug, above idle"

On another device than that a price is at best ``assumed``, whatever it was where it was found: how
much an update takes depends on the chip, the gateware and its clock.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from pbitstream.errors import FileFormatError
from pbitstream.evidence import GRADES

__all__ = ["TERMS", "Price", "Term", "read_prices", "shipped_prices"]

#: Grades that a price may have: all but that of counts.
PRICE_GRADES = tuple(grade for grade in GRADES if grade != "counted")
#: What a price becomes on another device, if it was better.
TRANSFERRED = "assumed"
_KEYS = ("value", "unit", "grade", "source")
_PREFIXES = {"": 0, "k": 3, "m": -3, "u": -6, "µ": -6, "n": -9, "p": -12, "f": -15}
_UNIT = re.compile(rf"([{''.join(_PREFIXES)}]?)(W|J/[a-z]+)")


@dataclass(frozen=True)
class Term:
    """A term of the energy: its units, each with the count that a price in it multiplies."""

    name: str
    text: str
    units: Mapping[str, str]


TERMS = (
    Term("standby", "standby", {"W": "seconds", "J/step": "steps"}),
    Term("langevin_update", "Langevin updates", {"J/update": "langevin_updates"}),
    Term("pbit_update", "p-bit updates", {"J/update": "pbit_updates"}),
    Term("read", "reads", {"J/value": "reads"}),
    Term("write", "writes", {"J/value": "writes"}),
    Term("conditioning", "host: conditioning", {"J/multiplication": "conditioning"}),
    Term("link", "link", {"J/byte": "link_bytes", "J/value": "values"}),
)
_TERMS = {term.name: term for term in TERMS}


@dataclass(frozen=True)
class Price:
    """What one of something takes.

    Attributes
    ----------
    value
        In `unit`, which has no prefix: W, or J per what the term counts.
    device
        Whose it is: a device's URL without options, or any other text.
    """

    value: float
    unit: str
    grade: str
    source: str
    device: str

    def grade_on(self, device: str) -> str:
        """Return the grade that the price has on a device, worse where it is another's."""
        if device == self.device:
            return self.grade
        return max(self.grade, TRANSFERRED, key=GRADES.index)


def shipped_prices() -> dict[str, Path]:
    """Return the files of prices that come with the package, by name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.toml"))}


def read_prices(paths: Sequence[Path]) -> dict[str, Price]:
    """Return the prices of some files by the names of their terms.

    Raises
    ------
    FileFormatError
        If a file is not TOML, has an unknown term or a wrong value, or two files price one term.
    """
    found: dict[str, Price] = {}
    where: dict[str, Path] = {}
    for path in paths:
        for name, price in _one_file(path).items():
            if name in found:
                raise FileFormatError(f"{path}: [{name}] is in {where[name]} too; leave one out")
            found[name], where[name] = price, path
    return found


def _one_file(path: Path) -> dict[str, Price]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FileFormatError(f"{path}: not TOML: {error}") from error
    device = table.pop("device", None)
    if not isinstance(device, str) or not device:
        raise FileFormatError(f"{path}: device must say whose prices these are, as -d names it or "
                              f"in words, not {device!r}")
    prices = {}
    for name, entry in table.items():
        if name not in _TERMS:
            raise FileFormatError(f"{path}: unknown term [{name}]; terms are {', '.join(_TERMS)}")
        try:
            prices[name] = _price(_TERMS[name], entry, device)
        except ValueError as error:
            raise FileFormatError(f"{path}: [{name}] {error}") from None
    return prices


def _price(term: Term, entry: Any, device: str) -> Price:
    """Return a price in units without prefix; ValueError says what is wrong."""
    if not isinstance(entry, dict) or set(entry) != set(_KEYS):
        raise ValueError(f"must have {', '.join(_KEYS)} and nothing else")
    value, unit, grade, source = (entry[key] for key in _KEYS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
            math.isfinite(value) and value >= 0):
        raise ValueError(f"value must be a number of 0 or more, not {value!r}")
    match = _UNIT.fullmatch(unit) if isinstance(unit, str) else None
    if match is None or match[2] not in term.units:
        raise ValueError(f"unit must be {' or '.join(term.units)}, with a prefix f to k or "
                         f"without, not {unit!r}")
    if grade not in PRICE_GRADES:
        raise ValueError(f"grade must be one of {', '.join(PRICE_GRADES)}, not {grade!r}")
    if not isinstance(source, str) or not source:
        raise ValueError(f"source must say where the value is from, not {source!r}")
    # In decimals, so that 10.85 pJ is the float of 10.85e-12.
    plain = float(Decimal(repr(value)).scaleb(_PREFIXES[match[1]]))
    return Price(plain, match[2], grade, source, device)

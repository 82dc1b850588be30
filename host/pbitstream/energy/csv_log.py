"""The log of a power meter as CSV: a column of times, and watts, or volts and amperes.

Headers name a quantity and its unit, in any spelling: ``time_s,watts``, ``Time (ms);Power [mW]``,
``timestamp_s,voltage_v,current_ma``. Other columns are left alone. Times are Unix seconds, or
milli- or microseconds since then; lines that begin with # are remarks.
"""

import csv
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pbitstream.energy.trace import Trace
from pbitstream.errors import FileFormatError

__all__ = ["CsvLog", "read_csv"]

_QUANTITIES = {
    "time": ("time", "timestamp", "t"),
    "power": ("power", "watts", "watt", "p"),
    "voltage": ("voltage", "volts", "volt", "v"),
    "current": ("current", "amperes", "ampere", "amps", "i"),
}
_NAMES = {name: quantity for quantity, names in _QUANTITIES.items() for name in names}
_UNITS = {
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6},
    "power": {"kw": 1e3, "w": 1.0, "mw": 1e-3, "uw": 1e-6, "µw": 1e-6},
    "voltage": {"v": 1.0, "mv": 1e-3, "uv": 1e-6, "µv": 1e-6},
    "current": {"a": 1.0, "ma": 1e-3, "ua": 1e-6, "µa": 1e-6},
}
#: Names that say their unit.
_SPOKEN = {"watts": "w", "watt": "w", "volts": "v", "volt": "v", "amperes": "a", "ampere": "a",
           "amps": "a"}
#: Times before this, in 2001, are no Unix seconds but count from the meter's start.
_EARLIEST = 1e9
#: Seconds to wait for rows that a meter has not written yet, and between two looks.
WAIT, LOOK = 10.0, 0.2


def read_csv(path: Path) -> Trace:
    """Return the power in a log.

    Raises
    ------
    FileFormatError
        If a column is missing, has no unit or is there twice, or a row is not finite numbers with
        a later time than the one before; the line is named.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        numbered = ((number, line) for number, line in enumerate(file, 1)
                    if line.strip() and not line.lstrip().startswith("#"))
        first, header = next(numbered, (1, ""))
        delimiter = next((mark for mark in ";\t" if mark in header), ",")
        columns = _columns(path, next(csv.reader([header], delimiter=delimiter), []))
        times: list[float] = []
        power: list[float] = []
        for number, row in _rows(path, numbered, delimiter, columns):
            if times and row["time"] <= times[-1]:
                raise FileFormatError(f"{path}:{number}: time must increase from row to row, not "
                                      f"go from {times[-1]:.6f} to {row['time']:.6f} s")
            times.append(row["time"])
            power.append(row["power"] if "power" in row else row["voltage"] * row["current"])
    if len(times) < 2:
        raise FileFormatError(f"{path}: must have at least 2 rows of samples below line {first}, "
                              f"not {len(times)}")
    return Trace(times, power=power)


class CsvLog:
    """A log that a meter writes while a run goes on.

    Raises
    ------
    FileFormatError
        If what is there already is no log.
    """

    clock = "Unix times of the meter, taken to agree with this computer's clock"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._check(read_csv(path))

    def traces(self, since: float, until: float) -> dict[str, Trace]:
        """Return the log, once it reaches over both moments, in Unix seconds.

        Raises
        ------
        FileFormatError
            If it begins later, or does not reach the end within `WAIT` seconds.
        """
        end = time.monotonic() + WAIT
        while (trace := self._check(read_csv(self.path))).times[-1] < until:
            if time.monotonic() >= end:
                raise FileFormatError(f"{self.path}: ends {until - trace.times[-1]:.1f} s before "
                                      "the run did; let the meter write on until it is over")
            time.sleep(LOOK)
        if trace.times[0] > since:
            raise FileFormatError(f"{self.path}: begins {trace.times[0] - since:.1f} s after the "
                                  "baseline or the run; start the meter first")
        return {str(self.path): trace}

    def __enter__(self) -> "CsvLog":
        """Return the log itself; the meter writes it, nothing is started here."""
        return self

    def __exit__(self, *error: Any) -> None:
        """Leave it alone."""

    def _check(self, trace: Trace) -> Trace:
        if trace.times[0] < _EARLIEST:
            raise FileFormatError(f"{self.path}: times must be Unix seconds, to be matched with a "
                                  f"run, and begin at {trace.times[0]:g}; add the moment when the "
                                  "meter started")
        return trace


def _columns(path: Path, names: list[str]) -> dict[str, tuple[int, float]]:
    """Return index and factor to SI units of each quantity that a header has."""
    found: dict[str, tuple[int, float]] = {}
    for index, name in enumerate(names):
        words = re.findall(r"[a-zµ]+", name.lower())
        if not words or words[0] not in _NAMES:
            continue
        quantity = _NAMES[words[0]]
        unit = words[1] if len(words) > 1 else _SPOKEN.get(words[0])
        if len(words) > 2 or unit not in _UNITS[quantity]:
            raise FileFormatError(f"{path}: column {name.strip()!r} must name its unit, one of "
                                  f"{', '.join(_UNITS[quantity])}, as in {words[0]}_"
                                  f"{next(iter(_UNITS[quantity]))}")
        if quantity in found:
            raise FileFormatError(f"{path}: more than one column of {quantity}; keep one")
        found[quantity] = index, _UNITS[quantity][unit]
    if "time" not in found or not ("power" in found or {"voltage", "current"} <= set(found)):
        raise FileFormatError(f"{path}: must have a column time_s and one of watts, or volts and "
                              f"amperes, not {', '.join(names) or 'nothing'}")
    if "power" in found:
        return {name: found[name] for name in ("time", "power")}
    return found


def _rows(
    path: Path,
    lines: Iterator[tuple[int, str]],
    delimiter: str,
    columns: dict[str, tuple[int, float]],
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield line numbers and values in SI units; a last line without its end is not whole yet."""
    for number, line in lines:
        if not line.endswith(("\n", "\r")):
            continue
        cells = next(csv.reader([line], delimiter=delimiter))
        row = {}
        for quantity, (index, factor) in columns.items():
            text = cells[index] if index < len(cells) else ""
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise FileFormatError(f"{path}:{number}: {quantity} must be a finite number, not "
                                      f"{text!r}")
            row[quantity] = value * factor
        yield number, row

"""Runs a topic cell by cell, a cell being one point with one seed, and keeps what is done."""

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from pbitstream.devices.protocol import Device
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.spec import spec_digest
from pbitstream.study.base import MIN_SEEDS, Point, Row, Study, Topic, spread
from pbitstream.study.sources import code_digest

__all__ = ["Cell", "Cells", "Measure", "run_topic"]

#: A point and a seed.
Cell: TypeAlias = tuple[Point, int]
#: Measures cells; see `run_topic`.
Measure: TypeAlias = Callable[[Sequence[Cell]], Iterator[tuple[int, dict[str, float]]]]
#: Called with (what is being done, how many are done, of how many).
Report = Callable[[str, int, int], object]


class Cells:
    """What has been measured, in a file of one JSON line per cell that grows as cells are done.

    An interrupted study loses the cell it was in. A last line that was cut off is dropped.

    Parameters
    ----------
    path
        The file, made where there is none; or None to keep nothing.
    identity
        Of the topic; results of another identity are refused.
    """

    def __init__(self, path: Path | None, identity: str) -> None:
        self.path = path
        self.identity = f"{identity}, code {code_digest()}, spec {spec_digest()[:16]}"
        self.found: dict[str, dict[str, float]] = {}
        if path is not None:
            self._open(path)

    def get(self, point: Point, seed: int) -> dict[str, float] | None:
        """Return the figures of a cell, or None."""
        return self.found.get(_key(point, seed))

    def put(self, point: Point, seed: int, figures: dict[str, float]) -> None:
        """Keep the figures of a cell; they are in the file when this returns."""
        key = _key(point, seed)
        self.found[key] = figures
        if self.path is not None:
            values = {name: value if math.isfinite(value) else None
                      for name, value in figures.items()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"cell": key, "figures": values}) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def _open(self, path: Path) -> None:
        if not path.exists() or not path.stat().st_size:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"study": self.identity}) + "\n", encoding="utf-8")
            return
        text = path.read_text(encoding="utf-8")
        whole, _, torn = text.rpartition("\n")
        lines = whole.split("\n")
        try:
            head = json.loads(lines[0])["study"]
            for line in lines[1:]:
                entry = json.loads(line)
                self.found[entry["cell"]] = {
                    name: math.nan if value is None else float(value)
                    for name, value in entry["figures"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileFormatError(f"{path}: not the results of a study; move it away") from error
        if head != self.identity:
            raise FileFormatError(f"{path}: results of {head}, not of {self.identity}; move it "
                                  "away or give another --folder")
        if torn:
            path.write_text(f"{whole}\n", encoding="utf-8")


def run_topic(
    topic: Topic,
    device: Device | None = None,
    *,
    seeds: int = MIN_SEEDS,
    first_seed: int = 0,
    points: Sequence[Point] | None = None,
    path: Path | None = None,
    measure: Measure | None = None,
    report: Report | None = None,
) -> Study:
    """Measure every point with every seed and return the rows.

    Parameters
    ----------
    device
        What the topic is measured on; not needed with `measure`.
    seeds, first_seed
        How many seeds, at least 5, and the first of them; they follow on each other.
    points
        Only these; all of the topic's if None.
    path
        Where cells are kept and taken from when the study goes on; nowhere if None.
    measure
        Yields (number, figures) of numbered cells in any order, from elsewhere; by default the
        topic measures them on the device, one after the other.

    Raises
    ------
    SpecError
        If `seeds` is less than 5, or neither a device nor `measure` is given.
    FileFormatError
        If the file at `path` holds something else.
    """
    if seeds < MIN_SEEDS:
        raise SpecError(f"seeds must be at least {MIN_SEEDS}, for an interval, not {seeds}")
    if measure is None:
        if device is None:
            raise SpecError("device must be given where measure is not")
        measure = partial(_one_by_one, topic, device)
    tell = report or (lambda what, done, total: None)
    chosen = topic.points() if points is None else list(points)
    numbers = tuple(range(first_seed, first_seed + seeds))
    kept = Cells(path, topic.identity)
    cells = [(point, seed) for point in chosen for seed in numbers]
    missing = [cell for cell in cells if kept.get(*cell) is None]
    done = len(cells) - len(missing)
    tell(_text(*missing[0]) if missing else "done", done, len(cells))
    for number, figures in measure(missing):
        kept.put(*missing[number], figures)
        done += 1
        tell(_text(*missing[number]), done, len(cells))
    rows = []
    for point in chosen:
        taken = [kept.found[_key(point, seed)] for seed in numbers]
        rows.append(Row(point, {figure.name: spread([cell[figure.name] for cell in taken])
                                for figure in topic.figures}))
    return Study(topic, numbers, tuple(rows))


def _one_by_one(
    topic: Topic, device: Device, cells: Sequence[Cell]
) -> Iterator[tuple[int, dict[str, float]]]:
    for number, (point, seed) in enumerate(cells):
        yield number, topic.measure(device, point, seed)


def _text(point: Point, seed: int) -> str:
    return ", ".join([*map(str, point.values()), f"seed {seed}"])


def _key(point: Point, seed: int) -> str:
    return json.dumps({**point, "seed": seed}, sort_keys=True)

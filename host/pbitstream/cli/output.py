"""What a command prints and writes: results on stdout, all else on stderr, files whole."""

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pbitstream.cli.parser import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "Output",
    "check_target",
    "listing",
    "number",
    "plural",
    "table",
    "uncoupled",
    "write_whole",
]

#: Called with (what is being done, how many are done, of how many); see `Output.progress`.
Report = Callable[[str, int, int], None]


class Output:
    """The two streams of a command.

    Parameters
    ----------
    arguments
        ``json`` and ``quiet`` count, where the command has them.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.json = bool(getattr(arguments, "json", False))
        self.quiet = bool(getattr(arguments, "quiet", False))

    @property
    def console(self) -> "Console":
        """A rich console on stdout; NO_COLOR and FORCE_COLOR are its business."""
        from rich.console import Console

        class Quiet(Console):
            def on_broken_pipe(self) -> None:
                """Leave a closed pipe to `pbitstream.cli.entry`."""
                raise

        return Quiet(highlight=False)

    def document(self, data: Mapping[str, Any]) -> None:
        """Print one JSON document; what is not finite becomes null."""
        sys.stdout.write(json.dumps(plain(data), indent=2, allow_nan=False) + "\n")

    def note(self, text: str) -> None:
        """Print a remark on stderr, unless quiet."""
        if not self.quiet:
            sys.stderr.write(f"pbitstream: note: {text}\n")

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Yield a function that moves a progress bar on stderr; silent without a terminal."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda what, done, total: None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeRemainingColumn(compact=True, elapsed_when_finished=True))
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=None)

            def report(what: str, done: int, total: int) -> None:
                bars.update(task, description=what, completed=done, total=total)

            yield report


def plain(data: Any) -> Any:
    """Return data as JSON can hold it: NumPy scalars as Python's, NaN and infinities as None."""
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    if hasattr(data, "tolist"):
        return plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data


def number(value: float | None, digits: int = 4) -> str:
    """Return a figure for a table, a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}g}" if abs(value) < 1e-3 and value else f"{value:.{digits}f}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 image, 2 images."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def uncoupled(margins: Mapping[str, Any]) -> bool:
    """Return whether J is zero among the free units, so that its eigenvalues say nothing."""
    return bool(margins["lambda_max"] == 0 == margins["lambda_min"])


def table(title: str, *columns: str, text: int = 1) -> "Table":
    """Return an empty table of our style: the first `text` columns left, the others right.

    Text wraps where the terminal is narrow, numbers never do.
    """
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
                 pad_edge=False, header_style="dim", show_edge=False,
                 caption_justify="left", caption_style="dim")
    for index, column in enumerate(columns):
        numbers = index >= text
        made.add_column(column, justify="right" if numbers else "left", no_wrap=numbers,
                        overflow="ellipsis" if numbers else "fold")
    return made


def listing(title: str, *, text: bool = False) -> "Table":
    """Return an empty table of names and values without a head; text stands left."""
    made = table(title, "", "", text=2 if text else 1)
    made.show_header = False
    return made


def check_target(option: str, name: str, endings: tuple[str, ...]) -> Path:
    """Return where a file shall go, having checked what can be checked before the work.

    Raises
    ------
    UsageError
        If the ending is none of `endings`, or the folder does not exist or cannot be written.
    """
    path = Path(name)
    if path.suffix.lower() not in endings:
        raise UsageError(f"{option} must end in {' or '.join(endings)}, not {name!r}")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {name}: there is no folder {path.parent}; make it first")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"{option} {name}: cannot be written; choose another place")
    return path


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a file that appears at `path` whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise

"""The program ``pbitstream``: finds commands, runs one, turns errors into one line and a code."""

import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pbitstream.cli import settings
from pbitstream.cli.parser import Parser, UsageError, did_you_mean
from pbitstream.errors import (
    DeviceError,
    FileFormatError,
    MissingExtraError,
    PbitstreamError,
    SpecError,
    UnstableError,
)

__all__ = ["GROUP", "main"]

#: Entry points whose modules are commands: HELP, add_arguments(parser), run(arguments) -> code.
GROUP = "pbitstream.commands"

OK, INTERNAL, INTERRUPTED = 0, 70, 130
#: A pipe that the reader closed, as a shell reports it.
CLOSED_PIPE = 128 + signal.SIGPIPE
BAD_FILE = 5
#: The first row that fits decides.
EXIT_CODES: tuple[tuple[type[PbitstreamError], int], ...] = (
    (UnstableError, 1),
    (SpecError, 2),
    (MissingExtraError, 3),
    (DeviceError, 4),
    (FileFormatError, BAD_FILE),
)
OVERVIEW = """\
usage: pbitstream COMMAND [OPTIONS]
       pbitstream COMMAND --help | --help | --version

Thermodynamic computing: stochastic units, programmable couplings, one driver.

commands:
{commands}

settings: an option, else PBITSTREAM_DEVICE and its like, else pbitstream.toml here or above, else
the user's file, else the default; see pbitstream config show

exit codes: 0 ok, 1 a check failed, 2 usage, 3 a tool or extra is missing, 4 device or link,
5 bad file, 70 a defect of pbitstream, 130 interrupted, 141 closed pipe
PBITSTREAM_DEBUG=1 shows the traceback of an error
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line, without the program's name, and return its exit code."""
    words = sys.argv[1:] if words is None else words
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # Greek letters in an ASCII terminal
            stream.reconfigure(errors="replace")
    try:
        code = _dispatch(list(words))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted")
    except BrokenPipeError:
        # Python flushes stdout once more at its end, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except PbitstreamError as error:
        code = next((code for kind, code in EXIT_CODES if isinstance(error, kind)), INTERNAL)
        return _fail(code, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(BAD_FILE, f"{where}{error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - a user gets one line, whatever went wrong
        return _fail(INTERNAL, f"unexpected {type(error).__name__}: {error}; this is a defect of "
                               "pbitstream, PBITSTREAM_DEBUG=1 shows where")


def commands() -> dict[str, EntryPoint]:
    """Return the entry point of every command that is installed, by name."""
    return {point.name: point for point in sorted(entry_points(group=GROUP))}


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["--version"]:
        from pbitstream import __version__

        sys.stdout.write(f"pbitstream {__version__}\n")
        return OK
    found = commands()
    if not words or words[0] in ("-h", "--help"):
        (sys.stdout if words else sys.stderr).write(_overview(found))
        return OK if words else 2
    name, *rest = words
    if name not in found:
        what = "option" if name.startswith("-") else "command"
        known = ["--help", "--version"] if what == "option" else list(found)
        raise UsageError(f"unknown {what} {name}{did_you_mean(name, known)}; "
                         "see pbitstream --help")
    command = _load(name, found[name])
    parser = Parser(prog=f"pbitstream {name}", description=_sentence(command.HELP),
                    epilog=getattr(command, "EPILOG", None))
    command.add_arguments(parser)
    try:
        arguments = parser.parse(rest)
    except SystemExit as done:  # argparse leaves this way after printing help
        return int(done.code or 0)
    settings.apply(arguments)
    return int(command.run(arguments))


def _load(name: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except ImportError as error:
        raise MissingExtraError(f"command {name} needs {error.name}, which is missing; "
                                f"install the extra of pbitstream that brings it") from error


def _overview(found: dict[str, EntryPoint]) -> str:
    """Return the help screen; a command that cannot be loaded is listed with the reason."""
    width = max(map(len, found), default=0)
    lines = []
    for name, point in found.items():
        try:
            text = _load(name, point).HELP
        except MissingExtraError as error:
            text = f"(not usable: {error})"
        lines.append(f"  {name:<{width}}  {text}")
    return OVERVIEW.format(commands="\n".join(lines))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _fail(code: int, message: str) -> int:
    """Print the one line an error gets; the traceback only where it was asked for."""
    if os.environ.get("PBITSTREAM_DEBUG", "") not in ("", "0"):
        import traceback

        traceback.print_exc()
    line = " ".join(message.split())
    sys.stderr.write(f"pbitstream: {line if code == INTERRUPTED else f'error: {line}'}\n")
    return code

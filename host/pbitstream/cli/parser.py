"""Parsing arguments: one-line errors, no abbreviations, and options that commands share."""

import argparse
import difflib
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from pbitstream.errors import SpecError
from pbitstream.spec.noise import WORD_MASK

__all__ = ["Parser", "UsageError", "add_common", "any_whole", "finite", "positive", "seed"]


class UsageError(SpecError):
    """The command line asks for something that does not exist or does not fit together."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and whose options are never guessed."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's message and the way to the help."""
        raise UsageError(f"{message.removeprefix('argument ')}; see {self.prog} --help")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Return the arguments of a command; options and files may be mixed freely."""
        # argparse cannot intermix where a command has commands of its own.
        nested = any(action.nargs == argparse.PARSER for action in self._actions)
        parse = self.parse_known_args if nested else self.parse_known_intermixed_args
        arguments, unknown = parse(words)
        options = [word for word in unknown if word.startswith("-")]
        if options:
            name = options[0].partition("=")[0]
            self.error(f"unknown option {name}{did_you_mean(name, self._option_string_actions)}")
        if unknown:
            self.error(f"too many arguments: {' '.join(unknown)}")
        return arguments


def did_you_mean(word: str, known: Any) -> str:
    """Return ``, did you mean X?`` if something known starts so or is close, else nothing."""
    # Without the dashes, which make all options look alike.
    bare = {name.lstrip("-"): name for name in known}
    word = word.lstrip("-")
    close = [name for name in bare if word and name.startswith(word)]
    close += difflib.get_close_matches(word, bare, 1, cutoff=0.65)
    return f", did you mean {bare[close[0]]}?" if close else ""


def add_common(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add options that mean the same in every command.

    Parameters
    ----------
    names
        Of ``device``, ``cluster``, ``seed``, ``json``, ``plot``, ``quiet``. Device, seed and quiet
        that are not given take the effective setting (`pbitstream.cli.settings`).
    """
    group = parser.add_argument_group("common options")
    for name in names:
        if name == "device":
            group.add_argument("-d", "--device", metavar="URL",
                               help="device to run on (emulator:); see pbitstream devices")
        elif name == "cluster":
            group.add_argument("--cluster", metavar="URL",
                               help="spread the work over a Dask cluster, whose workers open the "
                                    "device each; local:N starts N workers here. The 64 chains "
                                    "of an input that an emulator of p-bits computes side by "
                                    "side stay together")
        elif name == "seed":
            group.add_argument("--seed", type=seed, metavar="N",
                               help="of the substrate's noise, 0 to 2**64 - 1 (0)")
        elif name == "json":
            group.add_argument("--json", action="store_true",
                               help="print one JSON document and nothing else on stdout")
        elif name == "plot":
            group.add_argument("--plot", metavar="FILE",
                               help="write the figure here: .png, .pdf or .svg")
        else:
            assert name == "quiet", name
            group.add_argument("--quiet", action=argparse.BooleanOptionalAction, default=None,
                               help="no progress and no notes on stderr")


def any_whole(text: str) -> int:
    """Return a whole number; the type of an argument whose range the core checks."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}") from None


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    number = any_whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def seed(text: str) -> int:
    """Return a seed, 0 to 2**64 - 1."""
    number = any_whole(text)
    if not 0 <= number <= WORD_MASK:
        raise argparse.ArgumentTypeError(f"must be between 0 and 2**64 - 1, not {number}")
    return number


def finite(text: str) -> float:
    """Return a finite number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be a finite number, not {text!r}")
    return number

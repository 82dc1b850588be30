"""Lines of a text file as words, and edges gathered from them, every error with file and line."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from pbitstream.errors import FileFormatError

__all__ = ["MAX_NODES", "Edges", "Text"]

#: A file that announces more is taken for damaged, before memory is asked for.
MAX_NODES = 1 << 26


@dataclass(frozen=True)
class Text:
    """A text file and its name."""

    path: str
    text: str

    @classmethod
    def decode(cls, path: str | os.PathLike[str], data: bytes) -> "Text":
        """Return the text of a file's bytes; FileFormatError if they are none."""
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{path}: neither text nor a binary format that is known: byte "
                                  f"{error.start} is no UTF-8") from None
        if "\0" in text:
            raise FileFormatError(f"{path}: neither text nor a binary format that is known: it "
                                  "holds zero bytes")
        return cls(str(path), text)

    def rows(self, *, comment: str, letter: str = "") -> Iterator[tuple[int, list[str]]]:
        """Yield the number and words of every line that has any, numbers from 1 on.

        What follows one of the characters `comment` is left out, and so is a line whose first word
        is `letter` or, as in ``c--``, begins with it and is no number.
        """
        used = [character for character in comment if character in self.text]
        for number, line in enumerate(self.text.splitlines(), 1):
            for character in used:
                line = line.partition(character)[0]
            words = line.split()
            if words and not (letter and words[0].startswith(letter)):
                yield number, words

    def fail(self, line: int, reason: str) -> FileFormatError:
        """Return the error of a line, for the caller to raise; line 0 is the file as a whole."""
        where = f", line {line}" if line else ""
        return FileFormatError(f"{self.path}{where}: {reason}")

    def whole(self, line: int, name: str, word: str) -> int:
        """Return a word as a whole number."""
        try:
            if "_" not in word:
                return int(word)
        except ValueError:
            pass
        raise self.fail(line, f"{name} must be a whole number, not {word}")

    def nodes(self, line: int, word: str) -> int:
        """Return a word as the number of nodes of a file."""
        number = self.whole(line, "number of nodes", word)
        if not 1 <= number <= MAX_NODES:
            raise self.fail(line, f"number of nodes must be between 1 and {MAX_NODES}, "
                                  f"not {number}")
        return number

    def real(self, line: int, name: str, word: str) -> float:
        """Return a word as a finite number."""
        try:
            value = math.nan if "_" in word else float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.fail(line, f"{name} must be a finite number, not {word}")
        return value


@dataclass
class Edges:
    """Edges gathered line by line; nodes are numbered from `low` to `high`, or freely if None."""

    text: Text
    low: int | None = None
    high: int | None = None
    first: list[int] = field(default_factory=list)
    second: list[int] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    seen: dict[tuple[int, int], int] = field(default_factory=dict)

    def node(self, line: int, word: str) -> int:
        """Return a word as the number of a node."""
        number = self.text.whole(line, "node", word)
        if self.low is not None and self.high is not None:
            if not self.low <= number <= self.high:
                raise self.text.fail(line, f"node must be between {self.low} and {self.high}, "
                                           f"not {number}")
        return number

    def add(self, line: int, first: int, second: int, weight: float) -> None:
        """Add an edge; FileFormatError if it is a loop or its pair has one already."""
        if first == second:
            raise self.text.fail(line, f"an edge must join two nodes, not {first} to itself")
        pair = (first, second) if first < second else (second, first)
        before = self.seen.setdefault(pair, line)
        if before != line:
            raise self.text.fail(line, f"the edge of {first} and {second} stands on line {before} "
                                       "already")
        self.first.append(first)
        self.second.append(second)
        self.weight.append(weight)

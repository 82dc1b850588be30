"""Sessions on a line, kept in a file, and lived through again without the line.

A file holds one JSON list per line, in the order of the calls of a `Port`: what was asked, and what
came of it. A replay gives the same answers, the clock's included, to the same requests; a request
that differs is an error that names both.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, TextIO

from pbitstream.devices.wire.port import Port, PortLostError
from pbitstream.errors import DeviceError, FileFormatError

__all__ = ["RecordPort", "ReplayPort"]

HEADER = ["pbitstream line", 1]


class RecordPort:
    """A port that writes down what happens on another; implements `Port`.

    Parameters
    ----------
    path
        The file, which is written anew.
    """

    def __init__(self, port: Port, path: Path | str) -> None:
        self._port = port
        try:
            self._file: TextIO = open(path, "w", encoding="utf-8")
        except OSError as error:
            port.close()
            raise DeviceError(f"{path} cannot be written: {error.strerror}") from error
        self._note(*HEADER)

    def read(self, seconds: float) -> bytes:
        """Return what has come."""
        data = self._kept("read", lambda: self._port.read(seconds))
        self._note("read", data.hex())
        return bytes(data)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._kept("write", lambda: self._port.write(data), data.hex())
        self._note("write", data.hex())

    def set_baud(self, baud: int) -> None:
        """Change the rate of the line."""
        self._kept("baud", lambda: self._port.set_baud(baud), baud)
        self._note("baud", baud)

    def now(self) -> float:
        """Return seconds on the clock of the port."""
        now = self._port.now()
        self._note("now", now)
        return now

    def reopen(self, seconds: float) -> None:
        """Take the line up again."""
        self._kept("reopen", lambda: self._port.reopen(seconds))
        self._note("reopen")

    def close(self) -> None:
        """Let go of the line; the file is complete then."""
        try:
            self._port.close()
        finally:
            self._file.close()

    def _kept(self, what: str, call: Any, *asked: Any) -> Any:
        try:
            return call()
        except PortLostError as error:
            self._note("lost", str(error), what, *asked)
            raise

    def _note(self, *items: Any) -> None:
        self._file.write(json.dumps(items, separators=(",", ":")) + "\n")


class ReplayPort:
    """The line of a recording; implements `Port`.

    Parameters
    ----------
    path
        A file of `RecordPort`.

    Raises
    ------
    FileFormatError
        If it is none.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._lines = _parsed(path)
        if next(self._lines, None) != HEADER:
            raise FileFormatError(f"{path} is not a recording of a line; make one with "
                                  "record:FILE:URL")
        self._at = 1

    def read(self, seconds: float) -> bytes:
        """Return what came then."""
        return bytes.fromhex(str(self._next("read")[0]))

    def write(self, data: bytes) -> None:
        """Take the bytes that were sent then."""
        self._next("write", data.hex())

    def set_baud(self, baud: int) -> None:
        """Take the rate that was set then."""
        self._next("baud", baud)

    def now(self) -> float:
        """Return what the clock said then."""
        return float(self._next("now")[0])

    def reopen(self, seconds: float) -> None:
        """Do what happened then."""
        self._next("reopen")

    def close(self) -> None:
        """Let go of the file."""
        self._lines.close()

    def _next(self, what: str, *asked: Any) -> list[Any]:
        """Return what came of a call, which must be the next one of the recording."""
        entry = next(self._lines, None)
        self._at += 1
        if entry is not None and entry[0] == "lost" and entry[2:] == [what, *asked]:
            raise PortLostError(str(entry[1]))
        if entry is None or entry[0] != what or (asked and entry[1:] != [*asked]):
            then = "nothing more" if entry is None else " ".join(map(str, entry))
            now = " ".join(map(str, (what, *asked)))
            raise DeviceError(f"{self._path}:{self._at}: the recording holds {then:.80}, and sent "
                              f"is {now:.80}; record it again")
        return list(entry[1:])


def _parsed(path: Path | str) -> Generator[list[Any], None, None]:
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                entry = json.loads(line)
                if not isinstance(entry, list) or not entry:
                    raise ValueError(f"line {number} is no list")
                yield entry
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FileFormatError(f"{path} is not a recording of a line: {error}") from error

"""Boards on serial lines by URL, and what may be put in between."""

from pathlib import Path

from pbitstream.devices.board import Board
from pbitstream.devices.protocol import Device
from pbitstream.devices.wire.chaos import ChaosPort, random_plan
from pbitstream.devices.wire.port import Port
from pbitstream.devices.wire.recorder import RecordPort, ReplayPort
from pbitstream.devices.wire.serial_port import PySerialPort
from pbitstream.devices.wire.transport import SerialTransport
from pbitstream.errors import SpecError
from pbitstream.spec.frames import BAUDS

__all__ = ["open_chaos", "open_port", "open_record", "open_replay", "open_serial"]


def open_serial(rest: str, options: dict[str, str]) -> Device:
    """Board on a serial line, any device or URL of pyserial; option baud=115200..3000000."""
    return _board("serial", rest, options)


def open_chaos(rest: str, options: dict[str, str]) -> Device:
    """Board behind faults, ``chaos:seed=1,rate=0.01:URL``; to see what a link survives."""
    return _board("chaos", rest, options)


def open_record(rest: str, options: dict[str, str]) -> Device:
    """Board whose line is recorded, ``record:FILE:URL``; see replay:."""
    return _board("record", rest, options)


def open_replay(rest: str, options: dict[str, str]) -> Device:
    """Play a recording in place of a board, ``replay:FILE``; the same calls, the same answers."""
    return _board("replay", rest, options)


def _board(scheme: str, rest: str, options: dict[str, str]) -> Device:
    unknown = sorted(options.keys() - {"baud"})
    if unknown:
        raise SpecError(f"{scheme}: takes the option baud, not {unknown[0]}")
    text = options.get("baud", str(BAUDS[0]))
    if text not in map(str, BAUDS):
        raise SpecError(f"baud must be one of {', '.join(map(str, BAUDS))}, not {text!r}")
    port = open_port(f"{scheme}:{rest}", int(text))
    return Board(SerialTransport(port, baud=int(text)), name=scheme)


def open_port(url: str, baud: int) -> Port:
    """Return the line that a URL without options names.

    Raises
    ------
    SpecError
        If it is no URL of a line.
    DeviceError
        If the line cannot be opened.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "serial":
        if not rest:
            raise SpecError("serial: needs an address, as in serial:/dev/ttyUSB1?baud=3000000")
        return PySerialPort(rest, baud)
    if scheme == "replay":
        return ReplayPort(rest)
    words, _, inner = rest.partition(":")
    if scheme == "record" and words and inner:
        return RecordPort(open_port(inner, baud), Path(words))
    if scheme == "chaos":
        seed, rate = _chaos_words(words)
        return ChaosPort(open_port(inner, baud), random_plan(seed, rate), seed)
    raise SpecError(f"a line must be serial:ADDRESS, chaos:seed=N,rate=P:LINE, record:FILE:LINE or "
                    f"replay:FILE, not {url!r}")


def _chaos_words(words: str) -> tuple[int, float]:
    """Return seed and rate of ``seed=N,rate=P``, in any order."""
    given = dict(word.partition("=")[::2] for word in words.split(","))
    if given.keys() != {"seed", "rate"}:
        raise SpecError(f"chaos: takes seed=N,rate=P and then a line, not {words!r}")
    try:
        seed, rate = int(given["seed"]), float(given["rate"])
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise SpecError(f"seed must be a whole number and rate between 0 and 1, not {words!r}")
    return seed, rate

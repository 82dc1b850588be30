"""The option ``--energy`` of commands that run a device: what it names, and a metered run."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.parser import UsageError, finite

if TYPE_CHECKING:
    from pbitstream.cli.output import Report
    from pbitstream.devices.protocol import Device
    from pbitstream.energy.prices import Price
    from pbitstream.energy.session import Meter, Session
    from pbitstream.program import Program

__all__ = ["Energy", "add_energy", "check_meter", "energy_of"]

#: Seconds of baseline with a meter.
IDLE = 10.0
HWMON = "hwmon"


def add_energy(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group("energy")
    group.add_argument("--energy", nargs="?", action="append", const="", metavar="WHAT",
                       help="count what the device does; WHAT, which may be given several times: "
                            "prices (FILE.toml, or kv260, which ships), the growing log of a "
                            "meter (FILE.csv: time_s and watts, or volts and amperes), or this "
                            "computer's sensors, hwmon or hwmon:RAIL,RAIL")
    group.add_argument("--idle", type=finite, metavar="SECONDS",
                       help="with a meter, the baseline before the run: device loaded, and idle "
                            f"({IDLE:g}; 0 for none)")


@dataclass(frozen=True)
class Energy:
    """What ``--energy`` asked for.

    Attributes
    ----------
    device
        URL of the device.
    idle
        Seconds of baseline.
    """

    prices: "dict[str, Price]"
    meters: "tuple[Meter, ...]"
    idle: float
    device: str

    @contextmanager
    def session(
        self, device: "Device", program: "Program", report: "Report"
    ) -> "Iterator[Session]":
        """Yield a metered session of the device with its first program; see `metered_session`."""
        from pbitstream.energy.session import metered_session

        if self.meters and self.idle:
            report("idle baseline", 0, 1)
        with metered_session(device, program, self.meters, self.idle) as session:
            yield session

    def document(self, session: "Session") -> dict[str, Any]:
        """Return the ledger of a session that has run, with what the meters say.

        A meter that cannot be read is no reason to lose the run: ``meter`` is then its ``error``
        alone, for `check_meter` when all is written.
        """
        from pbitstream.energy.ledger import ledger_of
        from pbitstream.errors import PbitstreamError

        try:
            reading = session.reading()
            meter = None if reading is None else reading.to_dict()
        except PbitstreamError as error:
            meter = {"error": str(error)}
        except OSError as error:
            meter = {"error": f"{error.filename}: {error.strerror}"}
        return {**ledger_of(session.run(self.device), self.prices), "began": session.began,
                "ended": session.ended, "meter": meter}


def check_meter(document: dict[str, Any] | None) -> None:
    """Tell of a meter that could not be read, after the results have been printed and written.

    Raises
    ------
    FileFormatError
        If the document of `Energy.document` has no reading of a meter that was asked for.
    """
    from pbitstream.errors import FileFormatError

    if document is not None and document["meter"] is not None and "error" in document["meter"]:
        raise FileFormatError(document["meter"]["error"])


def energy_of(arguments: argparse.Namespace) -> Energy | None:
    """Return what the options ask for, with its files read; None without ``--energy``.

    Raises
    ------
    UsageError
        If something given is neither prices nor a meter, or ``--idle`` has no meter.
    FileFormatError, DeviceError
        If a file is none of its kind, or there is no sensor.
    """
    given = arguments.energy
    if arguments.idle is not None and not (arguments.idle >= 0):
        raise UsageError(f"--idle must be 0 or more, not {arguments.idle:g}")
    if given is None:
        if arguments.idle is not None:
            raise UsageError("--idle needs --energy with a meter")
        return None
    from pbitstream.energy.csv_log import CsvLog
    from pbitstream.energy.hwmon import Sensors
    from pbitstream.energy.prices import read_prices, shipped_prices

    shipped, paths = shipped_prices(), []
    meters: list[Meter] = []
    for what in filter(None, given):
        if what in shipped:
            paths.append(shipped[what])
        elif what == HWMON or what.startswith(f"{HWMON}:"):
            meters.append(Sensors([rail for rail in what[len(HWMON) + 1 :].split(",") if rail]))
        elif what.lower().endswith(".toml"):
            paths.append(Path(what))
        elif what.lower().endswith(".csv"):
            meters.append(CsvLog(Path(what)))
        else:
            raise UsageError(f"--energy takes FILE.toml, {', '.join(shipped)}, FILE.csv, hwmon or "
                             f"hwmon:RAIL,RAIL, not {what!r}")
    if arguments.idle is not None and not meters:
        raise UsageError("--idle needs --energy with a meter")
    idle = IDLE if arguments.idle is None else arguments.idle
    return Energy(read_prices(paths), tuple(meters), idle, arguments.device)

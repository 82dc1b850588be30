"""One metered run: load, wait for the baseline, run, and ask counters and meters what it took.

Counts, seconds and meters are all of the run itself: a program is loaded before, once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Protocol

from pbitstream.devices.protocol import Device
from pbitstream.energy.counters import CountedDevice
from pbitstream.energy.hwmon import now
from pbitstream.energy.ledger import Run
from pbitstream.energy.trace import Reading, Trace, read_meter
from pbitstream.program import Program

__all__ = ["Meter", "Session", "metered_session"]

#: Called with (what is being done, how many are done, of how many).
Report = Callable[[str, int, int], None]


class Meter(Protocol):
    """Something that knows the power over time; a context manager."""

    @property
    def clock(self) -> str:
        """How its times are matched with a run's."""

    def traces(self, since: float, until: float) -> dict[str, Trace]:
        """Return its rails by name, over two moments that have passed, in Unix seconds."""

    def __enter__(self) -> Any:
        """Start."""

    def __exit__(self, *error: Any) -> None:
        """Stop."""


class Session:
    """A device under meters; made by `metered_session`.

    Attributes
    ----------
    device
        What the run is to use: it counts.
    idle
        Moments of the baseline in Unix seconds, or None.
    began, ended
        Moments of the run in Unix seconds.
    """

    def __init__(self, device: CountedDevice, meters: Sequence[Meter],
                 idle: tuple[float, float] | None) -> None:
        self.device, self.idle = device, idle
        self._meters = meters
        self.began = self.ended = 0.0
        self._counts = device.counts

    def begin(self) -> None:
        """Let the run begin: count from zero."""
        self.device.restart()
        self.began = now()

    def end(self) -> None:
        """Let the run end; what the device does from here on does not count."""
        self.ended = now()
        self._counts = replace(self.device.counts)

    def around(self, what: str, report: Report) -> Report:
        """Return a report that begins the run when `what` is first told, and ends it after.

        That is when something else is told; all is passed on to `report`.
        """
        under_way = False

        def told(doing: str, done: int, total: int) -> None:
            nonlocal under_way
            if doing == what and not under_way:
                self.begin()
            elif doing != what and under_way:
                self.end()
            under_way = doing == what
            report(doing, done, total)

        return told

    def run(self, url: str) -> Run:
        """Return what was counted on the device of a URL, from begin to end."""
        info = self.device.info()
        return Run(url.partition("?")[0], str(info.get("kind", "")), self._counts,
                   self.ended - self.began, shared="cluster" in info)

    def reading(self) -> Reading | None:
        """Return what the meters say of the run; None without meters."""
        if not self._meters:
            return None
        since = self.began if self.idle is None else self.idle[0]
        traces: dict[str, Trace] = {}
        for meter in self._meters:
            traces.update(meter.traces(since, self.ended))
        return read_meter(traces, (self.began, self.ended), self.idle,
                          tuple(meter.clock for meter in self._meters))


@contextmanager
def metered_session(
    device: Device, program: Program, meters: Sequence[Meter] = (), idle: float = 0.0
) -> Iterator[Session]:
    """Load a program, watch the idle device for `idle` seconds, and yield a session.

    Meters stop when the context is left, by Ctrl-C too.

    Parameters
    ----------
    device
        Open.
    program
        What the run loads first.
    meters
        Whose energies are added.
    idle
        Seconds of baseline, with the program loaded; 0 for none.
    """
    counted = CountedDevice(device)
    counted.load(program)
    with ExitStack() as stack:
        for meter in meters:
            stack.enter_context(meter)
        span = None
        if meters and idle > 0:
            began = now()
            time.sleep(idle)
            span = began, now()
        yield Session(counted, meters, span)


"""What a worker of a cluster does: open its device once, load what is asked for, measure."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from pbitstream.devices.protocol import Device, Readout
from pbitstream.devices.registry import open_device
from pbitstream.errors import DeviceError
from pbitstream.farm.cluster import fetch
from pbitstream.program import Program
from pbitstream.study.base import Point, Topic
from pbitstream.study.topics import open_topic

__all__ = ["device_info", "is_board", "measure_cell", "relax_part", "worker_url"]


class Bench:
    """The device that lies open, its URL, and the digest of what it has loaded."""

    def __init__(self) -> None:
        self.device: Device | None = None
        self.url = ""
        self.loaded: str | None = None

    def open(self, url: str) -> Device:
        """Return the device of a URL; that of another is closed first."""
        if self.device is None or self.url != url:
            self.close()
            self.device, self.url = open_device(url), url
        return self.device

    def close(self) -> None:
        """Let go of the device."""
        device, self.device, self.loaded = self.device, None, None
        if device is not None:
            device.close()


class Own(threading.local):
    """What every thread has for itself: an emulator, and topics with what they have compiled."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.topics: dict[str, Topic] = {}


_own = Own()
#: The board of this process, and who has it.
_board = Bench()
_lock = threading.Lock()


def is_board(url: str) -> bool:
    """Return whether a worker has only so many of these devices as it has boards."""
    return not url.startswith("emulator:")


def worker_url(url: str) -> str:
    """Return the URL a worker opens: an emulator has one thread there, as workers are many."""
    if is_board(url) or "threads=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}threads=1"


@contextmanager
def _bench(url: str) -> Iterator[tuple[Bench, Device]]:
    """Yield a bench and its device, which is opened when first asked for, closed where it failed.

    A board stays open, and so claimed, until another URL is asked for or the process ends.
    """
    with _lock if is_board(url) else nullcontext():
        bench = _board if is_board(url) else _own.bench
        try:
            yield bench, bench.open(url)
        except DeviceError:
            bench.close()
            raise


def relax_part(url: str, name: str, digest: str, force: bool,
               arguments: dict[str, Any]) -> Readout:
    """Return the readout of a part of a call; the same on every worker.

    `name` is that of the program, pickled, on the cluster; it is fetched where `digest` is not
    what the device has loaded.
    """
    with _bench(url) as (bench, device):
        if bench.loaded != digest:
            bench.loaded = None
            program: Program = pickle.loads(fetch(name))
            device.load(program, force=force)
            bench.loaded = digest
        return device.relax(**arguments)


def measure_cell(url: str, topic: str, point: Point, seed: int) -> dict[str, float]:
    """Return the figures of a point and a seed of a study."""
    with _bench(url) as (bench, device):
        # The topic loads what it likes.
        bench.loaded = None
        if topic not in _own.topics:
            _own.topics[topic] = open_topic(topic)
        return _own.topics[topic].measure(device, point, seed)


def device_info(url: str) -> dict[str, Any]:
    """Return what this worker's device says of itself."""
    with _bench(url) as (_, device):
        return device.info()

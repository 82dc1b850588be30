"""What a worker of a cluster does: open its device once, load what is asked for, measure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pbitstream.devices.protocol import Device, Readout
from pbitstream.devices.registry import open_device
from pbitstream.errors import DeviceError
from pbitstream.program import Program
from pbitstream.study.base import Point, Topic
from pbitstream.study.topics import open_topic

__all__ = ["is_board", "measure_cell", "relax_part", "worker_url"]

#: The device of this process, by its URL, and the digest of what it has loaded.
_held: dict[str, Device] = {}
_loaded: dict[str, str] = {}
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
def _device(url: str) -> Iterator[Device]:
    """Yield this worker's device, opened when first asked for, closed where it failed."""
    with _lock:
        if url not in _held:
            _held[url] = open_device(url)
        try:
            yield _held[url]
        except DeviceError:
            _loaded.pop(url, None)
            _held.pop(url).close()
            raise


def relax_part(url: str, program: Program, force: bool, arguments: dict[str, Any]) -> Readout:
    """Return the readout of a part of a call; the same on every worker."""
    with _device(url) as device:
        if _loaded.get(url) != program.digest:
            device.load(program, force=force)
            _loaded[url] = program.digest
        return device.relax(**arguments)


def measure_cell(url: str, topic: str, point: Point, seed: int) -> dict[str, float]:
    """Return the figures of a point and a seed of a study."""
    with _device(url) as device:
        # The topic loads what it likes.
        _loaded.pop(url, None)
        return _topic(topic).measure(device, point, seed)


@cache
def _topic(name: str) -> Topic:
    """Return a topic, which keeps what it has compiled."""
    return open_topic(name)

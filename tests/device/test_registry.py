"""Devices by URL, and what the emulator's options refuse."""

import re
from importlib.metadata import EntryPoint

import pytest

from pbitstream.devices import registry
from pbitstream.devices.registry import open_device
from pbitstream.emulator.device import Emulator, open_emulator
from pbitstream.errors import MissingExtraError, SpecError


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that exactly these devices are installed."""
    points = [
        EntryPoint("emulator", "pbitstream.emulator.device:open_emulator", registry.GROUP),
        EntryPoint("broken", "a_package_that_is_not_there:open", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)


def test_the_emulator_is_the_default() -> None:
    for url in ("emulator:", "emulator:?engine=numpy", "emulator:?engine=oracle&threads=2"):
        with open_device(url) as device:
            assert isinstance(device, Emulator)
    with open_device() as device:
        assert isinstance(device, Emulator)
    with open_device("emulator:?engine=numba&threads=3") as device:
        assert device.info()["threads"] == 3
        assert device.info()["engine"] == "numba"


@pytest.mark.parametrize(("url", "message"), [
    ("emulator", "device must be a URL that starts with one of broken:, emulator:, not 'emulator'"),
    ("", "device must be a URL that starts with one of broken:, emulator:, not ''"),
    ("abacus:", "device must be a URL that starts with one of broken:, emulator:, not 'abacus:'"),
    ("emulator:?engine", "options of device 'emulator:?engine' must read name=value&name=value"),
    ("emulator:here", "emulator: takes no address, not 'here'"),
    ("emulator:?speed=9", "emulator: takes the options engine and threads, not speed"),
    ("emulator:?engine=abacus", "engine must be one of numba, numpy, oracle, not abacus"),
    ("emulator:?threads=many", "threads must be a whole number, not 'many'"),
    ("emulator:?threads=-1", "threads must be a whole number, not '-1'"),
    ("emulator:?threads=0", "threads must be at least 1, not 0"),
])
def test_refusals(url: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        open_device(url)


def test_threads_that_only_look_like_a_number() -> None:
    with pytest.raises(SpecError, match=r"^threads must be a whole number, not '²'$"):
        open_emulator("", {"threads": "²"})


def test_a_device_whose_package_is_missing_names_it() -> None:
    message = ("device broken: needs a_package_that_is_not_there, which is missing; "
               "install it, or the extra of pbitstream that brings it")
    with pytest.raises(MissingExtraError, match=f"^{re.escape(message)}$"):
        open_device("broken:")

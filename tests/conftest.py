"""Long tests run when asked for, and are never left out silently."""

from typing import Any

import pytest

LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--long", action="store_true", help="run the long tests too")


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    config.stash[LEFT_OUT] = len(long)
    items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    # Workers of pytest-xdist collect, their controller does not.
    if not config.getoption("--long"):
        count = config.stash.get(LEFT_OUT, None)
        which = "long tests" if count is None else f"{count} long tests"
        terminalreporter.write_line(f"left out: {which}; tools/run test --long runs them too")

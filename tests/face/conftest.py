"""Every test of the face runs in an empty folder, without settings from outside."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pbitstream.cli import main

#: Options that make an inference small.
SMALL = ("--count", "2", "--steps", "32")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("PBITSTREAM_")]:
        monkeypatch.delenv(name)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def small() -> tuple[str, ...]:
    return SMALL


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command line in this process."""

    def call(*words: str) -> Done:
        capsys.readouterr()
        code = main(list(words))
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def refused(run: Callable[..., Done]) -> Callable[..., None]:
    """Run a command line that must fail with a code and exactly one line."""

    def call(code: int, message: str, *words: str) -> None:
        done = run(*words)
        assert (done.code, done.out, done.err) == (code, "", f"pbitstream: error: {message}\n")

    return call

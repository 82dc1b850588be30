"""Every test of boards runs in an empty folder, with a stand-in for the tool that loads them."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from loading import STUB, Done, Place
from pbitstream.cli import main


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("PBITSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("COLUMNS", "200")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command line in this process."""

    def call(*words: str) -> Done:
        capsys.readouterr()
        code = main(list(words))
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "work" / "bitstreams"
    return Place(folder / "ulx3s.json", folder / "ulx3s.bit")


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put an openFPGALoader on PATH that meets some fate; it notes its calls in a file."""

    def fate(mode: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "openFPGALoader"
        program.write_text(STUB, encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        log = tmp_path / "calls"
        log.write_text("")
        monkeypatch.setenv("STUB_MODE", mode)
        monkeypatch.setenv("STUB_LOG", str(log))
        return log

    return fate

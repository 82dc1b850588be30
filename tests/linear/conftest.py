"""Problems, and command lines in an empty folder without settings from outside."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pbitstream.cli import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


def spd(dim, condition, seed):
    """Return a random symmetric positive definite A, of uneven diagonal, and a normal b."""
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    scale = np.geomspace(0.5, 2, dim)
    a = scale[:, None] * (vectors * np.geomspace(1, condition, dim) @ vectors.T) * scale
    return (a + a.T) / 2, rng.standard_normal(dim)


@pytest.fixture
def problem():
    return spd


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    for name in [n for n in os.environ if n.startswith("PBITSTREAM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Done:
        capsys.readouterr()
        return Done(main(["solve", *words]), *capsys.readouterr())

    return call

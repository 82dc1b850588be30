"""Streams, JSON values, tables' figures, and files that appear whole or not at all."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

from pbitstream.cli.output import Output, check_target, number, plain, write_whole
from pbitstream.cli.parser import UsageError


def test_json_holds_no_nan():
    data = {"a": np.float64(np.nan), 2: [np.int64(3), -np.inf], "c": (np.arange(2), None, True)}
    assert plain(data) == {"a": None, "2": [3, None], "c": [[0, 1], None, True]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("inf"), "–"), (1234567, "1,234,567"), (0.5, "0.5000"), (0.0, "0.0000"),
     (1.5e-5, "1.5e-05")],
)
def test_figures(value, text):
    assert number(value) == text


def test_progress_needs_a_terminal(capsys, monkeypatch):
    def progress(**options):
        with Output(argparse.Namespace(**options)).progress() as report:
            report("relax", 3, 7)
        return capsys.readouterr()

    assert progress() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert progress(quiet=True) == ("", "")
    out, err = progress()
    assert out == ""
    assert "relax" in err
    assert "3/7" in err


def test_files_are_written_whole_or_not_at_all():
    path = Path("a.bin")
    write_whole(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(Path().iterdir()) == [path]


def test_a_folder_is_no_target():
    Path("a.npy").mkdir()
    with pytest.raises(UsageError, match=r"--out a.npy: cannot be written"):
        check_target("--out", "a.npy", (".npy",))

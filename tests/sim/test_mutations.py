"""A gateware that is wrong in one line is found by `pbitstream verify`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pbitstream_gateware
from mutations import MUTATIONS, Mutation

SOURCE = Path(pbitstream_gateware.__file__).parent
#: Those of the first lines run always, one of the rounding and one of the schedule.
SHORT = {"the drift rounds down", "the second phase reads old states"}


def verify(folder: Path) -> subprocess.CompletedProcess[str]:
    """Verify a copy of the gateware by the command a user would type."""
    command = [Path(sys.executable).parent / "pbitstream", "verify", "-d", "verilator:",
               "--random", "12", "--reference", "numpy", "--quiet"]
    variables = os.environ | {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=900,
                          check=False)


def copy(folder: Path) -> Path:
    shutil.copytree(SOURCE, folder / "pbitstream_gateware",
                    ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.long
def test_the_gateware_itself_passes(tmp_path: Path) -> None:
    done = verify(copy(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mutation", [
    pytest.param(mutation, id=mutation.name.replace(" ", "-"),
                 marks=() if mutation.name in SHORT else pytest.mark.long)
    for mutation in MUTATIONS
])
def test_a_mutation_is_found(mutation: Mutation, tmp_path: Path) -> None:
    path = copy(tmp_path) / "pbitstream_gateware" / mutation.file
    text = path.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.old!r} must stand once in {mutation.file}"
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    done = verify(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    shutil.rmtree(tmp_path)

"""`pbitstream info`: overview, programs, models, and files that are neither."""

import json
import re

import pytest

from pbitstream import __version__
from pbitstream.model import shipped, shipped_names
from pbitstream.program import Program
from pbitstream.spec import spec_digest


def test_overview(run):
    done = run("info", "--json")
    data = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert data["version"] == __version__
    assert data["spec_digest"] == spec_digest()
    assert "emulator" in data["devices"]
    assert "oracle" in data["engines"]
    assert [file["name"] for file in data["files"]] == shipped_names()
    screen = run("info").out
    for name in (*shipped_names(), spec_digest(), "emulator:"):
        assert name in screen


@pytest.mark.parametrize("name", ["ring-5", "digits-k16.program"])
def test_program_by_name_and_by_file(run, name):
    by_name = json.loads(run("info", name, "--json").out)
    by_file = json.loads(run("info", str(shipped(name)), "--json").out)
    program = Program.open(shipped(name))
    assert by_name == by_file
    assert by_name["digest"] == program.digest
    assert by_name["margins"] == program.margins().to_dict()
    assert by_name["cost"] == vars(program.cost())
    assert [m["name"] for m in by_name["modules"]] == [m.name for m in program.topology.modules]
    assert len(by_name["banks"]) == len(program.topology.banks)
    screen = run("info", name).out
    for word in ("Modules", "Banks", "Margins", "Cost", "Provenance", program.digest):
        assert word in screen


def test_model_and_images(run):
    data = json.loads(run("info", "digits-k16", "--json").out)
    assert data["kind"] == "model"
    assert {"name": "bank.a", "dtype": "float64", "shape": [64, 16]} in data["tensors"]
    assert data["provenance"]
    screen = run("info", "digits-k16").out
    assert "Tensors" in screen
    assert re.search(r"unet\.d1\.\* +float32 +8 +12,882", screen)
    assert re.search(r"times +20 +float64 +1 +20", screen)
    assert "pbitstream info digits-k16.program shows the program" in screen
    assert json.loads(run("info", "digits-test", "--json").out)["kind"] == "images"


def test_no_such_file(refused):
    names = ", ".join(shipped_names())
    refused(5, f"ring5: no such file, did you mean ring-5?; shipped are {names}", "info", "ring5")


def test_files_of_another_kind(refused, tmp_path):
    (tmp_path / "work" / "gray.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    refused(5, "gray.png: no safetensors file; info shows programs and models", "info", "gray.png")
    refused(5, ".: a folder, not a file; name a file in it", "info", ".")


def test_no_coupling_is_said(run):
    assert "no coupling among free units" in run("info", "digits-k16.program").out
    assert "lambda_max" not in run("info", "digits-k16.program").out
    assert "lambda_max" in run("info", "ring-5").out


def test_damaged_file(run, tmp_path):
    path = tmp_path / "work" / "broken.safetensors"
    path.write_bytes(shipped("ring-5").read_bytes()[:-1])
    done = run("info", "broken.safetensors")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("pbitstream: error: broken.safetensors: truncated: ")
    assert done.err.count("\n") == 1


def test_brackets_in_a_file_name_are_no_markup(run, tmp_path):
    name = tmp_path / "[red]ring.safetensors"
    name.write_bytes(shipped("ring-5").read_bytes())
    assert str(name) in run("info", str(name)).out

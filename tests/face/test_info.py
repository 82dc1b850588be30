"""`pbitstream info`: overview, programs, models, and files that are neither."""

import json

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
    assert "Tensors" in run("info", "digits-k16").out
    assert json.loads(run("info", "digits-test", "--json").out)["kind"] == "images"


def test_no_such_file(refused):
    names = ", ".join(shipped_names())
    refused(5, f"ring5: no such file, did you mean ring-5?; shipped are {names}", "info", "ring5")


def test_damaged_file(run, tmp_path):
    path = tmp_path / "work" / "broken.safetensors"
    path.write_bytes(shipped("ring-5").read_bytes()[:-1])
    done = run("info", "broken.safetensors")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("pbitstream: error: broken.safetensors: truncated: ")
    assert done.err.count("\n") == 1

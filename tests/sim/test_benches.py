"""Benches under cocotb: their runner on a stub, then the shipped ones on the real top."""

import json

import pytest

from pbitstream.cli import main
from pbitstream.errors import DeviceError, MissingExtraError
from pbitstream_sim import toolchain
from pbitstream_sim.benches.runner import build, simulate
from pbitstream_sim.benches.task import Task
from pbitstream_sim.coverage import BINS
from pbitstream_sim.images import image_verilog
from pbitstream_sim.verilated import to_verilog
from readme_of_sim import README_BLOCKS
from stub_top import Stub

BENCH = '''
import cocotb
from pbitstream.errors import DeviceError
from pbitstream_sim.benches.bus import BusDriver, BusTransport, bridge
from pbitstream_sim.benches.task import Task
from stub_top import BUSY_WORD, MEMORY, SILENT


@cocotb.test()
async def words(dut):
    """Coroutines and the transport see the same memory."""
    bus = BusDriver(dut)
    await bus.start()
    await bus.write(MEMORY, 1, 2, 3)
    assert await bus.read(MEMORY, 3) == [1, 2, 3]
    assert bus.slowest == 4

    def use():
        transport = BusTransport(bus)
        transport.write(4 * MEMORY + 4, b"abcdefgh")
        transport.write(4 * BUSY_WORD, (200_000).to_bytes(4, "little"))
        looks = 0
        while any(transport.read(4 * BUSY_WORD, 4)):
            looks += 1
        return looks, transport.read(4 * MEMORY, 12)

    looks, data = await bridge(use)()
    assert 5 < looks < 50
    assert data == b"\\x01\\0\\0\\0abcdefgh"
    Task.load().remark(f"image {Task.load().image}")


@cocotb.test()
async def silence(dut):
    """An address that does not answer is an error."""
    bus = BusDriver(dut)
    await bus.start()
    await bus.read(SILENT)
'''


@pytest.fixture(scope="module")
def verilog():
    return to_verilog(Stub())


def test_a_bench_of_ones_own(verilog, tmp_path, monkeypatch):
    (tmp_path / "own_bench.py").write_text(BENCH)
    monkeypatch.syspath_prepend(str(tmp_path))
    task = Task(str(tmp_path), "stub", 1)
    words, silence = simulate(build(verilog), "own_bench", tmp_path, task.save())
    assert (words["name"], words["passed"], words["message"]) == ("words", True, "")
    assert (silence["name"], silence["passed"]) == ("silence", False)
    assert "no answer came within 16 cycles" in silence["message"]
    assert task.found() == {"remarks": ["image stub"]}


def test_a_build_is_shared_and_small(verilog, monkeypatch):
    notes = []
    built = build(verilog, note=notes.append)
    assert build(verilog, note=notes.append) == built
    assert sorted(path.name for path in built.iterdir()) == ["top", "top.v"]
    assert len(notes) <= 1


def test_what_goes_wrong_is_said(verilog, tmp_path, monkeypatch):
    with pytest.raises(DeviceError, match="not_a_bench"):
        simulate(build(verilog), "not_a_bench", tmp_path, {})
    with pytest.raises(DeviceError, match=r"(?s)cocotb: .*error"):
        build("module top(; endmodule")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"apt-get install g\+\+ make perl$"):
        build(verilog)
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pbitstream\[sim\]'"):
        build(verilog)


def test_the_bench_of_the_readme(tmp_path, monkeypatch):
    (tmp_path / "readme_bench.py").write_text(README_BLOCKS[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    test, = simulate(build(image_verilog("tiny")), "readme_bench", tmp_path, {})
    assert (test["name"], test["passed"], test["message"]) == ("my_test", True, "")


def bench(capsys, *words):
    code = main(["verify", "--bench", *words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_registers(capsys):
    code, data = bench(capsys, "registers")
    assert (code, data["passed"], data["image"]) == (0, True, "tiny"), data
    assert {test["name"] for test in data["tests"]} == {
        "identity", "writing", "unmapped", "windows", "in_time"}


def test_relax(capsys):
    code, data = bench(capsys, "relax", "--random", "3", "--seed", "1")
    assert (code, data["passed"]) == (0, True), data
    bins = data["coverage"]["bins"]
    assert set(bins) == set(BINS)
    assert len(bins) >= 30
    assert sum(1 for each in bins.values() if each["count"]) > 0.6 * len(bins)
    assert data["updates"] > 0

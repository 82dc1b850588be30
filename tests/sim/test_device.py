"""The gateware's RTL as a device: the conformance suite, options, Ctrl-C."""

import json
import os
import re
import signal
import threading
import time

import numpy as np
import pytest

from pbitstream.cli import main
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.conformance import Sizes, check_device
from pbitstream.devices.random_programs import random_program
from pbitstream.devices.registry import open_device
from pbitstream.errors import MissingExtraError, SpecError
from pbitstream_sim import toolchain
from pbitstream_sim.device import VerilatedTransport, open_verilator
from pbitstream_sim.verilated import Verilated
from readme_of_sim import README_BLOCKS
from stub_top import BUSY_WORD, MAGIC_WORD, MEMORY, Stub


def test_a_transport_moves_bytes():
    transport = VerilatedTransport(Verilated(Stub()))
    transport.write(4 * MEMORY, bytes(range(16)))
    assert transport.read(4 * MEMORY + 4, 8) == bytes(range(4, 12))
    assert transport.read(4 * MAGIC_WORD, 4) == b"PBIT"
    transport.close()


def test_time_passes_while_a_busy_design_is_read():
    transport = VerilatedTransport(Verilated(Stub()))
    transport.write(4 * BUSY_WORD, (1_000_000).to_bytes(4, "little"))
    looks = 0
    while int.from_bytes(transport.read(4 * BUSY_WORD, 4), "little"):
        looks += 1
    assert 10 < looks < 1000
    before = transport.rtl.cycles
    transport.read(4 * BUSY_WORD, 4)
    assert transport.rtl.cycles - before < 10
    transport.close()


@pytest.mark.parametrize("seed", [0, 1])
def test_conformance(seed):
    program = random_program(np.random.default_rng([41, seed]), board=True, alive=True, max_dim=24)
    passed = check_device(lambda: open_device("verilator:"), [program],
                          sizes=Sizes(steps=3, chains=2, seed=seed))
    assert len(passed) > 5


def test_info():
    with open_device("verilator:?image=tiny") as device:
        info = device.info()
    assert info["device"] == "verilator"
    assert info["kind"] == "simulated RTL, bit-exact; not a physical substrate"
    assert (info["image_name"], info["image"]["lanes"]) == ("tiny", 8)
    assert re.fullmatch("[0-9a-f]{64}", info["verilog_digest"])
    assert info["simulated_cycles"] > 0


@pytest.mark.parametrize(("url", "message"), [
    ("verilator:here", "verilator: takes no address, not 'here'"),
    ("verilator:?lanes=8", "verilator: takes the option image, not lanes"),
    ("verilator:?image=huge", "image must be one of tiny, "),
])
def test_refusals(url, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        open_device(url)


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"amaranth; pip install 'pbitstream\[sim\]'"):
        open_verilator("", {})


def test_ctrl_c_stops_a_relaxation_and_the_device_goes_on():
    builder = ProgramBuilder()
    builder.langevin("x", 100)
    with open_device("verilator:") as device:
        device.load(builder.build())
        timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            device.relax(np.zeros((1, 100)), steps=1 << 20, seed=1)
        timer.join()
        # A bound on hanging, not on speed: the relaxation would take a quarter of an hour.
        assert time.monotonic() - began < 30
        assert device.relax(np.zeros((1, 100)), steps=1, seed=1).steps == 1


def test_the_block_of_the_readme(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(README_BLOCKS[0], "sim/README.md", "exec"), {})
    assert (tmp_path / "top.vcd").stat().st_size > 1000


def test_verify(capsys):
    assert main(["verify", "-d", "verilator:", "--random", "2", "--updates", "2000", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["identical"] is True
    assert data["updates"] >= 2000

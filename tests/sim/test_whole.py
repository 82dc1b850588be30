"""The whole: predicted cycles are measured cycles, and inference on the RTL is inference."""

import json

import numpy as np
import pytest

from pbitstream.cli import main
from pbitstream.cli.measure import langevin_program
from pbitstream.devices.board.placement import place
from pbitstream.devices.random_programs import random_program
from pbitstream.devices.registry import open_device
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.cycles import multiplying_per_step


def cycles_per_step(device, program: Program) -> float:
    """Return what a relaxation of twice as many steps takes more, after the pipes have filled."""
    topology = program.topology
    call = {"h": np.zeros((1, topology.units)), "seed": 1,
            "clamp": np.ones((1, sum(m.dim for m in topology.modules if m.clamped)))}
    taken = []
    for steps in (100, 140):
        device.relax(steps=steps, **call)
        taken.append(device.counters()["cycles"])
    return (taken[1] - taken[0]) / 40


@pytest.mark.parametrize("seed", [0, 3, *(pytest.param(n, marks=pytest.mark.long)
                                          for n in range(4, 40))])
def test_random_programs_take_the_cycles_that_the_spec_says(seed):
    program = random_program(np.random.default_rng(seed), board=True, max_dim=200)
    with open_device("verilator:") as device:
        try:
            device.load(program, force=True)
        except SpecError:
            pytest.skip("does not fit")
        assert cycles_per_step(device, program) == place(program, device.image).cycles_per_step


@pytest.mark.long
def test_the_multipliers_of_128_lanes_are_busy():
    program = langevin_program()
    with open_device("verilator:?image=pynq_z2") as device:
        device.load(program)
        placement = place(program, device.image)
        taken = cycles_per_step(device, program)
        counters = device.counters()
    assert taken == placement.cycles_per_step <= 602
    assert multiplying_per_step(placement.instructions) == 512
    assert counters["multiplying"] / counters["cycles"] >= 0.85


@pytest.mark.parametrize("count", ["1", pytest.param("36", marks=pytest.mark.long)])
def test_inference_on_the_rtl_equals_inference_on_the_emulator(count, capsys):
    documents = []
    for device in ("emulator:", "verilator:"):
        words = ["infer", "-d", device, "--json", "--seed", "5", "--count", count]
        assert main([*words, *(["--noise", "0.4"] if count == "1" else [])]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    for document in documents:
        for where in ("device", "device_info", "timing", "seconds"):
            document.pop(where, None)
    assert documents[0] == documents[1]

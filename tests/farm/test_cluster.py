"""Workers as processes: the same bits as one process, and what becomes of lost workers."""

import json
import os
import signal
import threading
import time

import numpy as np
import pytest

from pbitstream.cli import main
from pbitstream.devices.conformance import same_readout
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError, SpecError
from pbitstream.farm import Cluster, Farm
from pbitstream.model import shipped
from pbitstream.program import Program

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def cluster():
    with Cluster("local:2") as made:
        yield made


def call(program: Program, steps: int) -> dict:
    rng = np.random.default_rng(1)
    held = sum(m.dim for m in program.topology.modules if m.clamped)
    return {"h": rng.normal(0, 0.3, (12, program.topology.units)), "steps": steps, "burn_in": 10,
            "seed": 4, "chains": 2, "moments": True,
            **({"clamp": rng.normal(0, 0.3, (12, held))} if held else {})}


def test_a_farm_is_a_device(cluster, monkeypatch):
    monkeypatch.setattr("pbitstream.farm.device.TASK", 200_000)
    program = Program.open(shipped("digits-k16.program"))
    asked = call(program, 500)
    with Emulator(threads=1) as emulator, Farm(cluster) as farm:
        for device in (emulator, farm):
            device.load(program)
        same_readout(farm.relax(**asked), emulator.relax(**asked))
        assert farm.info()["workers"] == 2
        with pytest.raises(SpecError, match="steps must be between"):
            farm.relax(**{**asked, "steps": 0})
        farm.reset()
        with pytest.raises(DeviceError, match="no program is loaded"):
            farm.relax(**asked)


def test_killed_workers_lose_nothing(cluster, monkeypatch):
    monkeypatch.setattr("pbitstream.farm.device.TASK", 2_000_000)
    program = Program.open(shipped("digits-k16.program"))
    asked = call(program, 40_000)
    with Emulator(threads=1) as emulator:
        emulator.load(program)
        expected = emulator.relax(**asked)
    killed = threading.Event()

    def kill() -> None:
        time.sleep(0.5)
        os.kill(next(iter(cluster._local.workers.values())).pid, signal.SIGKILL)
        killed.set()

    with Farm(cluster) as farm:
        farm.load(program)
        thread = threading.Thread(target=kill)
        thread.start()
        found = farm.relax(**asked)
        thread.join()
    assert killed.is_set()
    same_readout(found, expected)


def test_the_commands_print_the_same(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edges.txt").write_text("0 1 1\n1 2 -1\n2 0 1\n")
    words = ["sample", "edges.txt", "--chains", "200", "--sweeps", "20", "--json", "--output"]
    for name, more in (("one.npz", []), ("two.npz", ["--cluster", "local:2"])):
        assert main([*words, name, *more]) == 0
    one, two = (np.load(name) for name in ("one.npz", "two.npz"))
    for name in ("spins", "energies", "best"):
        np.testing.assert_array_equal(one[name], two[name])
    capsys.readouterr()


def test_urls_that_lead_nowhere(capsys):
    for url, message in (("local:0", "local:N with N between 1 and 256"),
                         ("somewhere", "must be the URL of a scheduler")):
        with pytest.raises(SpecError, match=message):
            Cluster(url)
    assert main(["sample", "nowhere.txt", "--cluster", "tcp://127.0.0.1:9"]) in (4, 5)
    capsys.readouterr()


def test_a_dead_cluster_is_an_error(monkeypatch):
    monkeypatch.setattr("pbitstream.farm.cluster.TIMEOUT", 1)
    with pytest.raises(DeviceError, match="no cluster answers at tcp://127.0.0.1:9 within 1 s"):
        Cluster("tcp://127.0.0.1:9")


def test_a_study_on_workers_has_the_same_cells(cluster, tmp_path, monkeypatch):
    from functools import partial

    from pbitstream.farm.study import measured
    from pbitstream.study.run import run_topic
    from pbitstream.study.topics import open_topic

    topic = open_topic("mixing")
    points = topic.points()[1:2]
    with Emulator(threads=1) as emulator:
        here = run_topic(topic, emulator, points=points)
        there = run_topic(topic, emulator, points=points,
                          measure=partial(measured, cluster, "emulator:", "mixing"))
    assert json.dumps(here.to_dict()) == json.dumps(there.to_dict())

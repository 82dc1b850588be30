"""Commands with ``--cluster``: the same output as without, and codes for clusters that are none."""

import json

import numpy as np
import pytest

from pbitstream.cli import main
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError, SpecError
from pbitstream.farm import Cluster, device


@pytest.fixture
def edges(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edges.txt").write_text("0 1 1\n1 2 -1\n2 0 1\n")
    return "edges.txt"


def test_sample_prints_the_same(cluster, edges, capsys, monkeypatch):
    monkeypatch.setattr(device, "LEAST", 100)
    address = cluster._local.scheduler_address
    divided = []
    sizes_of = device.sizes_of
    monkeypatch.setattr(device, "sizes_of",
                        lambda *words: divided.append(sizes_of(*words)) or divided[-1])
    words = ["sample", edges, "--chains", "200", "--sweeps", "20", "--json", "--out"]
    for name, more in (("one.npz", []), ("two.npz", ["--cluster", address])):
        assert main([*words, name, *more]) == 0
    assert [2, 2] in divided
    one, two = (np.load(name) for name in ("one.npz", "two.npz"))
    for name in ("spins", "energies", "best"):
        np.testing.assert_array_equal(one[name], two[name])
    capsys.readouterr()


@pytest.mark.parametrize("url", [
    "local:0", "local:x", "somewhere", "foo://bar", "tcp://", "tcp://localhost",
    "tcp://localhost:abc", "tcp://localhost:0", "tcp://localhost:99999", "tcp://:8786"])
def test_urls_that_are_none(url, edges, capsys):
    with pytest.raises(SpecError, match=r"cluster must be .*local:N"):
        Cluster(url)
    assert main(["sample", edges, "--cluster", url]) == 2
    assert "cluster must be" in capsys.readouterr().err


def test_urls_that_lead_nowhere(edges, capsys, monkeypatch):
    monkeypatch.setattr("pbitstream.farm.cluster.TIMEOUT", 1)
    nowhere = "tcp://127.0.0.1:9"
    with pytest.raises(DeviceError, match=f"no cluster answers at {nowhere} within 1 s"):
        Cluster(nowhere)
    assert main(["sample", edges, "--cluster", nowhere]) == 4
    with pytest.raises(SpecError, match="needs certificates"):
        Cluster("tls://127.0.0.1:9")
    capsys.readouterr()


def test_a_simulator_on_local_workers_is_refused(cluster, edges, capsys):
    address = cluster._local.scheduler_address
    assert main(["sample", edges, "-d", "verilator:", "--cluster", address]) == 4
    assert "--resources board=1" in capsys.readouterr().err


def test_a_study_on_workers_has_the_same_cells(cluster, tmp_path, monkeypatch, capsys):
    """The front end of a cluster opens no device of its own."""
    from pbitstream.study.mixing import Mixing
    from pbitstream.study.run import run_topic

    points = Mixing().points()[1:2]
    monkeypatch.setattr(Mixing, "points", lambda self: points)
    with Emulator(threads=1) as emulator:
        here = run_topic(Mixing(), emulator)
    with pytest.raises(SpecError, match="device must be given where measure is not"):
        run_topic(Mixing())

    def closed(url: str) -> None:
        raise AssertionError(f"the front end opened {url}")

    monkeypatch.setattr("pbitstream.devices.registry.open_device", closed)
    monkeypatch.chdir(tmp_path)
    assert main(["study", "mixing", "--cluster", cluster._local.scheduler_address,
                 "--json"]) == 0
    there = json.loads(capsys.readouterr().out)
    assert there == {"device": "emulator:", **json.loads(json.dumps(here.to_dict()))}

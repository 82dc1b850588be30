"""Workers as processes: the same bits as one process, and what becomes of lost workers."""

import os
import signal

import numpy as np
import pytest

from pbitstream.devices.conformance import same_readout
from pbitstream.emulator.device import Emulator
from pbitstream.energy.counters import Counts
from pbitstream.errors import DeviceError, DeviceTimeoutError, SpecError
from pbitstream.farm import Farm, device, work
from pbitstream.farm.cluster import Cluster
from pbitstream.farm.task import code, packed, perform
from pbitstream.model import shipped
from pbitstream.program import Program


@pytest.fixture(scope="module")
def program():
    return Program.open(shipped("digits-k16.program"))


@pytest.fixture
def counted(cluster, monkeypatch):
    """Return a list that gets the number of tasks of every run of the cluster."""
    counts, run = [], cluster.run

    def counting(function, tasks, **named):
        tasks = list(tasks)
        counts.append(len(tasks))
        return run(function, tasks, **named)

    monkeypatch.setattr(cluster, "run", counting)
    return counts


def call(program: Program, steps: int) -> dict:
    rng = np.random.default_rng(1)
    held = sum(m.dim for m in program.topology.modules if m.clamped)
    return {"h": rng.normal(0, 0.3, (12, program.topology.units)), "steps": steps, "burn_in": 10,
            "seed": 4, "chains": 2, "moments": True,
            **({"clamp": rng.normal(0, 0.3, (12, held))} if held else {})}


def test_a_farm_is_a_device(cluster, program, counted, monkeypatch):
    monkeypatch.setattr(device, "LEAST", 100_000)
    monkeypatch.setattr(device, "TASK", 500_000)
    asked = call(program, 500)
    with Emulator(threads=1) as emulator, Farm(cluster) as farm:
        for one in (emulator, farm):
            one.load(program)
        same_readout(farm.relax(**asked), emulator.relax(**asked))
        assert 2 < counted[0] <= 12
        with pytest.raises(SpecError, match="steps must be between"):
            farm.relax(**{**asked, "steps": 0})
        farm.reset()
        with pytest.raises(DeviceError, match="no program is loaded"):
            farm.relax(**asked)


def test_a_farm_says_what_its_workers_are(cluster, program):
    from pbitstream.energy.ledger import Run

    with Emulator(threads=1) as emulator, Farm(cluster) as farm:
        for one in (emulator, farm):
            one.load(program)
        assert farm.info() == {**emulator.info(), "cluster": "local:2", "workers": 2}
        kind = farm.info()["kind"]
    assert Run("emulator:", kind, Counts(*(0,) * 5), 1.0).stand_in == "an emulator"


def test_killed_workers_lose_nothing(cluster, program, monkeypatch):
    """Both workers die, one after the other, while parts are known to be outstanding."""
    monkeypatch.setattr(device, "LEAST", 1_000_000)
    monkeypatch.setattr(device, "TASK", 1_000_000)
    asked = call(program, 20_000)
    with Emulator(threads=1) as emulator:
        emulator.load(program)
        expected = emulator.relax(**asked)
    run, outstanding = cluster.run, []
    victims = [nanny.pid for nanny in cluster._local.workers.values()]

    def killing(function, tasks, **named):
        tasks = list(tasks)
        for done, item in enumerate(run(function, tasks, **named), 1):
            if done in (1, 2):
                os.kill(victims[done - 1], signal.SIGKILL)
                outstanding.append(len(tasks) - done)
            yield item

    monkeypatch.setattr(cluster, "run", killing)
    with Farm(cluster) as farm:
        farm.load(program)
        found = farm.relax(**asked)
    assert outstanding == [11, 10]
    same_readout(found, expected)


def test_what_has_arrived_is_not_done_again(cluster, tmp_path):
    """The dead worker was running one task, and may not have heard yet that a result arrived."""
    count, begun = 16, tmp_path / "begun"
    begun.touch()
    # Workers do not find the tests' own functions.
    task = f"open({str(begun)!r}, 'a').write('x') and __import__('time').sleep(0.1)"
    arrived = {}
    for number, result in cluster.run(eval, [(f"{task} or {n}",) for n in range(count)]):
        arrived[number] = result
        if len(arrived) == 10:
            os.kill(next(iter(cluster._local.workers.values())).pid, signal.SIGKILL)
    assert arrived == {n: n for n in range(count)}
    assert count <= len(begun.read_text()) <= count + 2


def test_no_task_has_no_result(cluster):
    assert list(cluster.run(len, [])) == []


def test_a_call_too_large_for_a_warning_goes_in_silence(cluster):
    """Warnings are errors in tests."""
    words = [(bytes(11_000_000),)] * 2
    assert dict(cluster.run(len, words)) == {0: 11_000_000, 1: 11_000_000}


def test_what_is_kept_is_fetched_and_dropped(cluster):
    from pbitstream.farm.cluster import fetch

    name = cluster.keep(b"x" * 100)
    assert dict(cluster.run(fetch, [(name,)])) == {0: b"x" * 100}
    cluster.drop(name)


def test_other_code_is_refused(cluster, monkeypatch):
    spec, own = code()
    for asked in ((spec, "0" * 16), ("0" * 16, own)):
        with pytest.raises(DeviceError, match=f"spec {spec}, code {own}, not spec "
                                              f"{asked[0]}, code {asked[1]} as here"):
            perform(asked, packed(len, ("four",)))
    assert perform((spec, own), packed(len, ("four",))) == 4
    monkeypatch.setattr("pbitstream.farm.cluster.code", lambda: (spec, "f" * 16))
    with pytest.raises(DeviceError, match=f"code {own}, .* install the same version on both"):
        list(cluster.run(len, [("four",)]))


def late(_: int) -> None:
    raise DeviceTimeoutError("a board is late")


def test_what_a_device_raises_arrives(cluster):
    with pytest.raises(DeviceTimeoutError, match="a board is late"), cluster._lost():
        late(0)
    with pytest.raises(DeviceError, match="lacks nothing_of_that_name; install"):
        list(cluster.run(__import__, [("nothing_of_that_name",)]))


def test_a_device_needs_workers_with_boards(cluster, program, monkeypatch):
    with Farm(cluster, "verilator:") as farm:
        farm.load(program)
        for ask in (farm.info, lambda: farm.relax(**call(program, 10))):
            with pytest.raises(DeviceError, match=r"workers of local:N have none.* dask worker "
                                                  r"ADDRESS --nthreads 1 --resources board=1"):
                ask()
    offers = [{"nthreads": 1, "resources": {"board": count}} for count in (1, 2)]
    monkeypatch.setattr(cluster, "_workers", lambda: [*offers, {"nthreads": 4, "resources": {}}])
    assert (cluster.boards, cluster.threads, cluster.workers) == (3, 6, 3)


def test_a_board_gets_its_tasks():
    """One worker with a board; the device is an emulator that counts as one."""
    import distributed

    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False,
                                  resources={"board": 1}, protocol="tcp", host="127.0.0.1",
                                  dashboard_address=None) as local, \
            Cluster(local.scheduler_address) as cluster:
        assert cluster.boards == 1
        assert dict(cluster.run(len, [("four",), ("eleven",)], board=True)) == {0: 4, 1: 6}


class Claimed(Emulator):
    """A board of which there is one: opening it twice is an error."""

    open = 0

    def __init__(self) -> None:
        assert Claimed.open == 0
        Claimed.open = 1
        super().__init__(engine="numpy")

    def close(self) -> None:
        Claimed.open = 0
        super().close()


def test_a_worker_holds_one_board_at_a_time(monkeypatch):
    monkeypatch.setattr(work, "open_device", lambda url: Claimed())
    for url in ("serial:a", "serial:a", "serial:b"):
        assert work.device_info(url)["engine"] == "numpy"
        assert Claimed.open == 1
    with pytest.raises(DeviceError), work._bench("serial:b"):
        raise DeviceError("the link failed")
    assert Claimed.open == 0


def test_a_farm_waits_for_workers_that_are_replaced(cluster, program, monkeypatch):
    asked = call(program, 20_000)
    with Farm(cluster) as farm:
        farm.load(program)
        expected = farm.relax(**asked)
        monkeypatch.setattr(cluster, "_workers", list)
        assert farm.blocks > 0
        same_readout(farm.relax(**asked), expected)


@pytest.mark.parametrize(("updates", "chains", "group", "sizes"), [
    (1, 200, 64, [4]), (1, 200, 1, [200]),
    (300_000_000, 200, 1, [100, 100]), (300_000_000, 200, 64, [2, 2]), (300_000_000, 64, 64, [1]),
    (1_500_000_000, 200, 1, [100, 50, 25, 25]),
    (15_000_000_000, 1000, 1, [67] * 13 + [64, 32, 17, 16]),
    (15_000_000_000, 1000, 64, [5, 5, 3, 1, 1, 1]),
])
def test_work_is_divided_by_what_a_task_costs(cluster, updates, chains, group, sizes):
    """Two workers; the chains of an input, in groups that an emulator computes side by side."""

    class Asked:
        inputs, total_chains, h, burn_in, steps = 1, 1, np.zeros((1, 1)), 0, updates

    Asked.chains = chains
    farm = Farm(cluster)
    farm._group = group
    assert farm.sizes(Asked) == sizes


def test_a_board_gets_short_tasks_of_equal_length(cluster, monkeypatch):
    class Asked:
        inputs, chains = 50, 3

    monkeypatch.setattr(type(cluster), "boards", 2)
    assert Farm(cluster, "serial:x").sizes(Asked) == [3] * 16 + [2]

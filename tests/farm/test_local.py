"""Workers on this computer: Ctrl-C is not theirs, and what was started is ended."""

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from pbitstream.farm.local import local_cluster

pytest.importorskip("distributed")


#: Workers do not find the tests' own functions.
BLOCKED = "(s := __import__('signal')).SIGINT in s.pthread_sigmask(s.SIG_BLOCK, [])"
WARM = "'pbitstream.farm.warm' in __import__('sys').modules"


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="has no masks of signals")
def test_interrupts_do_not_reach_workers(cluster):
    """Nor one that replaces another; they reach this process."""

    def alive() -> set[int]:
        return {nanny.pid for nanny in cluster._local.workers.values() if nanny.pid}

    before, patience = alive(), time.monotonic() + 30
    os.kill(min(before), signal.SIGKILL)
    while not alive() - before and time.monotonic() < patience:
        time.sleep(0.01)
    assert alive() - before
    assert {result for _, result in cluster.run(eval, [(BLOCKED,)] * 6)} == {True}
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(sys.platform != "linux", reason="workers are not forked")
def test_workers_begin_warm(cluster):
    assert dict(cluster.run(eval, [(WARM,)])) == {0: True}


def test_an_interrupted_start_is_ended(monkeypatch):
    import distributed

    closed = []

    class Slow:
        def __init__(self, **words: object) -> None:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(distributed, "LocalCluster", Slow)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), local_cluster(2):
            raise AssertionError("the start was not interrupted")
    finally:
        signal.signal(signal.SIGINT, before)
    assert closed == [True]


def test_workers_start_where_nothing_can_be_prepared(monkeypatch):
    """The error is for the first task to tell."""
    from pbitstream.emulator import device
    from pbitstream.farm import warm

    def broken(*_: object) -> None:
        raise RuntimeError("no kernel compiles")

    monkeypatch.setattr(device.Emulator, "load", broken)
    with pytest.raises(RuntimeError, match="no kernel compiles"):
        warm.prepare()
    importlib.reload(warm)


def test_a_script_that_is_imported_by_its_own_workers_is_told(tmp_path):
    """Once, and not by every worker."""
    script = tmp_path / "unguarded.py"
    script.write_text("from pbitstream.farm import Cluster\nCluster('local:2')\n")
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert told.returncode == 1
    assert told.stderr.count("Traceback") == 1
    assert "DeviceError: local workers do not start" in told.stderr
    assert "__name__ == '__main__'" in told.stderr

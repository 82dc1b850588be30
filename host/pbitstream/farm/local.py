"""Workers on this computer, of one thread each; on Linux all are forked from one warm process."""

import multiprocessing
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

from pbitstream.errors import DeviceError

__all__ = ["local_cluster"]

#: Of Dask. Workers may die so often under one task before it is given up; one that is busy is given
#: no other task, as they are long and unlike. To watch workers as closely as Dask does takes a
#: tenth of two processors, and here nobody looks at what it finds.
SETTINGS = {
    "distributed.scheduler.allowed-failures": 10,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "1s",
}
#: Where a fork is safe: how workers begin, and what they then find imported.
FORKS = sys.platform == "linux"
METHOD = {"distributed.worker.multiprocessing-method": "forkserver"}
WARM = ["distributed.nanny", "pbitstream.farm.warm"]
#: How the names of its processes begin.
WORKER = "Dask Worker process"


@contextmanager
def local_cluster(count: int) -> Iterator[Any]:
    """Yield a Dask `LocalCluster` of `count` processes, each of them replaced when it dies.

    Ctrl-C reaches this process alone, which then ends the others; not before all have started.

    Raises
    ------
    DeviceError
        If they do not start, as where a script asks for them while it is imported.
    """
    # A worker that runs the script it was started by, as Python lets it; the starter says why not.
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False) and process.name.startswith(WORKER):
        raise SystemExit(1)

    import dask
    import distributed
    from distributed.gc import disable_gc_diagnosis
    from distributed.utils import get_mp_context

    # A replacement is started by these settings too.
    with dask.config.set({**SETTINGS, **(METHOD if FORKS else {})}):
        if FORKS:
            # Dask sets a list of its own the first time.
            get_mp_context()
            multiprocessing.get_context("forkserver").set_forkserver_preload(WARM)
        started: list[Any] = []

        def start() -> None:
            started.append(distributed.LocalCluster(
                n_workers=count, threads_per_worker=1, processes=True,
                dashboard_address="127.0.0.1:0", silence_logs=50))

        try:
            with ThreadPoolExecutor(1, initializer=_block_interrupts) as pool:
                try:
                    pool.submit(start).result()
                except RuntimeError as error:
                    raise DeviceError(
                        f"local workers do not start: {error.__cause__ or error}. They import the "
                        "script that asks for them, which must do so under "
                        "if __name__ == '__main__':") from None
            # Python drops an interrupt that arrives while it calls this.
            disable_gc_diagnosis(force=True)
            yield started[0]
        finally:
            for cluster in started:
                cluster.close()


def _block_interrupts() -> None:
    """Keep Ctrl-C from this thread and from all threads and processes that it starts."""
    if hasattr(signal, "pthread_sigmask"):
        # Which would let it through again once it has started.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

"""A Dask cluster by URL, and tasks on it that survive the loss of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from pbitstream.errors import DeviceError, MissingExtraError, SpecError

__all__ = ["BOARD", "Cluster"]

#: The resource that a worker offers per board: ``dask worker --resources board=1``.
BOARD = "board"
#: Seconds that a scheduler has to answer.
TIMEOUT = 10
#: Workers that may die under one task before it is given up.
DEATHS = 10


class Cluster:
    """A connection to a Dask scheduler; a context manager.

    A task whose worker dies is run again elsewhere. Tasks are pure functions of what they are
    given, so nothing shows in their results.

    Parameters
    ----------
    url
        Address of a scheduler, such as ``tcp://10.0.0.7:8786``, or ``local:N`` for N workers on
        this computer, each a process of one thread.

    Raises
    ------
    MissingExtraError
        If Dask distributed is not installed.
    SpecError
        If the URL is neither.
    DeviceError
        If no scheduler answers, or it has no worker.
    """

    def __init__(self, url: str) -> None:
        try:
            import dask
            import distributed
        except ImportError as error:
            raise MissingExtraError("a cluster needs Dask distributed, which is missing; "
                                    "pip install 'pbitstream[farm]'") from error
        self.url = url
        self._local: Any = None
        address = url
        if url.startswith("local:"):
            count = url.removeprefix("local:")
            if not count.isdecimal() or not 1 <= int(count) <= 256:
                raise SpecError(f"cluster must be local:N with N between 1 and 256, not {url!r}")
            with dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}):
                self._local = distributed.LocalCluster(
                    n_workers=int(count), threads_per_worker=1, processes=True,
                    dashboard_address="127.0.0.1:0", silence_logs=50)
            address = self._local.scheduler_address
        elif "://" not in url:
            raise SpecError("cluster must be the URL of a scheduler, such as tcp://10.0.0.7:8786, "
                            f"or local:N, not {url!r}")
        try:
            self._client: Any = distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
            if self.workers == 0:
                raise DeviceError(f"the cluster at {url} has no worker; start some with "
                                  f"dask worker {address}")
        except OSError as error:
            self._stop()
            raise DeviceError(f"no cluster answers at {url} within {TIMEOUT} s: start one with "
                              "dask scheduler, or use local:N") from error
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """Number of workers now."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def run(
        self,
        function: Callable[..., Any],
        tasks: Iterable[tuple[Any, ...]],
        *,
        board: bool = False,
    ) -> Iterator[tuple[int, Any]]:
        """Run a function on every tuple of arguments and yield (number, result) as they finish.

        Parameters
        ----------
        function
            Importable by name on the workers, pure.
        board
            Whether a task needs a board to itself.

        Raises
        ------
        DeviceError
            If the cluster is lost, or a task has lost too many workers.
        Exception
            What a task raised. Tasks that have not begun are cancelled.
        """
        import distributed

        resources = {BOARD: 1} if board else None
        with self._lost():
            futures = [self._client.submit(function, *task, pure=False, resources=resources)
                       for task in tasks]
        number = {future.key: index for index, future in enumerate(futures)}
        try:
            done = distributed.as_completed(futures, loop=self._client.loop, with_results=True)
            while True:
                with self._lost():
                    try:
                        future, result = next(done)
                    except StopIteration:
                        return
                yield number[future.key], result
        finally:
            for future in futures:
                if not future.done():
                    future.cancel()

    def close(self) -> None:
        """Let go of the scheduler, and stop the workers if they are our own."""
        client, self._client = getattr(self, "_client", None), None
        try:
            if client is not None:
                client.close()
        finally:
            self._stop()

    def __enter__(self) -> Cluster:
        """Return the cluster itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it."""
        self.close()

    def _stop(self) -> None:
        local, self._local = self._local, None
        if local is not None:
            local.close()

    @contextmanager
    def _lost(self) -> Iterator[None]:
        """Turn the ways in which a cluster can be lost into a DeviceError."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError

        try:
            yield
        except KilledWorker as error:
            raise DeviceError(f"a task lost {DEATHS} workers of the cluster at {self.url}; see "
                              f"their logs: {error}") from error
        except (CancelledError, FutureCancelledError, CommClosedError, TimeoutError) as error:
            raise DeviceError(f"the cluster at {self.url} was lost: {error!r}; what was done is "
                              "not kept, run again") from error

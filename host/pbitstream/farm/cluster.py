"""A Dask cluster by URL, and tasks on it that survive the loss of workers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from pbitstream.closing import Closing
from pbitstream.errors import DeviceError, MissingExtraError, SpecError
from pbitstream.farm.local import local_cluster
from pbitstream.farm.task import code, packed, perform

__all__ = ["BOARD", "Cluster", "fetch"]

#: The resource that a worker offers per board: ``dask worker --resources board=1``.
BOARD = "board"
#: Seconds that a scheduler has to answer.
TIMEOUT = 10
SCHEMES, ENCRYPTED = ("tcp", "tls", "ws", "wss"), ("tls", "wss")


class Cluster(Closing):
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
        count = _check(url)
        try:
            import distributed
        except ImportError as error:
            raise MissingExtraError("a cluster needs Dask distributed, which is missing; "
                                    "pip install 'pbitstream[farm]'") from error
        self.url = url
        self._local: Any = None
        self._stack = ExitStack()
        address = url
        if count:
            self._local = self._stack.enter_context(local_cluster(count))
            address = self._local.scheduler_address
        elif urlsplit(url).scheme in ENCRYPTED:
            words = distributed.Security().get_connection_args("client")
            if words.get("ssl_context") is None:
                raise SpecError(f"cluster {url} needs certificates: give them in Dask's settings "
                                "as distributed.comm.tls, or use tcp://")
        try:
            self._client: Any = distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
            if not self._workers():
                raise DeviceError(f"the cluster at {url} has no worker; start some with "
                                  f"dask worker {address} --nworkers auto --nthreads 1")
        except BaseException as error:
            # What went wrong first is what is told.
            with suppress(Exception):
                self.close()
            if isinstance(error, OSError) and not isinstance(error, DeviceError):
                raise DeviceError(f"no cluster answers at {url} within {TIMEOUT} s: start one with "
                                  "dask scheduler, or use local:N") from error
            raise

    @property
    def workers(self) -> int:
        """Number of workers now."""
        return len(self._workers())

    @property
    def threads(self) -> int:
        """Number of tasks that workers now run at once."""
        return sum(worker["nthreads"] for worker in self._workers())

    @property
    def boards(self) -> int:
        """Number of boards that workers now offer.

        Raises
        ------
        DeviceError
            If there is none: a task that needs one would wait for ever.
        """
        count = int(sum(worker["resources"].get(BOARD, 0) for worker in self._workers()))
        if count == 0:
            why = "the workers of local:N have none" if self._local else "no worker offers one"
            raise DeviceError(f"every device but the emulator needs a worker with a board, and at "
                              f"{self.url} {why}; start one where a board is, with "
                              f"dask worker ADDRESS --nthreads 1 --resources {BOARD}=1")
        return count

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
            If the cluster is lost, a task has lost too many workers, a worker's pbitstream is
            another than this, or no worker has a board.
        Exception
            What a task raised. Tasks that have not begun are cancelled.
        """
        import distributed

        with self._lost():
            resources = {BOARD: 1} if board and self.boards else None
        futures: list[Any] = []
        try:
            with self._lost(), warnings.catch_warnings():
                # Of states, which are not the same in any two tasks.
                warnings.filterwarnings("ignore", "Sending large graph")
                calls = [packed(function, task) for task in tasks]
                futures += self._client.map(perform, [code()] * len(calls), calls, pure=False,
                                            resources=resources)
            number = {future.key: index for index, future in enumerate(futures)}
            done = distributed.as_completed(futures, loop=self._client.loop, with_results=True)
            while True:
                with self._lost():
                    try:
                        future, result = next(done)
                    except StopIteration:
                        return
                # A worker keeps what is wanted, and its death would mean to do that once more.
                future.release()
                yield number[future.key], result
        finally:
            for future in futures:
                if not future.done():
                    future.cancel()

    def keep(self, value: bytes) -> str:
        """Leave bytes with the scheduler and return their name, by which tasks :func:`fetch` them.

        They outlive all workers, and are gone when dropped.
        """
        import distributed

        with self._lost():
            variable = distributed.Variable(client=self._client)
            variable.set(value)
        return str(variable.name)

    def drop(self, name: str) -> None:
        """Let the scheduler forget what was kept; nothing happens where the cluster is gone."""
        import distributed

        if self._client is not None:
            distributed.Variable(name, client=self._client).delete()

    def close(self) -> None:
        """Let go of the scheduler, and stop the workers if they are our own."""
        client, self._client = getattr(self, "_client", None), None
        try:
            if client is not None:
                client.close()
        finally:
            self._local = None
            self._stack.close()

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    @contextmanager
    def _lost(self) -> Iterator[None]:
        """Turn the ways in which a cluster can be lost into a DeviceError."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError

        try:
            yield
        except DeviceError:
            raise
        except KilledWorker as error:
            raise DeviceError(f"workers of the cluster at {self.url} die under a task; see their "
                              f"logs: {error}") from error
        except ModuleNotFoundError as error:
            raise DeviceError(f"a worker of the cluster at {self.url} lacks {error.name}; install "
                              "there what is installed here") from error
        except (CancelledError, FutureCancelledError, CommClosedError, TimeoutError) as error:
            raise DeviceError(f"the cluster at {self.url} was lost: {error!r}; what was done is "
                              "not kept, run again") from error


def fetch(name: str) -> bytes:
    """Return what was kept under a name; for tasks."""
    import distributed

    found: bytes = distributed.Variable(name).get(timeout=TIMEOUT)
    return found


def _check(url: str) -> int:
    """Return how many local workers a URL asks for, 0 if it is an address; SpecError if neither."""
    if url.startswith("local:"):
        count = url.removeprefix("local:")
        if not count.isdecimal() or not 1 <= int(count) <= 256:
            raise SpecError(f"cluster must be local:N with N between 1 and 256, not {url!r}")
        return int(count)
    try:
        parts = urlsplit(url)
        known = parts.scheme in SCHEMES and parts.hostname and parts.port
    except ValueError:
        known = False
    if not known:
        raise SpecError(f"cluster must be the URL of a scheduler, such as tcp://10.0.0.7:8786 "
                        f"({', '.join(SCHEMES)}), or local:N, not {url!r}")
    return 0

"""A cluster as a device: every relaxation in parts, one worker each."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pbitstream.devices.call import prepare
from pbitstream.devices.protocol import Readout
from pbitstream.errors import DeviceError, SpecError
from pbitstream.farm.cluster import Cluster
from pbitstream.farm.split import join, parts_of, split
from pbitstream.farm.work import is_board, relax_part, worker_url
from pbitstream.program import Program
from pbitstream.spec import spec_digest

__all__ = ["Farm"]

#: Unit updates that are worth a task of their own on an emulator: half a second or so.
TASK = 200_000_000
#: Tasks per worker into which a call on boards is divided, so that none waits long for the last.
TASKS_PER_BOARD = 8


class Farm:
    """Devices of one kind on a cluster; implements `pbitstream.devices.protocol.Device`.

    Parameters
    ----------
    cluster
        What runs the parts; whoever gives it closes it.
    url
        The device that every worker opens for itself. Anything but an emulator counts as a board:
        a part then waits for a worker's resource ``board``.
    """

    def __init__(self, cluster: Cluster, url: str = "emulator:") -> None:
        self.cluster = cluster
        self.url, self.board = worker_url(url), is_board(url)
        self.program: Program | None = None
        self._force = False

    def load(self, program: Program, *, force: bool = False) -> None:
        """Keep a program for the workers, which load it with their first part."""
        if not isinstance(program, Program):
            raise SpecError(f"program must be a Program, not a {type(program).__name__}; "
                            "build() one, or Program.open a file")
        program.check(force=force)
        self.program, self._force = program, force

    def relax(self, h: ArrayLike, **arguments: Any) -> Readout:
        """Relax in parts and return what one device would, bit for bit; see `Device.relax`.

        The cost beside the parts is their arguments and readouts over the network.
        """
        if self.program is None:
            raise DeviceError("no program is loaded; call load first")
        call = prepare(self.program, h, **arguments)
        arrays = {name: np.asarray(arguments[name], np.float64) for name in ("clamp", "gains")
                  if arguments.get(name) is not None}
        whole = {**arguments, **arrays, "h": np.asarray(h, np.float64)}
        updates = call.total_chains * self.program.topology.units * (call.burn_in + call.steps)
        wanted = TASKS_PER_BOARD * self.cluster.workers if self.board else -(-updates // TASK)
        count = max(1, min(parts_of(call.inputs, call.chains), wanted))
        parts = split(whole, call.inputs, call.chains, count)
        readouts: dict[int, Readout] = dict(self.cluster.run(
            relax_part, [(self.url, self.program, self._force, part) for part in parts],
            board=self.board))
        return join([readouts[number] for number in range(count)], call.inputs)

    def info(self) -> dict[str, Any]:
        """Return what this device is, as plain data."""
        return {
            "device": "farm",
            "kind": f"{self.url} on every worker of a cluster",
            "cluster": self.cluster.url,
            "workers": self.cluster.workers,
            "spec_digest": spec_digest(),
            "program_digest": None if self.program is None else self.program.digest,
        }

    def reset(self) -> None:
        """Forget the program."""
        self.program = None

    def close(self) -> None:
        """Forget the program; the cluster is its owner's."""
        self.reset()

    def __enter__(self) -> Farm:
        """Return the device itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the device."""
        self.close()

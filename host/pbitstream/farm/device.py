"""A cluster as a device: every relaxation in parts, one worker each."""

# Keeps ArrayLike short in help().
from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pbitstream.closing import Closing
from pbitstream.devices.call import Call, prepare
from pbitstream.devices.protocol import Readout
from pbitstream.emulator.pbit_plan import qualifies
from pbitstream.errors import DeviceError, SpecError
from pbitstream.farm.cluster import Cluster
from pbitstream.farm.split import join, pieces_of, sizes_of, split
from pbitstream.farm.work import device_info, is_board, relax_part, worker_url
from pbitstream.program import Program

__all__ = ["Farm"]

#: Unit updates of the longest tasks on an emulator: half a second or more.
TASK = 1_000_000_000
#: How many times shorter the last tasks of a call are, so that none is waited for.
SHORTER = 4
#: Unit updates below which a task costs more than it spares.
LEAST = 50_000_000
#: Chains that an emulator of p-bits may compute side by side, and how much faster it is then.
GROUP, GROUP_SPEED = 64, 5
#: Blocks of work per device of one call of a sampler, as readouts are large: seconds.
BLOCKS = 4
#: Tasks per worker into which a call on boards is divided, so that none waits long for the last.
TASKS_PER_BOARD = 8


class Farm(Closing):
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
        #: Name of the program on the cluster, once it is there.
        self._kept: str | None = None
        self._group = 1

    def load(self, program: Program, *, force: bool = False) -> None:
        """Keep a program for the workers, which load it with their first part."""
        if not isinstance(program, Program):
            raise SpecError(f"program must be a Program, not a {type(program).__name__}; "
                            "build() one, or Program.open a file")
        program.check(force=force)
        self.reset()
        self.program, self._force = program, force
        self._group = GROUP if qualifies(program.topology) and not self.board else 1

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
        if self._kept is None:
            self._kept = self.cluster.keep(pickle.dumps(self.program))
        sizes = self.sizes(call)
        shared = self.url, self._kept, self.program.digest, self._force
        readouts: dict[int, Readout] = dict(self.cluster.run(
            relax_part, [(*shared, part) for part in split(whole, call.inputs, call.chains, sizes,
                                                           self._group)],
            board=self.board))
        return join([readouts[number] for number in range(len(sizes))], call.inputs)

    def sizes(self, call: Call) -> list[int]:
        """Return the sizes of the tasks that a call is divided into, in pieces; see `split`."""
        pieces = pieces_of(call.inputs, call.chains, self._group)
        if self.board:
            even = max(1, pieces // (TASKS_PER_BOARD * self._devices))
            return sizes_of(pieces, self._devices, even, even)
        work = call.total_chains * call.h.shape[1] * (call.burn_in + call.steps) / self._speed
        worth = math.ceil(work / LEAST)
        if worth == 1:
            return [pieces]
        devices = self._devices
        short, most = (max(1, round(size * pieces / work)) for size in (TASK / SHORTER, TASK))
        # The last tasks are short, and equally many for every device where a call has no others.
        share = pieces / min(worth, devices)
        return sizes_of(pieces, devices, max(1, round(share / math.ceil(share / short))), most)

    @property
    def blocks(self) -> int:
        """How many times the work of a call to a single device a call may hold."""
        return BLOCKS * self._speed * self._devices

    def info(self) -> dict[str, Any]:
        """Return what a worker's device says of itself, and the cluster, as plain data."""
        (_, found), = self.cluster.run(device_info, [(self.url,)], board=self.board)
        return {
            **found,
            "program_digest": None if self.program is None else self.program.digest,
            "cluster": self.cluster.url,
            "workers": self._devices if self.board else self.cluster.workers,
        }

    def reset(self) -> None:
        """Forget the program."""
        self.program = None
        kept, self._kept = self._kept, None
        if kept is not None:
            self.cluster.drop(kept)

    def close(self) -> None:
        """Forget the program; the cluster is its owner's."""
        self.reset()

    @property
    def _devices(self) -> int:
        """How many parts can run at once; at least one, as workers that died are replaced."""
        return self.cluster.boards if self.board else max(1, self.cluster.threads)

    @property
    def _speed(self) -> int:
        """How many times faster the program runs than one whose chains run one by one."""
        return GROUP_SPEED if self._group > 1 else 1

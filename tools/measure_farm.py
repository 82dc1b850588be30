"""What a farm costs: a relaxation here, on local workers, and on workers that are killed.

    python tools/measure_farm.py --workers 4 --kill 0.05

Interleaved rounds; ratios of their medians. Every run must give the same bytes.
"""

import argparse
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pbitstream.devices.call import prepare
from pbitstream.devices.conformance import same_readout
from pbitstream.devices.protocol import Readout
from pbitstream.emulator.device import Emulator
from pbitstream.farm import Cluster, Farm
from pbitstream.model import shipped
from pbitstream.program import Program

#: Five seconds on two processors of today.
STEPS, INPUTS = 150_000, 512


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill", type=float, default=0.05, help="share of tasks that are killed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    program = Program.open(shipped("digits-k16.program"))
    rng = np.random.default_rng(arguments.seed)
    held = sum(m.dim for m in program.topology.modules if m.clamped)
    call: dict[str, Any] = {
        "h": rng.normal(0, 0.3, (INPUTS, program.topology.units)), "steps": STEPS, "burn_in": 64,
        "seed": arguments.seed, **({"clamp": rng.normal(0, 0.3, (INPUTS, held))} if held else {})}
    killer, tasks = Killer(arguments.kill, arguments.seed), 0
    seconds: dict[str, list[float]] = {"here": [], "farm": [], "farm, workers killed": []}

    def timed(name: str, run: Callable[..., Readout]) -> float:
        began = time.perf_counter()
        found = run(**call)
        seconds[name].append(time.perf_counter() - began)
        same_readout(found, expected)
        return seconds[name][-1]

    with Emulator() as here:
        here.load(program)
        expected = here.relax(**call)
        for _ in range(arguments.rounds):
            # With no cluster about, which takes time even when it waits.
            timed("here", here.relax)
            with Cluster(f"local:{arguments.workers}") as cluster, Farm(cluster) as farm:
                farm.load(program)
                tasks = len(farm.sizes(prepare(program, **call)))
                same_readout(farm.relax(**call), expected)
                undisturbed = timed("farm", farm.relax)
                with killer.beside(cluster, tasks, undisturbed):
                    timed("farm, workers killed", farm.relax)
    base = statistics.median(seconds["here"])
    print(f"{tasks} tasks of {base * here.threads / tasks:.2f} core seconds on average, "
          f"{arguments.workers} workers; killed {killer.killed} of {tasks * arguments.rounds}")
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"{name:22} {middle:6.2f} s  {100 * (middle / base - 1):+6.1f} %")
    print("every run gave the same bytes")
    return 0


class Killer:
    """Kills busy workers at even distances of time, as many as a share of all tasks."""

    def __init__(self, share: float, seed: int) -> None:
        self.share = share
        self.random = random.Random(seed)
        self.killed = 0
        #: Kills that are due, of which whole ones are carried out.
        self.due = self.random.random()

    @contextmanager
    def beside(self, cluster: Cluster, tasks: int, seconds: float) -> Iterator[None]:
        """Kill workers while a call of so many tasks runs, which takes so long undisturbed."""
        rate = self.share * tasks / seconds
        began, ended = time.perf_counter(), threading.Event()

        def kill() -> None:
            while not ended.wait(began + (self.killed + 1 - self.due) / rate - time.perf_counter()):
                workers = cluster._local.scheduler.workers
                busy = [nanny.pid for nanny in list(cluster._local.workers.values())
                        if nanny.worker_address in workers
                        and workers[nanny.worker_address].processing]
                if busy:
                    os.kill(self.random.choice(busy), signal.SIGKILL)
                    self.killed += 1
                else:
                    break

        thread = threading.Thread(target=kill)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.due += rate * (time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(main())

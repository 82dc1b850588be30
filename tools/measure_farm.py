"""What a farm costs: a relaxation here, on local workers, and on workers that are killed.

    python tools/measure_farm.py --workers 4 --kill 0.05

Interleaved rounds; ratios of their medians. Every run must give the same bytes.
"""

import argparse
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pbitstream.devices.conformance import same_readout
from pbitstream.emulator.device import Emulator
from pbitstream.farm import Cluster, Farm, device
from pbitstream.model import shipped
from pbitstream.program import Program

#: Steps that make a task of 32 inputs last half a second or more.
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
    device.TASK = program.topology.units * STEPS * 32
    with Emulator() as here, Cluster(f"local:{arguments.workers}") as cluster, \
            Farm(cluster) as farm:
        here.load(program)
        farm.load(program)
        expected = here.relax(**call)
        same_readout(farm.relax(**call), expected)
        killer = Killer(cluster, arguments.kill, arguments.seed)
        cases: dict[str, Callable[[], Any]] = {
            "here": lambda: here.relax(**call),
            "farm": lambda: farm.relax(**call),
            "farm, workers killed": lambda: killer.around(lambda: farm.relax(**call)),
        }
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(arguments.rounds):
            for name, run in cases.items():
                began = time.perf_counter()
                same_readout(run(), expected)
                seconds[name].append(time.perf_counter() - began)
    base = statistics.median(seconds["here"])
    print(f"{INPUTS // 32} tasks of {base * 2 / (INPUTS // 32):.2f} core seconds on "
          f"{arguments.workers} workers; {killer.killed} of {killer.tasks} tasks were killed")
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"{name:22} {middle:6.2f} s  {100 * (middle / base - 1):+6.1f} %")
    print("every run gave the same bytes")
    return 0


class Killer:
    """Kills a busy worker for a share of the tasks."""

    def __init__(self, cluster: Cluster, share: float, seed: int) -> None:
        self.cluster, self.share = cluster, share
        self.random = random.Random(seed)
        self.killed = self.tasks = 0

    def around(self, run: Callable[[], Any]) -> Any:
        """Run with a hook on every finished task."""
        ask = self.cluster.run

        def watched(*words: Any, **named: Any) -> Any:
            for item in ask(*words, **named):
                self.tasks += 1
                if self.random.random() < self.share:
                    nannies = list(self.cluster._local.workers.values())
                    os.kill(self.random.choice(nannies).pid, signal.SIGKILL)
                    self.killed += 1
                yield item

        self.cluster.run = watched  # type: ignore[method-assign]
        try:
            return run()
        finally:
            self.cluster.run = ask  # type: ignore[method-assign]


if __name__ == "__main__":
    raise SystemExit(main())

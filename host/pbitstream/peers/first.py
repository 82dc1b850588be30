"""How long a first sample takes in a fresh process, after the import of what makes it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from pbitstream.peers.contestant import OURS, missing
from pbitstream.peers.rounds import Report

__all__ = ["first_sample", "first_samples"]

#: What is imported before the clock starts, and one sweep of the grid of the rows.
IMPORTS = {
    OURS: "import pbitstream",
    "THRML": "import jax, thrml, thrml.models",
    "dwave-samplers": "import dimod, dwave.samplers",
    "ferrotherm": "import ferrotherm",
}
CODE = """
import time
import numpy
{imports}
began = time.perf_counter()
from pbitstream.peers.first import first_sample
first_sample({system!r})
print(time.perf_counter() - began)
"""


def first_sample(system: str) -> None:
    """Build the grid for a system and sweep one chain of it."""
    from pbitstream.peers.problems import grid_task

    task = grid_task()
    if system == OURS:
        from pbitstream.peers.ours import OurIsing as Chains
    elif system == "THRML":
        from pbitstream.peers.thrml_chains import ThrmlChains as Chains  # type: ignore[assignment]
    elif system == "dwave-samplers":
        from pbitstream.peers.dwave_chains import DwaveChains as Chains  # type: ignore[assignment]
    else:
        from pbitstream.peers.ferrotherm_chain import (  # type: ignore[assignment]
            FerrothermChain as Chains,
        )
    contestant = Chains(task, 1)
    contestant.run(contestant.block)
    contestant.figures()


def first_samples(rounds: int, report: Report) -> dict[str, list[float]]:
    """Return seconds by system, ours with an empty and a filled kernel cache; rounds interleaved.

    Lowering the problem to our integers is part of everyone's time: a tenth of a second or so.
    """
    found: dict[str, list[float]] = {f"{OURS}, cold": [], f"{OURS}, warm": []}
    peers = [system for system in IMPORTS if system != OURS and not missing(system)]
    found.update({system: [] for system in peers})
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            cases: list[tuple[str, Callable[[], float]]] = [
                (f"{OURS}, cold", lambda: _seconds(OURS, NUMBA_CACHE_DIR=cache)),
                (f"{OURS}, warm", lambda: _seconds(OURS, NUMBA_CACHE_DIR=cache)),
                *((system, lambda system=system: _seconds(system)) for system in peers),
            ]
            for name, once in cases:
                report(f"first sample: {name}", turn, rounds)
                found[name].append(once())
    return found


def _seconds(system: str, **environment: str) -> float:
    code = CODE.format(imports=IMPORTS[system], system=system)
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True,
                          stdout=subprocess.PIPE, env={**os.environ, **environment})
    return float(done.stdout)

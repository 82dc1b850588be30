"""Which engines of the emulator a test can run, and programs drawn from a seed."""

from importlib.util import find_spec
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pbitstream.devices.protocol import Readout
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.program import Program

HAS_NUMBA = bool(find_spec("numba")) and bool(find_spec("pbitstream.emulator.compiled"))
FAST_ENGINES = ["numpy", "numba"] if HAS_NUMBA else ["numpy"]
ENGINES = ["oracle", *FAST_ENGINES]

#: Seed and largest module; a failure shrinks towards few small modules of a small seed.
draws = st.tuples(st.integers(0, 10_000), st.sampled_from([3, 16, 130, 640]))


def seeded(examples: int) -> settings:
    """Return hypothesis settings of so many examples, the same ones in every run."""
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, print_blob=False,
        suppress_health_check=[HealthCheck.too_slow],
    )


def drawn(draw: tuple[int, int]) -> tuple[Program, dict[str, Any]]:
    """Return the program and the call of a draw."""
    seed, max_dim = draw
    rng = np.random.default_rng(seed)
    program = random_program(rng, max_dim=max_dim)
    return program, random_call(program, rng, max_rows=3)


def run(
    program: Program, call: dict[str, Any], engine: str, threads: int | None = None
) -> Readout:
    """Relax on one engine."""
    with Emulator(engine=engine, threads=threads) as device:
        device.load(program, force=True)
        return device.relax(**call)

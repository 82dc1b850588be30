"""What ``pbitstream bench`` measures, without a word on a screen.

Rates come from rounds that run every case once, so that a slow spell of the machine hits all of
them, and ratios are formed within a round. Everything runs on one thread.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pbitstream.program import Program

__all__ = ["Case", "Rate", "cases", "hold_to_one_thread", "memory", "rates", "start_times"]

#: Environment variables that hold BLAS to one thread, if set before NumPy is imported.
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
                    "VECLIB_MAXIMUM_THREADS")
GEMM_SIZE = 512
#: Modules of 128 units, and the pairs that banks of rank 16 join.
MODULES, DIM, RANK = 6, 128, 16
PAIRS = ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5), (0, 3), (1, 4))
#: Floating-point operations of a unit update: 85.3 multiply-accumulates in the banks.
FLOP_PER_UPDATE = 2 * len(PAIRS) * 2 * RANK * 2 * DIM / (MODULES * DIM)
SIDE = 64
#: Chains whose peak memory is compared.
MEMORY_CHAINS = (256, 1024, 4096)

FIRST_RESULT = """
import numpy as np
from pbitstream import Emulator, Program
from pbitstream.model import shipped
program = Program.open(shipped("ring-5"))
with Emulator(threads=1) as device:
    device.load(program)
    device.relax(np.zeros((1, program.topology.units)), steps=1, seed=0)
"""
PEAK_MEMORY = """
import sys
import numpy as np
from pbitstream import Emulator
from pbitstream.cli.measure import langevin_program, peak_bytes
program = langevin_program()
with Emulator(threads=1) as device:
    device.load(program)
    device.relax(np.zeros((1, program.topology.units)), steps=2, seed=0, chains=int(sys.argv[1]))
print(peak_bytes())
"""


@dataclass(frozen=True)
class Case:
    """One thing to time: `run(steps)` makes `work` operations or unit updates per step."""

    name: str
    engine: str
    units: int
    chains: int
    work: float
    run: Callable[[int], None]


@dataclass(frozen=True)
class Rate:
    """Operations or updates per second, one per round."""

    case: Case
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median over rounds."""
        return median(self.rounds)

    def over(self, other: "Rate") -> float:
        """Return the median over rounds of this rate divided by another of the same round."""
        return median([a / b for a, b in zip(self.rounds, other.rounds)])


def median(values: Any) -> float:
    """Return the median of some numbers."""
    import statistics

    return float(statistics.median(values))


def hold_to_one_thread() -> str:
    """Hold BLAS to one thread and say how; the environment works only before NumPy's import."""
    if "numpy" not in sys.modules:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
        return "one thread, by the environment"
    if find_spec("threadpoolctl"):
        import_module("threadpoolctl").threadpool_limits(1)
        return "one thread, by threadpoolctl"
    if os.environ.get("OPENBLAS_NUM_THREADS") == "1" or os.environ.get("OMP_NUM_THREADS") == "1":
        return "one thread, by the environment"
    return "unknown: set OPENBLAS_NUM_THREADS=1 before the start"


def langevin_program() -> "Program":
    """Return 6 modules of 128 Langevin units with cubic terms, and 8 banks of rank 16."""
    import numpy as np

    from pbitstream.compiler.builder import ProgramBuilder

    rng = np.random.default_rng(0)
    builder = ProgramBuilder(dt_shift=4)
    for index in range(MODULES):
        builder.langevin(f"m{index}", DIM, k2=1.0, k4=0.25, x_max=2.0)
    for source, target in PAIRS:
        a, b = (rng.standard_normal((DIM, RANK)) / np.sqrt(DIM) for _ in range(2))
        builder.low_rank(source, target, a, b, np.full(RANK, 0.1))
    return builder.build()


def torus_program() -> "Program":
    """Return a 64 x 64 Ising torus near criticality: two checkerboard modules, one band bank.

    Site (r, c) is unit 32 r + c // 2 of module (r + c) % 2; periodic edges are further offsets.
    """
    import numpy as np

    from pbitstream.compiler.builder import ProgramBuilder

    half = SIDE // 2
    row, place = np.divmod(np.arange(SIDE * half), half)
    weights: dict[int, NDArray[np.float64]] = {0: np.ones(SIDE * half)}
    for step, edge, rows in ((-1, 0, row % 2 == 0), (1, half - 1, row % 2 == 1)):
        weights[step] = (rows & (place != edge)).astype(np.float64)
        weights[-step * (half - 1)] = (rows & (place == edge)).astype(np.float64)
    for offset, inside in ((-half, row > 0), (half, row < SIDE - 1)):
        weights[offset] = inside.astype(np.float64)
        across = offset - SIDE * half if offset > 0 else offset + SIDE * half
        weights[across] = (~inside).astype(np.float64)
    builder = ProgramBuilder()
    black, white = (builder.pbit(name, SIDE * half, beta=1.0) for name in ("black", "white"))
    builder.band(white, black, {offset: 0.40625 * w for offset, w in weights.items()})
    return builder.build()


def cases() -> list[Case]:
    """Return the cases of this machine, the matrix product first."""
    langevin, torus = langevin_program(), torus_program()
    made = [_gemm()]
    engines = ("numba", "numpy") if find_spec("numba") else ("numpy",)
    for engine in engines:
        made.append(_relaxation("Langevin 6 x 128", langevin, engine, 64))
        if engine == engines[0]:
            made.append(_relaxation("Langevin 6 x 128", langevin, engine, 1))
            made.append(_relaxation("p-bit torus 64 x 64", torus, engine, 64))
            made.append(_relaxation("p-bit torus 64 x 64", torus, engine, 1))
    return made


def _gemm() -> Case:
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, GEMM_SIZE, GEMM_SIZE))
    out = np.empty_like(a)

    def run(steps: int) -> None:
        for _ in range(steps):
            np.matmul(a, b, out=out)

    return Case(f"float64 GEMM {GEMM_SIZE}", "BLAS", 0, 0, 2.0 * GEMM_SIZE**3, run)


def _relaxation(name: str, program: "Program", engine: str, chains: int) -> Case:
    import numpy as np

    from pbitstream.emulator.device import Emulator

    device = Emulator(engine=engine, threads=1)
    device.load(program)
    units = program.topology.units
    h = np.zeros((1, units))

    def run(steps: int) -> None:
        device.relax(h, steps=steps, seed=1, chains=chains)

    return Case(name, engine, units, chains, float(units * chains), run)


def rates(
    found: list[Case],
    *,
    rounds: int,
    seconds: float,
    report: Callable[[str, int, int], None] | None = None,
) -> list[Rate]:
    """Return the rate of every case in every round; each run takes about `seconds`."""
    tell = report or (lambda what, done, total: None)
    total = (rounds + 1) * len(found)
    steps, times = [], [[0.0] * rounds for _ in found]
    for number, case in enumerate(found):
        tell(f"warm up: {case.name}", number, total)
        case.run(1)
        count, taken = 1, 0.0
        while taken < 0.2 * seconds and count < 1 << 22:
            count *= 2
            taken = _timed(case, count)
        steps.append(max(1, round(count * seconds / max(taken, 1e-9))))
    for turn in range(rounds):
        for number, case in enumerate(found):
            tell(f"round {turn + 1}: {case.name}", (turn + 1) * len(found) + number, total)
            times[number][turn] = _timed(case, steps[number])
    return [Rate(case, tuple(case.work * count / t for t in taken))
            for case, count, taken in zip(found, steps, times)]


def _timed(case: Case, steps: int) -> float:
    began = time.perf_counter()
    case.run(steps)
    return time.perf_counter() - began


def start_times(
    rounds: int, report: Callable[[str, int, int], None] | None = None
) -> dict[str, list[float]]:
    """Return seconds from process start to a first result, with empty and filled kernel cache."""
    tell = report or (lambda what, done, total: None)
    found: dict[str, list[float]] = {"cold": [], "warm": []}
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as cache:
            for kind, seconds in found.items():
                tell(f"first result, {kind} cache", turn, rounds)
                began = time.perf_counter()
                _python(FIRST_RESULT, NUMBA_CACHE_DIR=cache)
                seconds.append(time.perf_counter() - began)
    return found


def memory(report: Callable[[str, int, int], None] | None = None) -> dict[int, int]:
    """Return the peak memory, in bytes, of processes that relax so many chains of 768 units."""
    tell = report or (lambda what, done, total: None)
    found = {}
    for number, chains in enumerate(MEMORY_CHAINS):
        tell("peak memory", number, len(MEMORY_CHAINS))
        found[chains] = int(_python(PEAK_MEMORY, str(chains)))
    return found


def peak_bytes() -> int:
    """Return the peak resident memory of this process."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            peak = next(line for line in file if line.startswith("VmHWM:"))
        return int(peak.split()[1]) * 1024
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, text=True,
                          stdout=subprocess.PIPE, env={**os.environ, **environment})
    return done.stdout

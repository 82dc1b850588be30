"""The emulator as a device: the integers of numerics, bit for bit, on this computer."""

# Keeps ArrayLike short in help().
from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pbitstream.closing import Closing
from pbitstream.devices.call import Call, Sums, prepare, to_readout
from pbitstream.devices.protocol import Device, Readout, State
from pbitstream.emulator import oracle
from pbitstream.emulator.batched import relax_batch
from pbitstream.emulator.dense import supports
from pbitstream.emulator.noise import reset_spins, seed_streams
from pbitstream.emulator.pbit_plan import qualifies
from pbitstream.errors import DeviceError, MissingExtraError, SpecError
from pbitstream.program import Program
from pbitstream.spec import spec_digest
from pbitstream.spec.words import EXPOSED, STATE

__all__ = ["ENGINES", "Emulator", "initial_state", "open_emulator"]

#: How the same bits are computed: compiled, NumPy over all chains, or plain integers.
ENGINES = ("numba", "numpy", "oracle")
#: What `info` says of the engine that runs where numba is absent.
SLOWER = "without numba: the same bits, about 10 times slower, 200 times for one chain"


class Emulator(Closing):
    """Bit-exact software device; implements `pbitstream.devices.protocol.Device`.

    Compiled, chains run in blocks of 8; or 64 at a time, where the free modules are all of p-bits
    in bands and sparse banks, and chains are enough: 3 of an input on each thread for couplings
    +-J, 20 for any weights, 4 for dense ones between small modules. Unless weights are dense, no
    field may reach the limit of its 18 bits then. The bits are the same; see
    `pbitstream.emulator.grouped`.

    Parameters
    ----------
    engine
        ``numba`` (compiled; the default where numba is installed), ``numpy`` (the same bits, some
        ten times slower) or ``oracle`` (plain Python integers, for tests).
    threads
        Threads over chains of the compiled engine; by default one per processor.
    """

    def __init__(self, *, engine: str | None = None, threads: int | None = None) -> None:
        compiled = find_spec("numba") is not None
        if engine is None:
            engine = "numba" if compiled else "numpy"
        if engine not in ENGINES:
            raise SpecError(f"engine must be one of {', '.join(ENGINES)}, not {engine}")
        if engine == "numba" and not compiled:
            raise MissingExtraError("engine numba needs numba, which is missing; pip install numba")
        if threads is not None and threads < 1:
            raise SpecError(f"threads must be at least 1, not {threads}")
        self.engine = engine
        self.threads = threads or _processors()
        self.program: Program | None = None
        self._run: Callable[[Call], Sums] | None = None

    def load(self, program: Program, *, force: bool = False) -> None:
        """Load a program; see `Device.load`. Cost: O(tables), and eigenvalues for the margins."""
        if not isinstance(program, Program):
            raise SpecError(f"program must be a Program, not a {type(program).__name__}; "
                            "build() one, or Program.open a file")
        program.check(force=force)
        self._run = self._runner(program)
        self.program = program

    def relax(self, h: ArrayLike, **arguments: Any) -> Readout:
        """Let the substrate settle and return time averages; arguments as in `Device.relax`.

        Memory is O(units * inputs * chains + tables).
        """
        if self.program is None or self._run is None:
            raise DeviceError("no program is loaded; call load first")
        call = prepare(self.program, h, **arguments)
        return to_readout(self.program, call, self._run(call))

    def info(self) -> dict[str, Any]:
        """Return what this device is, as plain data."""
        return {
            "device": "emulator",
            "kind": "software, bit-exact; not a physical substrate",
            "engine": self.engine,
            "note": SLOWER if self.engine == "numpy" else None,
            "threads": self.threads if self.engine == "numba" else 1,
            "spec_digest": spec_digest(),
            "program_digest": None if self.program is None else self.program.digest,
        }

    def reset(self) -> None:
        """Forget the program."""
        self.program = None
        self._run = None

    def close(self) -> None:
        """Forget the program; there is nothing to let go of."""
        self.reset()

    def _runner(self, program: Program) -> Callable[[Call], Sums]:
        if self.engine == "oracle":
            return lambda call: oracle.relax(program, call)
        if self.engine == "numpy":
            return lambda call: relax_batch(program, call, initial_state(program, call))
        from pbitstream.emulator.cache import kernels_cached

        with kernels_cached():
            from pbitstream.emulator.compiled import Compiled

        compiled: Compiled
        if supports(program.topology):
            with kernels_cached():
                from pbitstream.emulator.dense_engine import Dense

            compiled = Dense(program, self.threads)
        else:
            compiled = Compiled(program, self.threads)
        if not qualifies(program.topology):
            return lambda call: compiled.relax(call, initial_state(program, call))
        with kernels_cached():
            from pbitstream.emulator.grouped import Grouped

        grouped = Grouped(program, self.threads)

        def run(call: Call) -> Sums:
            sums = grouped.relax(call)
            return compiled.relax(call, initial_state(program, call)) if sums is None else sums

        return run


def _processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def initial_state(program: Program, call: Call) -> State:
    """Return the full state all chains of a call start from, clamps in place."""
    topology, chains = program.topology, call.total_chains
    if call.state is None:
        noise = seed_streams(call.seed, call.first_chain, chains)
        units = np.zeros((chains, topology.units), np.int32)
    else:
        noise, units = call.state.noise.copy(), call.state.units.copy()
    for index, module in enumerate(topology.modules):
        part = topology.units_of(index)
        if module.clamped:
            held = np.repeat(call.clamp[:, part], call.chains, axis=0)
            shift = STATE.fraction - EXPOSED.fraction
            units[:, part] = held > 0 if module.kind == "pbit" else held << shift
        elif module.kind == "pbit" and call.state is None:
            units[:, part] = reset_spins(noise, module.dim)
    return State(units, noise)


def open_emulator(rest: str, options: dict[str, str]) -> Device:
    """Bit-exact emulator on this computer; options engine=numba|numpy|oracle and threads=N."""
    if rest:
        raise SpecError(f"emulator: takes no address, not {rest!r}")
    unknown = sorted(options.keys() - {"engine", "threads"})
    if unknown:
        raise SpecError(f"emulator: takes the options engine and threads, not {unknown[0]}")
    threads = options.get("threads")
    if threads is not None and not threads.isdecimal():
        raise SpecError(f"threads must be a whole number, not {threads!r}")
    return Emulator(engine=options.get("engine"), threads=None if threads is None else int(threads))

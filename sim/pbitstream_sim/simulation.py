"""A running simulation: one instance of a top in a shared library, and what every top can do."""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pbitstream.closing import Closing
from pbitstream.errors import DeviceError

__all__ = ["FLAG", "LONG", "SIM", "WORD", "WORDS", "Simulation"]

#: C types of the shims' functions.
SIM, FLAG, WORD, LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint64
WORDS = ctypes.POINTER(WORD)
#: Functions of every shim: type of the result, then those of the arguments.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "create": (SIM,),
    "destroy": (None, SIM),
    "reset": (None, SIM),
    "busy": (FLAG, SIM),
    "cycles": (LONG, SIM),
}


class Simulation(Closing):
    """One instance of a simulated top; a context manager.

    Parameters
    ----------
    path
        The library, of `pbitstream_sim.verilated.library`.
    functions
        What its shim offers beside `FUNCTIONS`, or with other arguments.
    arguments
        Of ``sim_create``.
    """

    def __init__(self, path: Path, functions: Mapping[str, tuple[Any, ...]],
                 *arguments: int) -> None:
        self._library = ctypes.CDLL(str(path))
        for name, (result, *types) in {**FUNCTIONS, **functions}.items():
            function = getattr(self._library, f"sim_{name}")
            function.restype, function.argtypes = result, types
        self._sim: int | None = self._library.sim_create(*arguments)

    def reset(self) -> None:
        """Hold the reset for two cycles; memories keep what they hold."""
        self._library.sim_reset(self._open)

    @property
    def busy(self) -> bool:
        """Whether the design says that it is at work."""
        return bool(self._library.sim_busy(self._open))

    @property
    def cycles(self) -> int:
        """Clock cycles since the simulation was made."""
        return int(self._library.sim_cycles(self._open))

    def close(self) -> None:
        """End the simulation; a trace is complete then."""
        if self._sim is not None:
            self._library.sim_destroy(self._sim)
            self._sim = None

    @property
    def _open(self) -> int:
        if self._sim is None:
            raise DeviceError("the simulation is closed")
        return self._sim

    def _run(self, cycles: int, until: int, most: int) -> int:
        """Let cycles pass, so many per call of the library, and return how many until it ends."""
        done = 0
        while done < cycles:
            part = min(most, cycles - done)
            ran: int = self._library.sim_run(self._open, part, until)
            done += ran
            if ran < part:
                break
        return done

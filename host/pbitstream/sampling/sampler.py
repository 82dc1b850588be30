"""An Ising problem on a device: sweeps at given betas from given states."""

# Keeps ArrayLike short in help().
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.closing import Closing
from pbitstream.devices.protocol import Device, Readout, Settings, State
from pbitstream.devices.start import reset_state
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.ising.arrays import is_spins
from pbitstream.ising.lower import Lowered, lower
from pbitstream.ising.problem import Problem
from pbitstream.spec.words import MAX_STEPS

__all__ = ["IsingSampler", "Report", "Spins"]

Spins = NDArray[np.int8]
#: Called with (sweeps done, sweeps in all).
Report = Callable[[int, int], None]

#: Spin updates of one call of the device, after which progress is told.
BLOCK = 500_000_000
#: Sweeps of one call in which beta changes: each is a row of settings, some KB a module.
ROWS = 4096
#: The noise of more would take 4 TiB.
MAX_CHAINS = 1 << 32


class IsingSampler(Closing):
    """A problem that was lowered and loaded; a context manager.

    Parameters
    ----------
    problem
        A problem, or one that was lowered already.
    device
        What relaxes it, an emulator by default; whoever gives one closes it.

    Raises
    ------
    SpecError
        If the problem does not fit the number formats or the device.
    """

    def __init__(self, problem: Problem | Lowered, *, device: Device | None = None) -> None:
        self.lowered = problem if isinstance(problem, Lowered) else lower(problem)
        self._own = None if device is not None else Emulator()
        self.device: Device = device if self._own is None else self._own  # type: ignore[assignment]
        self.device.load(self.lowered.program)

    @property
    def problem(self) -> Problem:
        """The problem."""
        return self.lowered.problem

    def start(self, seed: int, chains: int, spins: ArrayLike | None = None,
              *, first_chain: int = 0) -> State:
        """Return the state that chains begin with: fresh noise, and random or given spins.

        `spins` has shape (n,), for all chains, or (chains, n).
        """
        if not 1 <= chains <= MAX_CHAINS:
            raise SpecError(f"chains must be between 1 and {MAX_CHAINS}, not {chains}")
        state = reset_state(self.lowered.program, seed, first_chain, chains)
        if spins is not None:
            given = np.asarray(spins)
            if given.shape not in ((self.problem.n,), (chains, self.problem.n)):
                raise SpecError(f"spins must have shape ({self.problem.n},) or "
                                f"({chains}, {self.problem.n}), not {given.shape}")
            if not is_spins(given):
                raise SpecError("spins must be -1 or +1")
            whole = np.broadcast_to(given, (chains, self.problem.n))
            state.units[:, self.lowered.order] = self.lowered.units(whole)[:, self.lowered.order]
        return state

    def spins(self, state: State) -> Spins:
        """Return the spins of a state, (chains, n)."""
        return self.lowered.spins(state.units)

    def sweep(self, betas: NDArray[np.float64], state: State, *, burn_in: int = 0) -> Readout:
        """Relax by one sweep per beta, on from a state; sums are over those after `burn_in`.

        Every sweep updates every p-bit once, one colour class after the other. The result does not
        depend on how a run is cut into calls.

        Raises
        ------
        SpecError
            If a beta is out of range.
        """
        low, high = self._range(betas)
        topology = self.lowered.program.topology
        # One row will do for a constant beta.
        rows = betas[:1] if low == high else betas
        beta = np.full((len(rows), len(topology.modules)), np.nan)
        for index, module in enumerate(topology.modules):
            if not module.clamped:
                beta[:, index] = rows / self.lowered.scale
        return self.device.relax(
            self.lowered.h, clamp=self.lowered.clamp, settings=Settings(beta=beta),
            steps=len(betas) - burn_in, burn_in=burn_in, seed=0, chains=len(state.units),
            state=state,
        )

    def anneal(self, betas: NDArray[np.float64], state: State,
               report: Report | None = None) -> State:
        """Sweep through betas without averaging and return the state at their end."""
        self._range(betas)
        many = getattr(self.device, "blocks", 1)
        block = math.ceil(BLOCK * many / (self.problem.n * len(state.units)))
        # Where each stretch of equal betas ends: a call within one needs a single row.
        ends = np.append(np.flatnonzero(betas[1:] != betas[:-1]) + 1, len(betas))
        start = 0
        while start < len(betas):
            same = int(ends[np.searchsorted(ends, start, "right")]) - start
            part = betas[start : start + min(block, MAX_STEPS, max(same, ROWS))]
            state = self.sweep(part, state, burn_in=len(part) - 1).state
            start += len(part)
            if report is not None:
                report(start, len(betas))
        return state

    def _range(self, betas: NDArray[np.float64]) -> tuple[float, float]:
        """Return the lowest and the highest beta; SpecError if one is out of range."""
        low, high = float(betas.min()), float(betas.max())
        if not 0 <= low <= high <= self.lowered.beta_max:
            raise SpecError(f"beta must be between 0 and {self.lowered.beta_max:g} for this "
                            f"problem, not {low if low < 0 else high:g}")
        return low, high

    def close(self) -> None:
        """Let go of the device, if it is our own."""
        if self._own is not None:
            self._own.close()

"""What every device offers: load a program, relax under a bias, read averages and state."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.program import Program

__all__ = ["CLIP_NAMES", "Device", "Readout", "Settings", "State"]

#: Saturation counters of a chain, in this order: clips of z, u, kappa, x24 and y.
CLIP_NAMES = ("projection", "gain", "stiffness", "state", "field")


@dataclass(frozen=True, eq=False)
class State:
    """The full state of some chains: relaxing on from it equals not having stopped.

    Attributes
    ----------
    units
        int32 (chains, units): x24 of Langevin units (20 fraction bits), 1 or 0 for m = +1 or -1.
    noise
        uint64 (chains, 128): the stream words.
    """

    units: NDArray[np.int32]
    noise: NDArray[np.uint64]


@dataclass(frozen=True)
class Settings:
    """Per-module values that replace a program's own for one relaxation; None keeps them.

    Each is an array over modules, NaN for modules that keep theirs: k2, k4 and beta in values,
    temperature in energy units. Temperature and beta may have the shape (rows, modules), for
    annealing: step t of the n = burn_in + steps of the relaxation takes row ``t * rows // n``.
    """

    k2: ArrayLike | None = None
    k4: ArrayLike | None = None
    temperature: ArrayLike | None = None
    beta: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class Readout:
    """Time averages over the window of a relaxation, and the state at its end.

    Attributes
    ----------
    sums
        int64 (inputs, chains, units): window sums of the exposed state (12 fraction bits) of
        Langevin units and of m of p-bits; 0 for clamped units. Equal in every bit on every device.
    square_sums
        int64 (inputs, chains, units): sums of the squares of what `sums` adds, if asked for.
    state
        Full state of inputs * chains chains.
    clips
        int64 (inputs, chains, 5): the same per chain, in the order of `CLIP_NAMES`.
    steps, burn_in
        Averaged and discarded steps.
    rounding
        Largest distance between a bias that was asked for and the code it became.
    temperature
        float64 (modules,): the temperature that the noise codes of the last step stand for; NaN for
        p-bits.
    unit
        float64 (units,): what one count of a sum stands for, 2^-12 or, for a p-bit, 1.
    held
        float64 (inputs, units): values of clamped units, NaN for free ones.
    """

    sums: NDArray[np.int64]
    square_sums: NDArray[np.int64] | None
    state: State
    clips: NDArray[np.int64]
    steps: int
    burn_in: int
    rounding: float
    temperature: NDArray[np.float64]
    unit: NDArray[np.float64]
    held: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Averages over window and chains, x or m, (inputs, units); clamps where clamped."""
        count = self.steps * self.sums.shape[1]
        free = self.sums.sum(axis=1) * self.unit / count
        return np.where(np.isnan(self.held), free, self.held)

    @property
    def square(self) -> NDArray[np.float64] | None:
        """Second moments, (inputs, units), or None.

        Of Langevin units they carry the bias of the time step: the variance of a mode of stiffness
        g is T / (g (1 - g dt / 2)).
        """
        if self.square_sums is None:
            return None
        count = self.steps * self.sums.shape[1]
        free = self.square_sums.sum(axis=1) * self.unit**2 / count
        return np.where(np.isnan(self.held), free, self.held**2)

    def __repr__(self) -> str:
        inputs, chains, units = self.sums.shape
        return (f"<Readout of {inputs} inputs x {chains} chains x {units} units, "
                f"{self.burn_in} + {self.steps} steps, saturated: {sum(self.saturated.values())}>")

    @property
    def saturated(self) -> dict[str, int]:
        """Clip counts by name, summed over all chains."""
        total = self.clips.sum(axis=(0, 1))
        return {name: int(count) for name, count in zip(CLIP_NAMES, total)}


class Device(Protocol):
    """An emulator, a simulator or a board, behind one face; a context manager."""

    def load(self, program: Program, *, force: bool = False) -> None:
        """Load a program; a call of `relax` needs one.

        Raises
        ------
        SpecError
            If the program does not fit this device, naming the limit.
        UnstableError
            If the program is not stable after quantisation; `force` loads it all the same when
            only the step is too large for the quartic term.
        """

    def relax(
        self,
        h: ArrayLike,
        *,
        steps: int,
        burn_in: int = 0,
        seed: int,
        clamp: ArrayLike | None = None,
        gains: ArrayLike | None = None,
        settings: Settings | None = None,
        chains: int = 1,
        first_chain: int = 0,
        state: State | None = None,
        moments: bool = False,
    ) -> Readout:
        """Let the substrate settle under bias `h` and return time averages.

        A call depends on the one before it only through `state`, and its result on the program,
        the codes of its arguments, `seed` and the global chain index only.

        Parameters
        ----------
        h : array, shape (inputs, units)
            Bias of each unit, in energy units; rounded to ``spec.BIAS`` (the rounding is reported
            in the readout). Clamped units ignore theirs.
        steps, burn_in
            Averaged steps, 1 to 2**24 - 1, and discarded steps before them, 0 to 2**24 - 1.
        seed
            0 to 2**64 - 1; a call that goes on from a `state` takes its noise from there.
        clamp : array, shape (inputs, clamped units)
            Values of the clamped modules, in module order; +-1 for p-bits.
        gains : array, shape (inputs or 1, banks, largest rank)
            Gains S that replace the program's, in values.
        settings
            Stiffness, temperature and beta that replace the program's.
        chains
            Independent chains per input.
        first_chain
            Global index of the first chain: input number times chains, over the whole stream.
        state
            Full state of inputs * chains chains to go on from; a reset state without.
        moments
            Whether to return second moments.

        Raises
        ------
        SpecError
            If an argument breaks a rule; the device has not been touched.
        DeviceTimeoutError
            If the device is busy after twice the computed time; it then needs :meth:`reset`.
        """

    def info(self) -> dict[str, Any]:
        """Return what the device is, as plain data."""

    def reset(self) -> None:
        """Return to the state after opening: no program, nothing running."""

    def close(self) -> None:
        """Leave the device idle and let go of it."""

    def __enter__(self) -> Device:
        """Return the device itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the device."""

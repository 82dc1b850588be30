"""Counts of what a device did: what it returned, its own cycle counters, and its link's bytes."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from pbitstream.closing import Closing
from pbitstream.devices.board.traffic import Traffic
from pbitstream.devices.protocol import Device, Readout, Settings
from pbitstream.errors import DeviceError
from pbitstream.program import Program
from pbitstream.spec.topology import LowRankBank

__all__ = ["CountedDevice", "Counts", "SelfCounting"]


@dataclass
class Counts:
    """Whole numbers of one run; None where the device has nothing to count.

    Attributes
    ----------
    relaxations
        Relaxations of one chain each.
    steps
        Their steps, burn-in included.
    langevin_updates, pbit_updates
        Updates of single free units, over all steps.
    multiplications
        Of those updates, in banks and units, as `Program.cost` has them.
    reads
        Values read out: of every free unit and chain the mean, the last state, and the square
        where it was asked for. Noise words are not values.
    writes
        Values written: of every input the biases of free units and the clamps; gains, settings and
        states where a call brings them; the tables of a program that was not loaded before.
    conditioning
        Multiplications by weights of conditioning nets, once per input.
    cycles, multiplying
        Of a board, from its registers: clock cycles, and those in which every lane multiplied.
    link
        Of a board: bytes and requests, without what a line adds; see `Traffic`.
    """

    relaxations: int = 0
    steps: int = 0
    langevin_updates: int = 0
    pbit_updates: int = 0
    multiplications: int = 0
    reads: int = 0
    writes: int = 0
    conditioning: int = 0
    cycles: int | None = None
    multiplying: int | None = None
    link: Traffic | None = None

    @property
    def values(self) -> int:
        """Values that crossed the edge of the device, either way."""
        return self.reads + self.writes

    @property
    def link_bytes(self) -> int | None:
        """Bytes over the link, either way."""
        return None if self.link is None else self.link.bytes_read + self.link.bytes_written

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**found, "link": None if self.link is None else vars(self.link)}


@runtime_checkable
class SelfCounting(Protocol):
    """What a device with counters of its own offers besides `Device`: every board does."""

    def counters(self) -> dict[str, int]:
        """Return ``cycles`` and ``multiplying`` of the last call."""

    def traffic(self) -> Traffic:
        """Return what went over the link so far."""


class CountedDevice(Closing):
    """A `Device` that passes everything on and counts what came back.

    A call that fails is not counted, but what it sent over the link is. A call with the same array
    of biases as the one before, as the segments of a window have it, conditions nothing anew.

    Parameters
    ----------
    device
        Open; it stays the caller's to close.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._link = device if isinstance(device, SelfCounting) else None
        self._program: Program | None = None
        self._biases: ArrayLike | None = None
        self.restart()

    def restart(self) -> None:
        """Count from zero; what is loaded stays loaded."""
        self._counts = Counts() if self._link is None else Counts(cycles=0, multiplying=0)
        self._before = Traffic() if self._link is None else self._link.traffic()
        self._biases = None

    @property
    def counts(self) -> Counts:
        """Everything since the start."""
        if self._link is not None:
            self._counts.link = self._link.traffic().since(self._before)
        return self._counts

    def load(self, program: Program, *, force: bool = False) -> None:
        """Load a program; its tables count unless it was loaded already."""
        held, self._program = self._program, None
        self._device.load(program, force=force)
        if held != program:
            self._counts.writes += program.cost().words
        self._program = program

    def relax(self, h: ArrayLike, **arguments: Any) -> Readout:
        """Let the substrate settle and return time averages; arguments as in `Device.relax`."""
        if self._program is None:
            raise DeviceError("no program was loaded through this device; call load first")
        readout = self._device.relax(h, **arguments)
        self._add(self._program, readout, arguments)
        net = self._program.conditioning
        if h is not self._biases and net is not None:
            self._counts.conditioning += len(readout.sums) * net.weights
        self._biases = h
        if self._link is not None:
            counters = self._link.counters()
            self._counts.cycles = (self._counts.cycles or 0) + counters["cycles"]
            self._counts.multiplying = (self._counts.multiplying or 0) + counters["multiplying"]
        return readout

    def info(self) -> dict[str, Any]:
        """Return what the device is, as plain data."""
        return self._device.info()

    def reset(self) -> None:
        """Stop whatever runs and forget the program."""
        self._device.reset()
        self._program = None

    def close(self) -> None:
        """Close the device."""
        self._device.close()

    def _add(self, program: Program, readout: Readout, arguments: dict[str, Any]) -> None:
        counts, modules = self._counts, program.topology.modules
        inputs, chains = readout.sums.shape[:2]
        relaxations = inputs * chains
        steps = relaxations * (readout.burn_in + readout.steps)
        free = {kind: sum(m.dim for m in modules if m.kind == kind and not m.clamped)
                for kind in ("langevin", "pbit")}
        units = sum(free.values())
        counts.relaxations += relaxations
        counts.steps += steps
        counts.langevin_updates += steps * free["langevin"]
        counts.pbit_updates += steps * free["pbit"]
        counts.multiplications += steps * program.cost().multiplications_per_step
        counts.reads += relaxations * units * (2 if readout.square_sums is None else 3)
        # Biases of free units and values of clamped ones: one for each unit.
        counts.writes += inputs * program.topology.units
        if arguments.get("gains") is not None:
            ranks = sum(b.rank for b in program.topology.banks if isinstance(b, LowRankBank))
            counts.writes += len(np.asarray(arguments["gains"])) * ranks
        if arguments.get("state") is not None:
            counts.writes += relaxations * units
        counts.writes += _given(arguments.get("settings"))


def _given(settings: Settings | None) -> int:
    """Return how many values settings replace."""
    if settings is None:
        return 0
    arrays = (np.asarray(v, np.float64) for v in vars(settings).values() if v is not None)
    return sum(int(np.count_nonzero(~np.isnan(array))) for array in arrays)

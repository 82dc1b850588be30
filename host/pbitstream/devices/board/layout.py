"""Where a program stands in the memories of an image, and whether it fits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.image import Image
from pbitstream.spec.topology import BANK_NAMES, BandBank, LowRankBank, SparseBank, Topology

__all__ = ["BandPass", "Layout", "LowRankPass", "Rows", "lay_out"]


@dataclass(frozen=True)
class Rows:
    """Rows of slots of a module: the first one and how many."""

    first: int
    count: int


@dataclass(frozen=True)
class LowRankPass:
    """A low-rank bank in one direction.

    `near` and `far` are the table addresses of the factors of source and target, `gain` and
    `result` those of its rank components, `shift_z` and `shift_u` its two roundings.
    """

    source: int
    target: int
    rank: int
    near: int
    far: int
    gain: int
    result: int
    shift_z: int
    shift_u: int


@dataclass(frozen=True)
class BandPass:
    """One offset of a band bank in one direction: unit i sees unit i + offset of the source."""

    source: int
    target: int
    offset: int
    table: int


@dataclass(frozen=True, eq=False)
class Layout:
    """Addresses of a program in an image.

    Attributes
    ----------
    rows
        Rows of every module.
    slots
        int64 (units,): the slot of every unit.
    low_rank, bands
        The passes into free modules.
    tables
        int16 (words, lanes): factors and weights, 0 in lanes without a unit.
    gains
        Address of the first gain of each bank.
    """

    rows: tuple[Rows, ...]
    slots: NDArray[np.int64]
    low_rank: tuple[LowRankPass, ...]
    bands: tuple[BandPass, ...]
    tables: NDArray[np.int16]
    gains: tuple[int, ...]


def lay_out(program: Program, image: Image) -> Layout:
    """Place a program in the memories of an image.

    Modules take whole rows of slots, in order. Table word ``near + c * rows + r`` is component c of
    the factor at row r of its module; both directions of a bank share factors and gains. A band has
    a word per offset and row of its target, in either direction.

    Raises
    ------
    SpecError
        If the program does not fit, naming the limit.
    """
    topology = program.topology
    _check_kinds(topology, image)
    rows, slots = _rows(topology, image)
    words = _Words(image.lanes)
    gains, low_rank = _low_rank(program, rows, words)
    bands = _bands(program, words)
    ranks = sum(bank.rank for bank in topology.banks if isinstance(bank, LowRankBank))
    free = sum(not module.clamped for module in topology.modules)
    _check("gains S", ranks, image.max_gains)
    _check("instructions", 2 * len(low_rank) + len(bands) + len(topology.modules) + free,
           image.max_instructions)
    _check("table words per lane", words.count, image.max_rank_words)
    return Layout(rows, slots, tuple(low_rank), tuple(bands), words.stacked(), tuple(gains))


def _check(what: str, needed: int, held: int) -> None:
    if needed > held:
        raise SpecError(f"{what} of a program must be at most {held} on this board, not {needed}; "
                        "the emulator takes any number")


def _check_kinds(topology: Topology, image: Image) -> None:
    """Refuse what the image does not compute: kinds of modules and banks."""
    for index, bank in enumerate(topology.banks):
        if isinstance(bank, SparseBank):
            raise SpecError(f"bank {index} is sparse, and boards compute low-rank and band banks "
                            "only; use a band where its edges are regular, or the emulator")
    named: list[tuple[str, str]] = [(m.kind, f"module {m.name}") for m in topology.modules]
    named += [(BANK_NAMES[type(b)], f"bank {index}") for index, b in enumerate(topology.banks)]
    for kind, name in named:
        if kind not in image.kinds:
            raise SpecError(f"{name} is {kind}, and this board computes {', '.join(image.kinds)} "
                            "only; use an image that computes it, or the emulator")


def _rows(topology: Topology, image: Image) -> tuple[tuple[Rows, ...], NDArray[np.int64]]:
    rows: list[Rows] = []
    first = 0
    for module in topology.modules:
        rows.append(Rows(first, -(-module.dim // image.lanes)))
        first += rows[-1].count
    _check("modules", len(rows), image.max_modules)
    _check(f"units (each module rounded up to rows of {image.lanes})", first * image.lanes,
           image.max_units)
    slots = [part.first * image.lanes + np.arange(module.dim)
             for part, module in zip(rows, topology.modules)]
    return tuple(rows), np.concatenate(slots)


class _Words:
    """Table words handed out from address 0."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.count = 0
        self._parts: list[NDArray[np.int16]] = []

    def add(self, values: NDArray[np.int16]) -> int:
        """Place (words, units) row by row, padded to whole rows; return the address."""
        address = self.count
        words, units = values.shape
        rows = -(-units // self.lanes)
        padded = np.zeros((words, rows * self.lanes), np.int16)
        padded[:, :units] = values
        self._parts.append(padded.reshape(words * rows, self.lanes))
        self.count += words * rows
        return address

    def stacked(self) -> NDArray[np.int16]:
        """Return all of them, (words, lanes)."""
        return np.concatenate([np.zeros((0, self.lanes), np.int16), *self._parts])


def _low_rank(
    program: Program, rows: tuple[Rows, ...], words: _Words
) -> tuple[list[int], list[LowRankPass]]:
    topology, tables = program.topology, program.tables
    factors: dict[int, tuple[int, int]] = {}
    gains, gain = [], 0
    for index, bank in enumerate(topology.banks):
        gains.append(gain)
        if isinstance(bank, LowRankBank):
            factors[index] = (words.add(tables[f"bank{index}.a"].T),
                              words.add(tables[f"bank{index}.b"].T))
            gain += bank.rank
    passes: list[LowRankPass] = []
    result = 0
    for index, source, target, forward in topology.ends():
        bank = topology.banks[index]
        if isinstance(bank, LowRankBank):
            near, far = factors[index] if forward else factors[index][::-1]
            shifts = bank.shifts(topology.field_fraction)
            passes.append(LowRankPass(source, target, bank.rank, near, far, gains[index], result,
                                      *(shifts[:2] if forward else shifts[2:])))
            result += bank.rank
    return gains, passes


def _bands(program: Program, words: _Words) -> list[BandPass]:
    topology = program.topology
    passes = []
    for index, source, target, forward in topology.ends():
        bank = topology.banks[index]
        if isinstance(bank, BandBank):
            for offset, weights in zip(bank.offsets, program.tables[f"bank{index}.w"]):
                if weights.any():
                    if not forward:
                        offset, weights = -offset, _transposed(
                            offset, weights, topology.modules[target].dim)
                    passes.append(BandPass(source, target, offset, words.add(weights[None])))
    return passes


def _transposed(offset: int, weights: NDArray[np.int16], dim: int) -> NDArray[np.int16]:
    """Return the weights that the units j of the source see: that of unit j - offset, or 0."""
    seen = np.zeros(dim, np.int16)
    units = np.flatnonzero(weights)
    seen[units + offset] = weights[units]
    return seen

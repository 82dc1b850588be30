"""From an Ising problem to a program: one module of p-bits per colour class, and the way back."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.board.layout import lay_out
from pbitstream.devices.protocol import Settings
from pbitstream.errors import SpecError
from pbitstream.ising.arrays import is_spins
from pbitstream.ising.box import box_colouring
from pbitstream.ising.colouring import check_colouring, greedy_colouring
from pbitstream.ising.lattice import GATHER_COST, Couplings, Pair, couplings, find_bands
from pbitstream.ising.problem import Problem
from pbitstream.ising.scale import Codes, Loss, quantise, two_adic
from pbitstream.program import Program
from pbitstream.spec.image import Image
from pbitstream.spec.sigmoid import THRESHOLD_STEP_BITS
from pbitstream.spec.words import BETA, MAX_BOARD_DIM, MAX_OFFSET

__all__ = ["Loss", "Lowered", "lower"]

Values = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Largest error of a coupling or bias that `lower` lets pass, as a share of the largest coupling.
TOLERANCE = 2.0**-8
#: Every pair of coupled classes is a bank; a device looks at all of them for every module.
MAX_CLASSES = 256
#: An image as large as the address map of boards allows.
LARGEST = Image(lanes=32, max_units=MAX_BOARD_DIM, max_rank_words=8192, max_modules=64,
                max_instructions=2048, max_gains=2)


@dataclass(frozen=True, eq=False)
class Lowered:
    """A problem as a program, and the maps between p-bits of the one and units of the other.

    Attributes
    ----------
    problem, program
        What was lowered, and what a device loads. Its modules are the colour classes in order and,
        where biases are out of the range of a call's, a clamped one of constant p-bits.
    order
        int64 (n,): the unit of every p-bit.
    colours
        int64 (n,): the colour class of every p-bit.
    scale
        Field of the program per field of the problem, a power of two. The program's field is
        ``scale * (h_i + sum_j J_ij m_j)``, so program beta b samples at problem beta b * scale.
    h
        float64 (1, units): the bias of a relaxation.
    clamp
        float64 (1, clamped units), all +1, or None: the clamp of a relaxation.
    loss
        What rounding took.
    forms
        A line for every bank: which classes it joins and as what.
    """

    problem: Problem
    program: Program
    order: Indices
    colours: Indices
    scale: float
    h: Values
    clamp: Values | None
    loss: Loss
    forms: tuple[str, ...]

    def __repr__(self) -> str:
        return (f"<Lowered: {self.problem.n:,} p-bits in "
                f"{int(self.colours.max()) + 1} classes, {len(self.forms)} banks, "
                f"scale {self.scale:g}, loss {self.loss.relative:.2g}>")

    def spins(self, units: ArrayLike) -> NDArray[np.int8]:
        """Return the spins +-1, (..., n), of units 0 or 1, (..., units), as in `State.units`."""
        array = np.asarray(units)
        self._check("units", array, self.program.topology.units)
        return (2 * array[..., self.order] - 1).astype(np.int8)

    def units(self, spins: ArrayLike) -> NDArray[np.int32]:
        """Return units 0 or 1, (..., units), for a `State`, of spins +-1, (..., n)."""
        array = np.asarray(spins)
        self._check("spins", array, self.problem.n)
        if not is_spins(array):
            raise SpecError("spins must be -1 or +1")
        units = np.ones((*array.shape[:-1], self.program.topology.units), np.int32)
        units[..., self.order] = array > 0
        return units

    @property
    def beta_max(self) -> float:
        """Largest beta of the problem that the program can run at; the smallest is 0."""
        return BETA.value(BETA.highest) * self.scale

    @cached_property
    def beta_step(self) -> float | None:
        """Betas that are whole multiples of this sample the exact law; None if the loss is not 0.

        There ``beta * field`` lies on the threshold table's grid of 1/128 for every state, up to 8,
        where it saturates: a p-bit then errs with probability 2^-16. It is 1/128 for whole
        couplings and biases, 1/256 if every field is even, as with +-1 and four neighbours.
        """
        if self.loss.largest:
            return None
        exponent = two_adic(np.concatenate([self.problem.weight, self.problem.h]))
        if exponent is None:
            return BETA.value(1) * self.scale
        # Flipping a neighbour changes a field by 2 J, so its parity never changes.
        parity = np.abs(self.problem.h)
        for end in (self.problem.first, self.problem.second):
            np.add.at(parity, end, np.abs(self.problem.weight))
        quantum = 2.0**exponent
        if not (parity % (2 * quantum)).any():
            quantum *= 2
        return max(2.0**-THRESHOLD_STEP_BITS / quantum, BETA.value(1) * self.scale)

    def beta_of(self, beta: float) -> float:
        """Return the program's beta for a beta of the problem, rounded to its 12 fraction bits.

        ``beta_of(beta) * scale`` is the beta that runs. SpecError outside 0 to `beta_max`.
        """
        if not 0 <= beta <= self.beta_max:
            raise SpecError(f"beta must be between 0 and {self.beta_max:g} for this problem's "
                            f"scale, not {beta:g}")
        return BETA.value(min(BETA.raw(beta / self.scale), BETA.highest))

    def settings(self, beta: float) -> Settings:
        """Return the settings of a relaxation at a beta of the problem."""
        value = self.beta_of(beta)
        return Settings(beta=[np.nan if module.clamped else value
                              for module in self.program.topology.modules])

    @cached_property
    def fits_boards(self) -> str:
        """Empty if an image of the gateware can hold the program, else why none can."""
        try:
            lay_out(self.program, LARGEST)
        except SpecError as error:
            return str(error)
        return ""

    @staticmethod
    def _check(name: str, array: NDArray[np.generic], length: int) -> None:
        if array.ndim == 0 or array.shape[-1] != length:
            raise SpecError(f"{name} must have shape (..., {length}), not {array.shape}")


def lower(
    problem: Problem,
    *,
    colouring: ArrayLike | None = None,
    banks: Literal["auto", "sparse"] = "auto",
    tolerance: float = TOLERANCE,
) -> Lowered:
    """Return a problem as a program of p-bits.

    Parameters
    ----------
    problem
        What to sample.
    colouring
        Colours (n,), proper; by default `greedy_colouring` or, where that takes three or more,
        `box_colouring` if the graph is a periodic lattice. The units of a class are its p-bits in
        ascending order.
    banks
        ``auto``: bands where classes are coupled like a lattice, sparse banks elsewhere (see
        `pbitstream.ising.lattice`). ``sparse``: sparse banks only. Either gives the same bits.
    tolerance
        Largest loss to rounding, as a share of the largest coupling.

    Returns
    -------
    Lowered
        Its program's own beta is 1, which is beta = `scale` of the problem; relaxations state
        theirs by `Lowered.settings`.

    Raises
    ------
    SpecError
        If the colouring is not proper, the loss exceeds `tolerance`, or more than 256 classes are
        needed, as a graph does in which so many p-bits are all coupled to each other.
    """
    if banks not in ("auto", "sparse"):
        raise SpecError(f"banks must be auto or sparse, not {banks}")
    colours = _colours(problem) if colouring is None else check_colouring(problem, colouring)
    sizes = np.bincount(colours)
    if len(sizes) > MAX_CLASSES:
        raise SpecError(f"colour classes must be at most {MAX_CLASSES}, not {len(sizes)}; so dense "
                        "a graph has no p-bits that may be updated together")
    codes = quantise(problem, tolerance)
    order = np.empty(problem.n, np.int64)
    order[np.argsort(colours, kind="stable")] = np.arange(problem.n)
    place = order - (np.cumsum(sizes) - sizes)[colours]
    builder = ProgramBuilder(field_fraction=codes.field_fraction)
    for number, size in enumerate(sizes):
        builder.pbit(f"class{number}", int(size))
    kept = codes.weight != 0
    pairs = couplings(colours, place, sizes, problem.first[kept], problem.second[kept],
                      codes.weight[kept])
    constant, constants = _constant_pairs(codes, colours, place, sizes, banks)
    dims = sizes.tolist()
    if constants:
        builder.clamped("one", constant, kind="pbit")
        dims.append(constant)
    forms: list[str] = []
    for pair in pairs:
        low, high = sorted((pair.source, pair.target))
        forms += _add(builder, f"classes {low} and {high}", pair, dims, banks)
    for pair in constants:
        forms += _add(builder, f"constants and class {pair.target}", pair, dims, banks)
    program = builder.build(
        phases=[[number] for number in range(len(sizes))],
        provenance={"problem": problem.name, "source": problem.source,
                    "scale": str(codes.scale)},
    )
    h = np.zeros((1, program.topology.units))
    h[0, order] = codes.h
    clamp = np.ones((1, constant)) if constants else None
    return Lowered(problem, program, order, colours, codes.scale, h, clamp, codes.loss,
                   tuple(forms))


def _colours(problem: Problem) -> Indices:
    """Return a proper colouring, of a periodic lattice such that its classes are regular."""
    greedy = greedy_colouring(problem)
    box = box_colouring(problem) if greedy.max() >= 2 else None
    return greedy if box is None else box


def _constant_pairs(
    codes: Codes, colours: Indices, place: Indices, sizes: Indices, banks: str
) -> tuple[int, list[Pair]]:
    """Return how many constant p-bits there are, and their couplings to each class.

    Where most units of a stretch of a class are coupled, each to its own: a band of one offset.
    Elsewhere all to the first.
    """
    dim, pairs = 1, []
    for number in range(len(sizes)):
        members = np.flatnonzero((colours == number) & (codes.carried != 0))
        if len(members) == 0:
            continue
        row = place[members]
        low = min(int(row[0]), MAX_OFFSET - 1)
        length = int(row[-1]) + 1 - low
        column = np.zeros_like(row)
        if banks == "auto" and length <= GATHER_COST * len(row):
            column = row - low
            dim = max(dim, length)
        pairs.append(Pair(len(sizes), number, row, column, codes.carried[members]))
    return dim, pairs


def _add(
    builder: ProgramBuilder, name: str, pair: Pair, dims: list[int], banks: str
) -> list[str]:
    """Add the banks of a pair of modules and return a line for each."""
    dim_s, dim_t = dims[pair.source], dims[pair.target]
    found = (Couplings({}, pair, 0, "as asked") if banks == "sparse"
             else find_bands(pair, dim_s, dim_t))
    lines = []
    rest, offsets = found.rest, len(found.bands)
    if found.bands:
        builder.band(pair.source, pair.target, found.bands)
        lines.append(f"{name}: {len(pair.row) - len(rest.row):,} couplings as a band of "
                     f"{offsets} offset{'s'[: offsets != 1]}, {found.words:,} words")
    if len(rest.row):
        pointers = np.searchsorted(rest.row, np.arange(dim_t + 1))
        builder.sparse(pair.source, pair.target, pointers, rest.column, rest.weight)
        lines.append(f"{name}: {len(rest.row):,} couplings sparse: {found.reason}")
    return lines

"""From a matrix of unit diagonal to a Langevin module: stiffness, one self-bank, time step.

The module has ``K - J = c U``: stiffness c of every unit and the couplings ``-c U_ij`` of one bank
with itself, each edge once, since a self-bank adds both directions. The dynamics depends on the
pace ``c dt`` alone, so c = pace 2^s may be any of a few numbers: a large one makes the step 2^-10
of the weights small against c U, a small one leaves more of the bias range to x.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.compiler.quantise import quantise_weights
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.words import BIAS, DT_SHIFTS, EXPOSED, FIELD_FRACTIONS, FIELD_LIMIT, K2

__all__ = ["Layout", "edges", "layouts"]

Values = NDArray[np.float64]

#: The finest weights; every coupling of a matrix of unit diagonal fits them.
FIELD_FRACTION = FIELD_FRACTIONS[-1]
WEIGHT_STEP = 2.0 ** (EXPOSED.fraction - FIELD_FRACTION)
#: Words of weights that the field of a unit has room for beside its bias.
ROOM = FIELD_LIMIT // -EXPOSED.lowest - (1 << (FIELD_FRACTION - BIAS.fraction))
#: A band bank is laid out while at least this share of its words is in use, or the module is small
#: enough for any image; else a sparse bank, which the emulator alone has.
FILL = 1 / 16
SMALL = 128
#: Significant bits of a stiffness: few, so that its simple fractions are weights without rounding.
STIFFNESS_BITS = 7


@dataclass(frozen=True, eq=False)
class Layout:
    """A matrix as the tables hold it.

    Attributes
    ----------
    dt_shift
        dt = 2^-dt_shift.
    stiffness
        c, a code of k2.
    quantised
        U as the tables hold it: 1 on the diagonal, weights over -c beside it.
    """

    dt_shift: int
    stiffness: float
    quantised: Values

    @property
    def dt(self) -> float:
        """Time step."""
        return 2.0**-self.dt_shift

    @property
    def pace(self) -> float:
        """``c dt``, within 1 % of what was asked for."""
        return self.stiffness * self.dt

    @cached_property
    def program(self) -> Program:
        """The program, at T = 0; a relaxation brings its temperature."""
        builder = ProgramBuilder(dt_shift=self.dt_shift, field_fraction=FIELD_FRACTION)
        dim = len(self.quantised)
        module = builder.langevin("x", dim, k2=self.stiffness, temperature=0.0)
        rows, columns = edges(self.quantised)
        weights = -self.stiffness * self.quantised[rows, columns]
        offsets = np.unique(columns - rows)
        if not len(rows):
            return builder.build()
        if dim <= SMALL or len(rows) >= FILL * len(offsets) * dim:
            table = np.zeros((len(offsets), dim))
            table[np.searchsorted(offsets, columns - rows), rows] = weights
            builder.band(module, module, dict(zip(offsets.tolist(), table)))
        else:
            pointers = np.searchsorted(rows, np.arange(dim + 1))
            builder.sparse(module, module, pointers, columns, weights)
        return builder.build()


def edges(matrix: Values) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns of the entries above the diagonal, by rows."""
    rows, columns = np.nonzero(np.triu(matrix, 1))
    return rows, columns


def layouts(matrix: Values, pace: float) -> Iterator[Layout]:
    """Yield the layouts of U at a pace c dt that fit, the finest first.

    Raises
    ------
    SpecError
        If there is none: the couplings of a row are too large for the field, or U is not positive
        definite any more as the tables hold it.
    """
    found = False
    for shift in reversed(DT_SHIFTS):
        raw = _short(pace * 2.0**shift / K2.value(1))
        if not 1 <= raw <= K2.highest:
            continue
        stiffness = K2.value(raw)
        quantised = _quantised(matrix, stiffness)
        if quantised is None:
            continue
        try:
            np.linalg.cholesky(quantised)
        except np.linalg.LinAlgError:
            continue
        found = True
        yield Layout(shift, stiffness, quantised)
    if not found:
        largest = float(np.abs(matrix).sum(axis=1).max())
        raise SpecError(
            f"A does not fit: at unit diagonal the largest sum of a row's magnitudes is "
            f"{largest:.3g}, and the tables, {WEIGHT_STEP:g} fine, leave no positive definite "
            "matrix; add to its diagonal or split the problem"
        )


def _short(number: float) -> int:
    """Return a whole number of 7 significant bits near another; so halves and quarters fit it."""
    step = 1 << max(0, math.frexp(number)[1] - STIFFNESS_BITS)
    return round(number / step) * step


def _quantised(matrix: Values, stiffness: float) -> Values | None:
    """Return U as the tables hold it at a stiffness, or None if a field could overflow."""
    weights = -stiffness * matrix
    np.fill_diagonal(weights, 0.0)
    raw = quantise_weights(weights, FIELD_FRACTION, "weight").astype(np.int64)
    # Rounding half up is not odd; the upper half is what is stored.
    raw = np.triu(raw, 1)
    raw += raw.T
    if np.abs(raw).sum(axis=1).max() > ROOM:
        return None
    return np.asarray(np.eye(len(matrix)) - raw * (WEIGHT_STEP / stiffness))

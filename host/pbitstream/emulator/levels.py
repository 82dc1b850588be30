"""Tables of the bit-sliced kernels: levels of fields, their first sums, thresholds.

All exact, in integers. `pbitstream.emulator.bitsliced` and `pbitstream.emulator.wide` describe the
layouts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.emulator import bitsliced as k
from pbitstream.emulator.inputs import LANES, Inputs, WideInputs, inputs_of, wide_inputs_of
from pbitstream.emulator.pbit_plan import BLOCK, PbitPlan
from pbitstream.spec.fixed import rhu
from pbitstream.spec.sigmoid import (
    THRESHOLD_BITS,
    THRESHOLD_STEP_BITS,
    THRESHOLDS,
    sigmoid_table,
)
from pbitstream.spec.words import BETA, PBIT_INPUT

__all__ = ["MAX_LEVELS", "SlicedTables", "Slicer"]

Integers = NDArray[np.int64]

#: With more levels than this, numbers in lanes are faster than planes.
MAX_LEVELS = 128
#: Planes of a level and its sign; each count is a kernel of its own.
DIGITS = (4, 5, 6, 7, 8)
#: Thresholds of a schedule, about; more would take more memory than chains do.
MAX_THRESHOLDS = 1 << 23
FULL = 1 << THRESHOLD_BITS


@dataclass(frozen=True, eq=False)
class SlicedTables:
    """Tables of one call; `start` is (inputs, planes * digits), of blocks or of units."""

    modules: Integers
    inputs: Inputs | WideInputs
    start: NDArray[np.uint8]
    thresholds: NDArray[np.uint16]
    digits: int


def thresholds(fields: Integers, beta: Integers, fraction: int) -> Integers:
    """Return U of fields at every beta, (betas, fields); numerics 6, without a clip of y."""
    y = rhu(fields, fraction - PBIT_INPUT.fraction)
    p = np.asarray(beta, np.int64)[:, None] * y
    step = PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS
    upper = np.array(sigmoid_table())[np.minimum(rhu(np.abs(p), step), THRESHOLDS - 1)]
    return np.asarray(np.where(p >= 0, upper, FULL - upper), np.int64)


class Slicer:
    """Makes the tables of the calls of one program; the last inputs are kept.

    Parameters
    ----------
    plan
        The program's edges.
    """

    def __init__(self, plan: PbitPlan) -> None:
        self.plan = plan
        self._known: tuple[Any, Inputs | WideInputs] | None = None

    def tables(self, constants: Integers, beta: Integers,
               wide: bool = False) -> SlicedTables | None:
        """Return the tables for these constants (inputs, units) and betas (rows, modules).

        Inputs and first sums are of blocks of eight units, or, if `wide`, of single units. None if
        some field takes more than `MAX_LEVELS` levels, or all rows have too many.
        """
        plan, fraction = self.plan, self.plan.topology.field_fraction
        unit = max(1, int(np.gcd.reduce(np.abs(np.append(plan.weights, constants)))))
        n, reach = constants // unit, plan.reach // unit
        most = int((np.abs(n) + reach).max())
        if most >= 2 * MAX_LEVELS or beta.size * most > MAX_THRESHOLDS:
            return None
        modules = plan.modules(k.SLICED_WORDS)
        parts = [plan.topology.units_of(module) for module in plan.order]
        levels = [_levels(n[:, part], reach[part], unit, beta[:, module], fraction)
                  for part, module in zip(parts, plan.order)]
        most = max(level.count for level in levels)
        if most > MAX_LEVELS:
            return None
        digits = next(d for d in DIGITS if most <= 1 << (d - 1))
        start = np.zeros((len(constants), plan.size), np.int64)
        used: list[Integers] = []
        for row, part, module, level in zip(modules, parts, plan.order, levels):
            row[k.SLICED_THRESHOLDS] = len(used) << (digits - 1)
            row[k.SLICED_THREE] = level.count <= 3 and level.carry
            row[k.SLICED_CARRY] = -level.carry
            wanted = np.minimum(np.arange(1 << (digits - 1)), level.count - 1)
            fields = unit * (level.stride * (wanted - level.offset) + level.odd)
            used.append(thresholds(fields, beta[:, module], fraction))
            start[:, plan.place[part]] = (
                (n[:, part] - reach[part] - level.odd) // level.stride + level.offset
            )
        digit = np.arange(digits)
        if wide:
            bits = 255 * (start[:, plan.visits, None] >> digit & 1)
        else:
            bits = (start.reshape(len(start), -1, 1, BLOCK) >> digit[:, None] & 1) @ LANES
        return SlicedTables(
            modules, self._inputs(unit, [level.stride for level in levels], digits, wide),
            bits.astype(np.uint8).reshape(len(start), -1),
            np.concatenate(used, axis=1).astype(np.uint16).reshape(-1), digits,
        )

    def _inputs(self, unit: int, strides: list[int], digits: int,
                wide: bool) -> Inputs | WideInputs:
        key = (unit, strides, digits, wide)
        if self._known is None or self._known[0] != key:
            scale = np.zeros(self.plan.topology.units, np.int64)
            for module, stride in zip(self.plan.order, strides):
                scale[self.plan.topology.units_of(module)] = 2 // stride
            weights = self.plan.weights // unit * scale[self.plan.targets]
            make = wide_inputs_of if wide else inputs_of
            self._known = key, make(self.plan, weights, digits)
        return self._known[1]


@dataclass(frozen=True)
class _Levels:
    """How the fields n of a module, in units, become `count` levels.

    ``n = stride (level - offset) + odd``; |n| in place of n where thresholds are odd-symmetric, and
    `carry` if such a magnitude is had by inverting a negative number and adding 1.
    """

    stride: int
    odd: int
    offset: int
    count: int
    carry: bool


def _levels(n: Integers, reach: Integers, unit: int, beta: Integers, fraction: int) -> _Levels:
    """Return the levels of a module from its constants and reaches in units."""
    parity = (n + reach) & 1
    stride = 1 if parity.any() and not parity.all() else 2
    odd = int(parity.all())
    limit = int((np.abs(n) + reach).max())
    fields = unit * np.arange(limit + 1)
    above, below = (thresholds(sign * fields, beta, fraction) for sign in (1, -1))
    if (above + below == FULL).all():
        return _Levels(stride, odd, 0, (limit - odd) // stride + 1, not odd)
    offset = -(-(limit + odd) // stride)
    return _Levels(stride, odd, offset, offset + (limit - odd) // stride + 1, False)

"""What hardware does to a program: fewer bits, mismatch, dead couplings and units.

Each change is made in the tables of a loaded program, or to what goes into and comes out of a
device, so that a study runs the same emulator and the same dynamics as everything else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.program import Program
from pbitstream.spec.topology import BandBank, LowRankBank
from pbitstream.spec.words import BIAS, FACTOR, FACTOR_LIMIT, GAIN, K2, STATE

__all__ = ["Imperfect", "coarse", "coarse_factors", "coarse_state", "dead_couplings", "dead_units",
           "mismatch"]

Values = NDArray[np.float64]
Tables = Mapping[str, NDArray[Any]]

#: Full scale of the converters: biases and readouts lie within +-8.
FULL_SCALE = 2.0 ** (BIAS.bits - BIAS.fraction)


@dataclass(frozen=True, eq=False)
class Imperfect:
    """A program with its faults.

    Attributes
    ----------
    program
        With changed tables.
    offset : array, shape (units,)
        Bias that every unit has besides the one it is given.
    dead : array of bool, shape (units,)
        Units that read 0, and are given no bias.
    """

    program: Program
    offset: Values
    dead: NDArray[np.bool_]

    @classmethod
    def none(cls, program: Program) -> "Imperfect":
        """Return a program without faults."""
        units = program.topology.units
        return cls(program, np.zeros(units), np.zeros(units, bool))


def coarse(values: Values, bits: int) -> Values:
    """Return values within +-8 as a converter of so many bits has them, half rounded up."""
    step = FULL_SCALE / 2**bits
    return np.asarray(np.clip(np.floor(values / step + 0.5) * step, -FULL_SCALE / 2,
                              FULL_SCALE / 2 - step))


def coarse_factors(program: Program, bits: int) -> Program:
    """Return a program whose low-rank factors have so many bits, of the 10 they come with."""
    lost = FACTOR.bits - bits

    def change(name: str, table: NDArray[Any]) -> NDArray[Any]:
        if not name.endswith((".a", ".b")):
            return table
        limit = (FACTOR_LIMIT >> lost) << lost
        rounded = np.floor(table / 2.0**lost + 0.5) * 2**lost
        return np.asarray(np.clip(rounded, -limit, limit), table.dtype)

    return _changed(program, change)


def coarse_state(units: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Return x24 of Langevin units with only the upper `bits` of them, half rounded up.

    Applied between steps it is a state register of that width.
    """
    lost = STATE.bits - bits
    rounded = ((units.astype(np.int64) + (1 << lost >> 1)) >> lost) << lost
    return np.asarray(np.clip(rounded, STATE.lowest, STATE.highest >> lost << lost), np.int32)


def mismatch(program: Program, share: float, seed: int) -> Imperfect:
    """Return a program whose k2, gains and offsets vary from unit to unit and rank to rank.

    Each k2 and each gain is multiplied by ``1 + share n``, each unit has a bias of ``share n``, n
    standard normal; units are scaled to an rms of about 1, so `share` is of that.
    """
    draw = np.random.default_rng(seed)

    def change(name: str, table: NDArray[Any]) -> NDArray[Any]:
        if name == "k2":
            # Clamped units and p-bits have none.
            limits = np.minimum(table, 1), np.where(table > 0, K2.highest, 0)
        elif name.endswith(".gain"):
            limits = np.array(-GAIN.highest), np.array(GAIN.highest)
        else:
            return table
        shape = table.shape if name != "schedule.gain" else table.shape[1:]
        factor = 1.0 + share * draw.standard_normal(shape)
        return np.clip(np.floor(table * factor + 0.5), *limits).astype(table.dtype)

    changed = _changed(program, change)
    offset = share * draw.standard_normal(program.topology.units)
    return replace(Imperfect.none(changed), offset=offset)


def dead_couplings(program: Program, share: float, seed: int) -> Program:
    """Return a program in which this share of all factors and band weights is 0."""
    draw = np.random.default_rng(seed)

    def change(name: str, table: NDArray[Any]) -> NDArray[Any]:
        if not name.endswith((".a", ".b", ".w")):
            return table
        return np.where(draw.random(table.shape) < share, 0, table).astype(table.dtype)

    return _changed(program, change)


def dead_units(program: Program, share: float, seed: int) -> Imperfect:
    """Return a program in which this share of the units, clamped ones too, couples to nothing."""
    topology = program.topology
    dead = np.random.default_rng(seed).random(topology.units) < share
    tables = dict(program.tables)
    for index, bank in enumerate(topology.banks):
        source, target = (dead[topology.units_of(end)] for end in (bank.source, bank.target))
        if isinstance(bank, LowRankBank):
            for name, gone in ((f"bank{index}.a", source), (f"bank{index}.b", target)):
                tables[name] = np.where(gone[:, None], 0, tables[name]).astype(tables[name].dtype)
        elif isinstance(bank, BandBank):
            table = tables[f"bank{index}.w"].copy()
            table[:, target] = 0
            for row, offset in enumerate(bank.offsets):
                reads = np.arange(len(target)) + offset
                inside = (reads >= 0) & (reads < len(source))
                table[row, inside] = np.where(source[reads[inside]], 0, table[row, inside])
            tables[f"bank{index}.w"] = table
    return replace(Imperfect.none(replace(program, tables=tables)), dead=dead)


def _changed(
    program: Program, change: Callable[[str, NDArray[Any]], NDArray[Any]]
) -> Program:
    tables = {name: change(name, table) for name, table in program.tables.items()}
    return replace(program, tables=tables)

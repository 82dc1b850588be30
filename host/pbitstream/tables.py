"""The tensors a program must hold, with dtype, shape and range, derived from its topology."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.spec.noise import NOISE_GAINS, NOISE_SHIFTS
from pbitstream.spec.topology import BandBank, LowRankBank, SparseBank, Topology
from pbitstream.spec.words import (
    BETA,
    EXPOSED,
    FACTOR_LIMIT,
    FIELD_LIMIT,
    GAIN,
    K2,
    K4,
    WEIGHT_BITS,
)

__all__ = [
    "Table",
    "band_rows",
    "check_tables",
    "expected_tables",
    "sparse_rows",
    "worst_field",
]

Tables = Mapping[str, NDArray[Any]]

WEIGHT_LIMIT = (1 << (WEIGHT_BITS - 1)) - 1


@dataclass(frozen=True)
class Table:
    """Dtype, shape and inclusive range of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    lowest: float = -np.inf
    highest: float = np.inf


def expected_tables(topology: Topology) -> dict[str, Table]:
    """Return what the tensors of a program with this topology must be, by name.

    Per unit: `k2`, `k4` (0 where the unit is a p-bit or clamped), `scale` and `offset`
    (value = scale * raw + offset). Per module: `beta`, `noise_gain`, `noise_shift`, and `x_max`,
    the largest exposed |x| of the calibration run. Per bank b: `bank<b>.a`, `.b`, `.gain`, or
    `.w` (offset, unit of t), or `.indptr`, `.indices`, `.weights` (CSR, rows are units of t).
    """
    units, modules = (topology.units,), (len(topology.modules),)
    tables = {
        "k2": Table("uint16", units, 0, K2.highest),
        "k4": Table("uint16", units, 0, K4.highest),
        "beta": Table("uint16", modules, 0, BETA.highest),
        "noise_gain": Table("uint16", modules, 0, NOISE_GAINS[-1]),
        "noise_shift": Table("uint8", modules, NOISE_SHIFTS[0], NOISE_SHIFTS[-1]),
        "x_max": Table("uint16", modules, 0, -EXPOSED.lowest),
        "scale": Table("float64", units),
        "offset": Table("float64", units),
    }
    for index, bank in enumerate(topology.banks):
        dim_s, dim_t = (topology.modules[m].dim for m in (bank.source, bank.target))
        if isinstance(bank, LowRankBank):
            limits = -FACTOR_LIMIT, FACTOR_LIMIT
            tables[f"bank{index}.a"] = Table("int16", (dim_s, bank.rank), *limits)
            tables[f"bank{index}.b"] = Table("int16", (dim_t, bank.rank), *limits)
            tables[f"bank{index}.gain"] = Table("int16", (bank.rank,), GAIN.lowest, GAIN.highest)
        elif isinstance(bank, BandBank):
            shape = (len(bank.offsets), dim_t)
            tables[f"bank{index}.w"] = Table("int16", shape, -WEIGHT_LIMIT - 1, WEIGHT_LIMIT)
        else:
            entries = (bank.entries,)
            tables[f"bank{index}.indptr"] = Table("int32", (dim_t + 1,), 0, bank.entries)
            tables[f"bank{index}.indices"] = Table("int32", entries, 0, dim_s - 1)
            tables[f"bank{index}.weights"] = Table("int16", entries, -WEIGHT_LIMIT - 1,
                                                   WEIGHT_LIMIT)
    return tables


def check_tables(topology: Topology, tables: Tables) -> None:
    """Raise SpecError unless every table is present, in range and consistent.

    The worst case of every field must fit int32: for each unit
    ``2^15 (2^(F-12) + sum |W| + sum |A or B|) <= 2^31 - 1``, so no partial sum overflows in any
    order.
    """
    expected = expected_tables(topology)
    schedule = {"schedule.gain"} & set(tables)
    for name in sorted(expected.keys() ^ (tables.keys() - schedule)):
        problem = "is missing" if name in expected else "is not part of this topology"
        raise SpecError(f"table {name} {problem}")
    for name, table in expected.items():
        _check_table(name, table, tables[name])
    if schedule:
        shape = (len(tables["schedule.gain"]), len(topology.banks), topology.max_rank)
        _check_table("schedule.gain", Table("int16", shape), tables["schedule.gain"])
    _check_units(topology, tables)
    for index, bank in enumerate(topology.banks):
        if isinstance(bank, BandBank):
            _check_band(topology, index, bank, tables[f"bank{index}.w"])
        elif isinstance(bank, SparseBank):
            _check_sparse(index, tables)
    worst = worst_field(topology, tables)
    if worst.max(initial=0) > FIELD_LIMIT:
        unit = int(worst.argmax())
        raise SpecError(
            f"the field of unit {unit} can reach {worst[unit] / (1 << topology.field_fraction):g}"
            f" and must stay below {FIELD_LIMIT / (1 << topology.field_fraction):g}; "
            "use smaller couplings or fewer fraction bits F"
        )


def worst_field(topology: Topology, tables: Tables) -> NDArray[np.int64]:
    """Return the worst-case absolute field of every unit, in raw steps of 2^-F."""
    starts = topology.starts
    total = np.zeros(topology.units, np.int64)
    for index, _, target, forward in topology.ends():
        bank = topology.banks[index]
        part = total[starts[target] : starts[target + 1]]
        if isinstance(bank, LowRankBank):
            factor = tables[f"bank{index}.b" if forward else f"bank{index}.a"]
            part += np.abs(factor.astype(np.int64)).sum(axis=1)
        elif isinstance(bank, BandBank):
            w = np.abs(tables[f"bank{index}.w"].astype(np.int64))
            if forward:
                part += w.sum(axis=0)
            else:
                dim_s = topology.modules[bank.source].dim
                for offset, row in zip(bank.offsets, w):
                    low, high = band_rows(offset, len(row), dim_s)
                    part[low + offset : high + offset] += row[low:high]
        else:
            weights = np.abs(tables[f"bank{index}.weights"].astype(np.int64))
            rows = sparse_rows(tables[f"bank{index}.indptr"])
            np.add.at(part, rows if forward else tables[f"bank{index}.indices"], weights)
    free = np.zeros(topology.units, bool)
    for index, module in enumerate(topology.modules):
        free[topology.units_of(index)] = not module.clamped
    bias = np.int64(1 << (topology.field_fraction - EXPOSED.fraction))
    return np.where(free, -EXPOSED.lowest * (total + bias), 0)


def band_rows(offset: int, dim_t: int, dim_s: int) -> tuple[int, int]:
    """Return the units i of t, from low to high - 1, for which i + offset lies in s."""
    low = min(max(0, -offset), dim_t)
    return low, max(low, min(dim_t, dim_s - offset))


def sparse_rows(indptr: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the row of every stored entry of a CSR table."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def _check_table(name: str, table: Table, array: NDArray[Any]) -> None:
    if array.dtype != np.dtype(table.dtype) or array.shape != table.shape:
        raise SpecError(f"table {name} must be {table.dtype} of shape {table.shape}, "
                        f"not {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise SpecError(f"table {name} must be finite")
    if array.size and not (table.lowest <= array.min() and array.max() <= table.highest):
        raise SpecError(f"table {name} must lie between {table.lowest} and {table.highest}, "
                        f"not {array.min()} to {array.max()}")


def _check_units(topology: Topology, tables: Tables) -> None:
    for index, module in enumerate(topology.modules):
        part = topology.units_of(index)
        gain = int(tables["noise_gain"][index])
        if module.kind == "langevin" and not module.clamped:
            if tables["k2"][part].min() < 1:
                raise SpecError(f"k2 of module {module.name} must be at least {K2.value(1):g}")
            if gain != 0 and gain not in NOISE_GAINS:
                raise SpecError(f"noise_gain of module {module.name} must be 0 or between "
                                f"{NOISE_GAINS[0]} and {NOISE_GAINS[-1]}, not {gain}")
        elif tables["k2"][part].any() or tables["k4"][part].any() or gain:
            raise SpecError(f"module {module.name} has no stiffness or noise: its k2, k4 and "
                            "noise_gain must be 0")


def _check_band(topology: Topology, index: int, bank: BandBank, w: NDArray[np.int16]) -> None:
    dim_s = topology.modules[bank.source].dim
    for offset, row in zip(bank.offsets, w):
        low, high = band_rows(offset, len(row), dim_s)
        if row[:low].any() or row[high:].any():
            inside = f"units {low} to {high - 1}" if high > low else "no unit"
            raise SpecError(f"weights of bank {index} at offset {offset} must be 0 where the "
                            f"neighbour lies outside the module: {inside} may have one")


def _check_sparse(index: int, tables: Tables) -> None:
    indptr = tables[f"bank{index}.indptr"]
    entries = len(tables[f"bank{index}.indices"])
    if indptr[0] != 0 or indptr[-1] != entries or (np.diff(indptr) < 0).any():
        raise SpecError(f"table bank{index}.indptr must rise from 0 to {entries}")

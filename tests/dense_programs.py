"""Random programs with dense banks: p-bits, sums of the whole range, others besides."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError, UnstableError
from pbitstream.program import Program
from pbitstream.spec.noise import NOISE_SHIFTS
from pbitstream.spec.topology import BandBank, Bank, LowRankBank, Module, SparseBank, Topology
from pbitstream.spec.words import FIELD_FRACTIONS, K2
from pbitstream.tables import band_rows

__all__ = ["dense_program", "full_program", "unit_tables"]

Tables = dict[str, NDArray[Any]]

#: Around the 16 rows of a product's tiles, the 64 from which sums are kept, and their 128.
DIMS = (1, 5, 16, 17, 63, 64, 65, 127, 128, 129, 200)


def csr(rng: np.random.Generator, dim_t: int, dim_s: int, fill: float, most: int) -> Tables:
    """Return a sparse bank of random weights; a fill above 1 stores every weight."""
    stored = rng.random((dim_t, dim_s)) < fill
    columns = np.flatnonzero(stored) % dim_s
    if len(columns) and fill < 1 and rng.random() < 0.5:
        # Parallel entries, which add up.
        columns = rng.choice(columns, len(columns))
    pointers = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    weights = rng.integers(-most, most + 1, len(columns))
    return {"indptr": pointers.astype(np.int32), "indices": columns.astype(np.int32),
            "weights": weights.astype(np.int16)}


def dense_program(
    rng: np.random.Generator, *, langevin: bool = False, low_rank: bool = True,
    dims: tuple[int, ...] = DIMS,
) -> Program:
    """Return a program with a dense bank between its first two modules and others besides."""
    count = int(rng.integers(2, 5))
    modules = tuple(
        Module(f"m{index}",
               "langevin" if (langevin and rng.random() < 0.5) else "pbit",
               int(rng.choice(dims)), index > 1 and bool(rng.random() < 0.4))
        for index in range(count)
    )
    most = int(rng.choice([1, 40, 300, 32767]))
    banks: list[Bank] = []
    parts: list[Tables] = []
    for number in range(int(rng.integers(1, 2 * count))):
        s, t = (0, 1) if number == 0 else rng.choice(count, 2, replace=False).tolist()
        dim_s, dim_t = modules[s].dim, modules[t].dim
        kind = "dense" if number == 0 else rng.choice(["dense", "sparse", "band", "low-rank"])
        if kind == "low-rank" and low_rank and max(dim_s, dim_t) <= 128:
            banks.append(LowRankBank(s, t, 3, 9, 9, 13, 12, 12))
            parts.append({"a": rng.integers(-20, 21, (dim_s, 3)).astype(np.int16),
                          "b": rng.integers(-20, 21, (dim_t, 3)).astype(np.int16),
                          "gain": rng.integers(-9000, 9000, 3).astype(np.int16)})
        elif kind == "band":
            w = rng.integers(-most, most + 1, (2, dim_t)).astype(np.int16)
            for offset, row in zip((0, -1), w):
                low, high = band_rows(offset, dim_t, dim_s)
                row[:low], row[high:] = 0, 0
            banks.append(BandBank(s, t, (0, -1)))
            parts.append({"w": w})
        else:
            fill = float(rng.choice([0.15, 0.9, 1.1]) if kind == "dense" else 0.03)
            parts.append(csr(rng, dim_t, dim_s, fill, most))
            banks.append(SparseBank(s, t, len(parts[-1]["weights"])))
    order = [n for n in rng.permutation(count).tolist() if not modules[n].clamped]
    topology = Topology(modules, tuple(banks), tuple((n,) for n in order),
                        int(rng.choice(FIELD_FRACTIONS)), 8)
    tables = unit_tables(rng, topology)
    for index, part in enumerate(parts):
        tables |= {f"bank{index}.{name}": table for name, table in part.items()}
    while True:
        try:
            program = Program(topology, dict(tables))
            program.check(force=True)
            return program
        except (SpecError, UnstableError):
            for name, table in tables.items():
                if name.startswith("bank") and name.endswith((".w", ".weights", ".a", ".b")):
                    tables[name] = np.fix(table / 2).astype(np.int16)


def unit_tables(rng: np.random.Generator, topology: Topology) -> Tables:
    """Return the tables of units and modules: stiff Langevin units, p-bits of any beta."""
    units, modules = topology.units, topology.modules
    tables: Tables = {
        "k2": np.zeros(units, np.uint16), "k4": np.zeros(units, np.uint16),
        "beta": np.zeros(len(modules), np.uint16), "noise_gain": np.zeros(len(modules), np.uint16),
        "noise_shift": np.full(len(modules), NOISE_SHIFTS[-1], np.uint8),
        "x_max": np.zeros(len(modules), np.uint16), "scale": np.ones(units),
        "offset": np.zeros(units),
    }
    for index, module in enumerate(modules):
        if module.kind == "pbit":
            tables["beta"][index] = rng.choice([0, 30, 400, 4096, 65535])
        elif not module.clamped:
            tables["k2"][topology.units_of(index)] = K2.highest
            tables["noise_gain"][index], tables["noise_shift"][index] = 5000, 12
    return tables


def full_program(weights: NDArray[np.int16], beta: int = 4096) -> Program:
    """Return two p-bit modules joined by a full matrix, (units of t, units of s)."""
    dim_t, dim_s = weights.shape
    topology = Topology((Module("s", "pbit", dim_s), Module("t", "pbit", dim_t)),
                        (SparseBank(0, 1, weights.size),), ((0,), (1,)))
    tables = unit_tables(np.random.default_rng(0), topology)
    tables["beta"][:] = beta
    return Program(topology, {
        **tables,
        "bank0.indptr": np.arange(0, weights.size + 1, dim_s, dtype=np.int32),
        "bank0.indices": np.tile(np.arange(dim_s, dtype=np.int32), dim_t),
        "bank0.weights": weights.reshape(-1),
    })

"""The coupling matrix J of a quantised program, applied without being formed.

``J_ts = B diag(S) A^T`` for a low-rank bank, shifted diagonals for a band, CSR for a sparse bank,
and the transposes; J is symmetric by construction. Values are those of the integer tables.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.spec.topology import BandBank, LowRankBank, Topology
from pbitstream.spec.words import EXPOSED
from pbitstream.tables import band_rows, sparse_rows

__all__ = ["apply_coupling", "coupling_matrix", "low_rank_factors"]

Values = NDArray[np.float64]
Tables = Mapping[str, NDArray[Any]]


def low_rank_factors(topology: Topology, tables: Tables, index: int) -> tuple[Values, ...]:
    """Return the values of A (dim_s, rank), B (dim_t, rank) and S (rank,) of a low-rank bank."""
    bank = topology.banks[index]
    assert isinstance(bank, LowRankBank)
    return (
        tables[f"bank{index}.a"] * 2.0**-bank.a_fraction,
        tables[f"bank{index}.b"] * 2.0**-bank.b_fraction,
        tables[f"bank{index}.gain"] * 2.0**-bank.gain_fraction,
    )


def apply_coupling(topology: Topology, tables: Tables, x: Values) -> Values:
    """Return J x for x of shape (units, columns); O(dim k) per low-rank bank and column."""
    field = np.zeros_like(x)
    scale = 2.0 ** (EXPOSED.fraction - topology.field_fraction)
    for index, bank in enumerate(topology.banks):
        x_s, x_t = x[topology.units_of(bank.source)], x[topology.units_of(bank.target)]
        f_s, f_t = field[topology.units_of(bank.source)], field[topology.units_of(bank.target)]
        if isinstance(bank, LowRankBank):
            a, b, gain = low_rank_factors(topology, tables, index)
            f_t += b @ (gain[:, None] * (a.T @ x_s))
            f_s += a @ (gain[:, None] * (b.T @ x_t))
        elif isinstance(bank, BandBank):
            for offset, row in zip(bank.offsets, tables[f"bank{index}.w"] * scale):
                low, high = band_rows(offset, len(x_t), len(x_s))
                weights = row[low:high, None]
                f_t[low:high] += weights * x_s[low + offset : high + offset]
                f_s[low + offset : high + offset] += weights * x_t[low:high]
        else:
            rows = sparse_rows(tables[f"bank{index}.indptr"])
            columns = tables[f"bank{index}.indices"]
            weights = tables[f"bank{index}.weights"][:, None] * scale
            np.add.at(f_t, rows, weights * x_s[columns])
            np.add.at(f_s, columns, weights * x_t[rows])
    return field


def coupling_matrix(topology: Topology, tables: Tables) -> Values:
    """Return J as a dense (units, units) matrix; for small programs and for tests."""
    return apply_coupling(topology, tables, np.eye(topology.units))

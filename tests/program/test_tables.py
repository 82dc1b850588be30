"""Tables of a program: refusals, worst-case fields, gain schedules."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from engines import draws, seeded
from pbitstream.devices.random_programs import random_program
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.topology import BandBank, LowRankBank, Module, SparseBank, Topology
from pbitstream.tables import check_tables, expected_tables, worst_field
from programs import rich_program


def tables_with(**changes: Any) -> tuple[Topology, dict[str, Any]]:
    program = rich_program()
    tables = {name: table.copy() for name, table in program.tables.items()}
    for key, change in changes.items():
        name = key.replace("__", ".")
        if change is None:
            del tables[name]
        else:
            tables[name] = change(tables[name]) if callable(change) else change
    return program.topology, tables


def put(at: Any, value: Any) -> Any:
    def change(table: Any) -> Any:
        table[at] = value
        return table

    return change


TABLE_REFUSALS = [
    ({"k2": None}, "table k2 is missing"),
    ({"extra": np.zeros(1)}, "table extra is not part of this topology"),
    ({"k4": lambda t: t.astype(np.int32)},
     ("table k4 must be uint16 of shape (15,), not int32 of "
      "shape (15,)")),
    ({"beta": lambda t: t[:3]},
     "table beta must be uint16 of shape (4,), not uint16 of shape (3,)"),
    ({"k2": put(0, 32768)}, "table k2 must lie between 0 and 32767, not 0 to 32768"),
    ({"k4": put(0, 32768)}, "table k4 must lie between 0 and 32767, not 0 to 32768"),
    ({"noise_gain": put(0, 8192)}, "table noise_gain must lie between 0 and 8191, not 0 to 8192"),
    ({"noise_shift": put(0, 3)}, "table noise_shift must lie between 4 and 22, not 3 to 22"),
    ({"noise_shift": put(0, 23)}, "table noise_shift must lie between 4 and 22, not "),
    ({"x_max": put(0, 32769)}, "table x_max must lie between 0 and 32768, not 0 to 32769"),
    ({"scale": put(0, np.nan)}, "table scale must be finite"),
    ({"offset": put(0, np.inf)}, "table offset must be finite"),
    ({"bank0__a": put((0, 0), 512)}, "table bank0.a must lie between -511 and 511, not "),
    ({"bank0__b": put((0, 0), -512)}, "table bank0.b must lie between -511 and 511, not -512 to "),
    ({"k2": put(0, 0)}, "k2 of module enc must be at least 0.000976562"),
    ({"noise_gain": put(0, 4095)},
     ("noise_gain of module enc must be 0 or between 4096 and 8191, "
      "not 4095")),
    ({"k2": put(8, 1)},
     ("module spin has no stiffness or noise: its k2, k4 and noise_gain must be "
      "0")),
    ({"k4": put(14, 1)},
     ("module held has no stiffness or noise: its k2, k4 and noise_gain must be "
      "0")),
    ({"noise_gain": put(2, 4096)},
     ("module spin has no stiffness or noise: its k2, k4 and "
      "noise_gain must be 0")),
    ({"bank2__indptr": put(0, 1)}, "table bank2.indptr must rise from 0 to 3"),
    ({"bank2__indptr": put(3, 2)}, "table bank2.indptr must rise from 0 to 3"),
    ({"bank2__indptr": put(1, 3)}, "table bank2.indptr must rise from 0 to 3"),
    ({"bank2__indptr": put(1, 4)}, "table bank2.indptr must lie between 0 and 3, not 0 to 4"),
    ({"bank2__indices": put(0, 3)}, "table bank2.indices must lie between 0 and 2, not 1 to 3"),
    ({"bank2__indices": put(0, -1)}, "table bank2.indices must lie between 0 and 2, not -1 to 2"),
    ({"bank2__weights": lambda t: t[:2]},
     ("table bank2.weights must be int16 of shape (3,), not "
      "int16 of shape (2,)")),
    ({"schedule__gain": lambda t: t[:, :2]},
     ("table schedule.gain must be int16 of shape (3, 3, 2),"
      " not int16 of shape (3, 2, 2)")),
    ({"schedule__gain": lambda t: t.astype(np.int32)},
     ("table schedule.gain must be int16 of shape "
      "(3, 3, 2), not int32 of shape (3, 3, 2)")),
]


@pytest.mark.parametrize(("changes", "message"), TABLE_REFUSALS, ids=[m for _, m in TABLE_REFUSALS])
def test_table_refusal(changes: dict[str, Any], message: str) -> None:
    topology, tables = tables_with(**changes)
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        check_tables(topology, tables)
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        Program(topology, tables)


def band_program(weights: Any, offset: int = 0, fraction: int = 20) -> Program:
    rows = np.asarray(weights, np.int16)
    topology = Topology((Module("s", "pbit", 4), Module("t", "pbit", rows.shape[1])),
                        (BandBank(0, 1, tuple(range(offset, offset + len(rows)))),), ((0,), (1,)),
                        fraction)
    tables = {name: np.zeros(t.shape, t.dtype) for name, t in expected_tables(topology).items()}
    tables["noise_shift"] += 22
    tables["bank0.w"] = rows
    return Program(topology, tables)


@pytest.mark.parametrize(("offset", "row", "inside"), [
    (0, [1, 1, 1, 1], True), (1, [1, 1, 1, 0], True), (1, [1, 1, 1, 1], False),
    (-1, [0, 1, 1, 1], True), (-1, [1, 0, 0, 0], False), (3, [1, 0, 0, 0], True),
    (3, [0, 1, 0, 0], False), (-3, [0, 0, 0, 1], True), (4, [0, 0, 0, 0], True),
    (4, [1, 0, 0, 0], False), (-9, [0, 0, 0, 1], False), (0, [1, 1, 1, 1, 0, 0], True),
    (0, [1, 1, 1, 1, 1, 0], False),
])
def test_bands_end_where_the_source_ends(offset: int, row: list[int], inside: bool) -> None:
    if inside:
        band_program([row], offset)
        return
    with pytest.raises(SpecError, match=f"^weights of bank 0 at offset {offset} must be 0 where "
                                        "the neighbour lies outside the module: .* may have one$"):
        band_program([row], offset)


@pytest.mark.parametrize("fraction", [16, 18, 20, 22])
def test_field_overflow_is_refused_exactly_at_the_limit(fraction: int) -> None:
    # 2^15 (2^(F-12) + sum |W|) <= 2^31 - 1 allows sums up to 65535 - 2^(F-12).
    room = 65535 - 2 ** (fraction - 12)
    good = [[0, 32767, 0, 0], [0, 32767 - room, 0, 0]]
    program = band_program(good, 0, fraction)
    assert program.margins().headroom_bits > 0
    worst = worst_field(program.topology, program.tables)
    assert worst.max() == 2**15 * 65535
    good[1][1] -= 1
    with pytest.raises(SpecError, match=r"^the field of unit \d+ can reach .* and must stay below "
                                        r".*; use smaller couplings or fewer fraction bits F$"):
        band_program(good, 0, fraction)


@seeded(40)
@given(draws)
def test_worst_field_is_the_sum_over_all_terms(draw: tuple[int, int]) -> None:
    program = random_program(np.random.default_rng(draw[0]), max_dim=min(draw[1], 16))
    topology, tables = program.topology, program.tables
    total = [0] * topology.units
    for index, bank in enumerate(topology.banks):
        s, t = topology.starts[bank.source], topology.starts[bank.target]
        terms: list[tuple[int, int, int]] = []
        if isinstance(bank, LowRankBank):
            for name, start in (("a", s), ("b", t)):
                for i, row in enumerate(tables[f"bank{index}.{name}"].tolist()):
                    terms += [(start + i, -1, value) for value in row]
        elif isinstance(bank, BandBank):
            for offset, row in zip(bank.offsets, tables[f"bank{index}.w"].tolist()):
                terms += [(t + i, s + i + offset, w) for i, w in enumerate(row) if w]
        else:
            pointers = tables[f"bank{index}.indptr"].tolist()
            columns = tables[f"bank{index}.indices"].tolist()
            weights = tables[f"bank{index}.weights"].tolist()
            for i in range(len(pointers) - 1):
                for e in range(pointers[i], pointers[i + 1]):
                    terms.append((t + i, s + columns[e], weights[e]))
        assert isinstance(bank, (LowRankBank, BandBank, SparseBank))
        for one, other, value in terms:
            total[one] += abs(value)
            if other >= 0:
                total[other] += abs(value)
    bias = 1 << (topology.field_fraction - 12)
    expected = [2**15 * (bias + value) for value in total]
    for index, module in enumerate(topology.modules):
        if module.clamped:
            part = topology.units_of(index)
            expected[part] = [0] * module.dim
    assert worst_field(topology, tables).tolist() == expected


def test_gains_of_a_schedule() -> None:
    program = rich_program()
    bank = program.topology.banks[0]
    assert isinstance(bank, LowRankBank)
    gains = program.gains(np.array([1, 0]))
    assert gains.shape == (2, 3, 2)
    raw = program.tables["schedule.gain"][[1, 0], 0]
    np.testing.assert_array_equal(gains[:, 0], raw * 2.0**-bank.gain_fraction)
    assert not gains[:, 1:].any()
    assert rich_program().gain_rows == 3
    assert band_program([[0, 0, 0, 0]]).gain_rows == 0

"""Programs: files, digests, refusals of tables, cost."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from engines import draws, seeded
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import Conditioning, paper_interface
from pbitstream.devices.random_programs import random_program
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.program import Program
from pbitstream.spec import canonical_json, spec_digest
from pbitstream.spec.topology import BandBank, LowRankBank, Module, SparseBank, Topology
from pbitstream.tables import check_tables, expected_tables, worst_field
from pbitstream.tensors import read_tensors, write_tensors


def net(seed: int = 0) -> Conditioning:
    rng = np.random.default_rng(seed)
    shapes = ((2, 6), (3, 2), (4, 3), (5, 4))
    weights = [rng.standard_normal(shape) for shape in shapes]
    return paper_interface(weights, [rng.standard_normal(s[0]) for s in shapes], "enc", "dec")


def rich_program(**changes: Any) -> Program:
    """Return a program with every kind of table."""
    rng = np.random.default_rng(4)
    builder = ProgramBuilder(dt_shift=4)
    enc = builder.langevin("enc", 3, k2=2.0, k4=0.1, temperature=0.02, x_max=2.0)
    dec = builder.langevin("dec", 5, k2=2.0, temperature=0.02)
    spin = builder.pbit("spin", 4, beta=1.5)
    held = builder.clamped("held", 3)
    builder.low_rank(enc, dec, rng.standard_normal((3, 2)), rng.standard_normal((5, 2)),
                     [0.05, 0.02], schedule=[[0.05, 0.02], [0.01, 0.0], [0.02, 0.02]])
    builder.band(dec, spin, {0: [0.1, 0.2, 0.1, 0.3], 1: [0.1, 0.1, 0.2, 0.1]})
    builder.sparse(held, enc, [0, 2, 2, 3], [0, 2, 1], [0.2, -0.1, 0.5])
    changes = {"conditioning": net(), "steps": 32, "burn_in": 8,
               "provenance": {"source": "test"}, **changes}
    return builder.build(**changes)


def test_round_trip_of_a_rich_program(tmp_path: Path) -> None:
    program, path = rich_program(), tmp_path / "p.safetensors"
    program.save(path)
    again = Program.open(path)
    assert again.digest == program.digest
    assert again.topology == program.topology
    assert (again.steps, again.burn_in, again.gain_rows) == (32, 8, 3)
    assert again.provenance == {"source": "test"}
    for name, tensor in program.tensors.items():
        assert again.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(again.tensors[name], tensor)
    assert again.margins() == program.margins()
    second = tmp_path / "q.safetensors"
    again.save(second)
    assert second.read_bytes() == path.read_bytes()


@seeded(25)
@given(draws)
def test_round_trip_of_random_programs(
    tmp_path_factory: pytest.TempPathFactory, draw: tuple[int, int]
) -> None:
    program = random_program(np.random.default_rng(draw[0]), max_dim=draw[1])
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    program.save(path)
    again = Program.open(path)
    assert again.digest == program.digest
    assert canonical_json(again.layout) == canonical_json(program.layout)


def test_a_program_cannot_be_changed() -> None:
    program = rich_program()
    with pytest.raises(ValueError, match="read-only"):
        program.tables["k2"][0] = 1
    with pytest.raises(TypeError):
        program.tables["k2"] = np.zeros(1)  # type: ignore[index]
    with pytest.raises(TypeError):
        program.provenance["a"] = "b"  # type: ignore[index]


def test_a_program_is_not_changed_through_the_arrays_it_was_made_from() -> None:
    program = rich_program()
    tables = {name: table.copy() for name, table in program.tables.items()}
    other = Program(program.topology, tables, program.conditioning, 32, 8)
    before = other.digest
    tables["k2"][0] ^= 1
    fresh = Program(other.topology, other.tables, other.conditioning, 32, 8)
    assert fresh.digest == before


def test_digest_sees_every_table_and_nothing_of_the_provenance() -> None:
    program = rich_program()
    assert len(program.digest) == 64
    assert rich_program().digest == program.digest
    assert rich_program(provenance={"source": "elsewhere"}).digest == program.digest
    for name in program.tables:
        tables = {n: t.copy() for n, t in program.tables.items()}
        flat = tables[name].reshape(-1)
        if name.endswith("indptr"):
            flat[1] -= 1
        elif name.endswith("indices"):
            flat[0] ^= 1
        elif name in ("scale", "offset"):
            flat[0] += 1e-9
        elif name in ("noise_gain", "beta", "k2", "k4", "noise_shift", "x_max"):
            nonzero = int(np.flatnonzero(flat)[0])
            flat[nonzero] -= 1
        else:
            flat[int(np.flatnonzero(flat)[0])] ^= 1
        changed = Program(program.topology, tables, program.conditioning, 32, 8)
        assert changed.digest != program.digest, name


def test_digest_sees_layout_and_net() -> None:
    digests = [rich_program().digest, rich_program(steps=33).digest,
               rich_program(burn_in=9).digest, rich_program(conditioning=None).digest,
               rich_program(conditioning=net(1)).digest]
    program = rich_program()
    topology = program.topology
    phases = Topology(topology.modules, topology.banks, ((2,), (0, 1)), 20, 4)
    digests.append(Program(phases, program.tables, program.conditioning, 32, 8).digest)
    names = Topology((Module("first", "langevin", 3), *topology.modules[1:]), topology.banks,
                     topology.phases, 20, 4)
    digests.append(Program(names, program.tables, None, 32, 8).digest)
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(("changes", "message"), [
    ({"steps": 0}, "steps must be between 1 and 16777215, not 0"),
    ({"steps": 1 << 24}, "steps must be between 1 and 16777215, not 16777216"),
    ({"burn_in": -1}, "burn_in must be between 0 and 16777215, not -1"),
    ({"burn_in": 1 << 24}, "burn_in must be between 0 and 16777215, not 16777216"),
])
def test_window_is_checked(changes: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}$"):
        rich_program(**changes)


def changed_file(tmp_path: Path, **metadata: str | None) -> Path:
    path = tmp_path / "p.safetensors"
    rich_program().save(path)
    tensors, found = read_tensors(path)
    found.pop("crc32")
    merged = {**found, **metadata}
    write_tensors(path, tensors, {k: v for k, v in merged.items() if v is not None})
    return path


@pytest.mark.parametrize(("metadata", "message"), [
    ({"pbitstream": "model"}, "not a program of schema 1, but model of schema 1"),
    ({"pbitstream": None}, "not a program of schema 1, but something else of schema 1"),
    ({"schema": "2"}, "not a program of schema 1, but program of schema 2"),
    ({"spec_digest": "0" * 64}, (f"made for spec {'0' * 16}, this is spec {spec_digest()[:16]}; "
                                "compile the model again with this version")),
    ({"program_digest": "f" * 64}, f"the file says {'f' * 16}; get the file again"),
    ({"layout": "["}, ""),
    ({"layout": None}, ""),
    ({"layout": "[]"}, ""),
    ({"layout": "{}"}, ""),
    ({"layout": "[" * 100_000}, ""),
    ({"layout": '{"topology":{"banks":[[]]}}'}, ""),
    ({"layout": '{"topology":5}'}, ""),
    ({"provenance": "5"}, ""),
    ({"provenance": "["}, ""),
    ({"provenance": None}, ""),
], ids=lambda value: str(value)[:40])
def test_files_of_another_kind_are_refused(
    tmp_path: Path, metadata: dict[str, str | None], message: str
) -> None:
    path = changed_file(tmp_path, **metadata)
    with pytest.raises(FileFormatError, match=re.escape(f"{path}: ") + ".*" + re.escape(message)):
        Program.open(path)


@pytest.mark.parametrize("layout", [
    ('"burn_in":8', '"burn_in":-8'),
    ('"burn_in":8', '"burn_in":1e999'),
    ('"burn_in":8', '"burn_in":null'),
    ('"field_fraction":20', '"field_fraction":21'),
    ('"kind":"band"', '"kind":"dense"'),
    ('"dim":3', '"dim":4'),
    ('"name":"enc"', '"name":[]'),
    ('"name":"enc"', '"name":"dec"'),
    ('"target":"enc"', '"target":"nothing"'),
    ('"kind":"silu"', '"kind":"relu"'),
    ('"fraction":', '"fraction":-'),
    ('"inputs":6', '"inputs":7'),
    ('"phases":[[0,1],[2]]', '"phases":[[0,1]]'),
])
def test_damaged_layouts_are_refused(tmp_path: Path, layout: tuple[str, str]) -> None:
    _, metadata = read_tensors(changed_file(tmp_path))
    assert layout[0] in metadata["layout"], metadata["layout"]
    path = changed_file(tmp_path, layout=metadata["layout"].replace(*layout))
    with pytest.raises(FileFormatError, match=re.escape(str(path))):
        Program.open(path)


@pytest.mark.parametrize("name", sorted(rich_program().tensors))
def test_a_file_without_one_tensor_or_with_another_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "p.safetensors"
    rich_program().save(path)
    tensors, metadata = read_tensors(path)
    for change in ("drop", "dtype", "shape", "value"):
        changed = dict(tensors)
        if change == "drop":
            del changed[name]
        elif change == "dtype":
            changed[name] = changed[name].astype(np.int64)
        elif change == "shape":
            changed[name] = changed[name].reshape(-1)[:-1]
        else:
            flat = changed[name].copy().reshape(-1)
            flat[-1] += 1
            changed[name] = flat.reshape(changed[name].shape)
        write_tensors(path, changed, metadata)
        with pytest.raises(FileFormatError, match=re.escape(str(path))):
            Program.open(path)


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


def test_cost_of_a_rich_program() -> None:
    cost = rich_program().cost(lanes=4)
    # Low-rank both ways: 2 * 2 * (3 + 5), and 2 * 2 products S z; band both ways: 2 * 8 weights but
    # one: spin 3 reads dec 4; sparse into enc only: 3.
    banks = 32 + 2 * 8 + 3
    assert cost.multiplications_per_step == banks + 4 + 4 * 8 + 4
    assert cost.cycles_per_step == -(-banks // 4)
    assert cost.lanes == 4
    assert cost.words == 2 * (3 + 5 + 1) + 8 + 2 * 3 + 3 * 15

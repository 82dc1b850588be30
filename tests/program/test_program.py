"""Programs: files, digests, cost."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from engines import draws, seeded
from pbitstream.devices.random_programs import random_program
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.program import Program
from pbitstream.spec import canonical_json, spec_digest
from pbitstream.spec.topology import Module, Topology
from pbitstream.tensors import read_tensors, write_tensors
from programs import net, rich_program


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


def test_cost_of_a_rich_program() -> None:
    cost = rich_program().cost(lanes=4)
    # Low-rank both ways: 2 * 2 * (3 + 5), and 2 * 2 products S z; band both ways: 2 * 8 weights but
    # one: spin 3 reads dec 4; sparse into enc only: 3.
    banks = 32 + 2 * 8 + 3
    assert cost.multiplications_per_step == banks + 4 + 4 * 8 + 4
    assert cost.cycles_per_step == -(-banks // 4)
    assert cost.lanes == 4
    assert cost.words == 2 * (3 + 5 + 1) + 8 + 2 * 3 + 3 * 15

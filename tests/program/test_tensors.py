"""The safetensors layout against the package of that name, and against damage of every kind."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines import seeded
from pbitstream import tensors as module
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.tensors import DTYPES, read_tensors, write_tensors

Tensors = dict[str, NDArray[Any]]


def sample(rng: np.random.Generator, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return np.asarray(rng.standard_normal(shape), dtype)
    info = np.iinfo(dtype)
    return np.asarray(rng.integers(info.min, info.max, shape, dtype, endpoint=True), dtype)


def all_dtypes() -> Tensors:
    rng = np.random.default_rng(0)
    found = {f"t.{name}": sample(rng, dtype, (2, 3)) for name, dtype in DTYPES.items()}
    return {**found, "scalar": np.array(7, np.int32), "empty": np.zeros((0, 4), np.int16)}


def assert_equal(got: Tensors, expected: Tensors) -> None:
    assert sorted(got) == sorted(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype
        assert got[name].shape == array.shape
        np.testing.assert_array_equal(got[name], array)


def small_file(path: Path) -> tuple[bytes, Tensors, dict[str, str]]:
    tensors = {"a": np.array([[1, -2], [3, 4]], np.int16), "b": np.array([0.5])}
    metadata = {"kind": "test", "é": "ü"}
    write_tensors(path, tensors, metadata)
    return path.read_bytes(), tensors, read_tensors(path)[1]


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
contents = st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda n: n != "__metadata__"),
                           st.tuples(st.sampled_from(sorted(DTYPES)), shapes), max_size=4)


@seeded(60)
@given(contents, st.dictionaries(st.sampled_from(["a", "b", "ß"]), st.text(max_size=9)))
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, layout: dict[str, Any], metadata: dict[str, str]
) -> None:
    path = tmp_path_factory.mktemp("round") / "file.safetensors"
    rng = np.random.default_rng(1)
    tensors = {name: sample(rng, DTYPES[d], shape) for name, (d, shape) in layout.items()}
    write_tensors(path, tensors, metadata)
    got, found = read_tensors(path)
    assert_equal(got, tensors)
    assert {key: found[key] for key in metadata} == metadata
    # The same contents are the same bytes.
    before = path.read_bytes()
    write_tensors(path, dict(reversed(tensors.items())), metadata)
    assert path.read_bytes() == before


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    path, tensors = tmp_path / "ours.safetensors", all_dtypes()
    write_tensors(path, tensors, {"kind": "test"})
    assert_equal(safetensors.numpy.load_file(path), tensors)
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata()["kind"] == "test"
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert header % 8 == 0


def test_we_read_the_layout_of_the_package(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    rng = np.random.default_rng(0)
    tensors = {name: sample(rng, np.int32, (3, n)) for n, name in enumerate("abc")}
    data = safetensors.numpy.save(tensors)
    size = int.from_bytes(data[:8], "little")
    # The package's own header and bytes; only our sums are added.
    path.write_bytes(craft(json.loads(data[8 : 8 + size]), data[8 + size :]))
    assert_equal(read_tensors(path)[0], tensors)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    safetensors.numpy.save_file({"x": np.ones(3)}, path)
    with pytest.raises(FileFormatError, match="not a file that pbitstream wrote"):
        read_tensors(path)
    safetensors.numpy.save_file({"x": np.ones(3)}, path, {"crc32": "{}", "sha256": "0"})
    with pytest.raises(FileFormatError, match="tensor x is damaged"):
        read_tensors(path)
    for data in (b"PK\x03\x04" + bytes(60), b"%PDF-1.7\n" * 9, b"\x89PNG\r\n\x1a\n" * 9,
                 b"\x93NUMPY\x01\x00" * 9, b"\x00" * 64, b"\xff" * 64, b"{}" * 40):
        path.write_bytes(data)
        with pytest.raises(FileFormatError, match=str(path)):
            read_tensors(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data, _, _ = small_file(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(FileFormatError, match=r"truncated|not a safetensors file"):
            read_tensors(path)
    path.write_bytes(data + b"\x00")
    with pytest.raises(FileFormatError, match="too long"):
        read_tensors(path)


# Among these: a space to a tab or a line feed, and the case of a letter.
@pytest.mark.parametrize("flip", [0xFF, 0x01, 0x10, 0x20, 0x29, 0x2A, 0x80])
def test_every_flipped_byte_is_refused(tmp_path: Path, flip: int) -> None:
    path = tmp_path / "file"
    data, _, _ = small_file(path)
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
        with pytest.raises(FileFormatError, match=str(path)):
            read_tensors(path)


def craft(header: Any, body: bytes = b"", metadata: dict[str, Any] | None = None) -> bytes:
    """Return a file whose sums are right, whatever its header says."""
    if isinstance(header, dict):
        entries = {n: e for n, e in header.items() if n != "__metadata__"}
        sums = {}
        for name, entry in entries.items():
            span = slice(0, 0)
            if isinstance(entry, dict) and isinstance(entry.get("data_offsets"), list):
                ends = [e for e in entry["data_offsets"] if isinstance(e, int)]
                span = slice(*ends[:2]) if len(ends) > 1 else span
            sums[name] = f"{zlib.crc32(body[span]):08x}"
        signed = {"crc32": json.dumps(sums), **(metadata or {})}
        text = json.dumps([entries, signed], sort_keys=True).encode()
        signed = {**signed, "sha256": hashlib.sha256(text + body).hexdigest()}
        header = {"__metadata__": signed, **header}
    data = header if isinstance(header, bytes) else json.dumps(header, sort_keys=True).encode()
    data += b" " * (-len(data) % 8)
    return len(data).to_bytes(8, "little") + data + body


def entry(dtype: Any = "F64", shape: Any = (1,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape if not isinstance(shape, tuple) else list(shape),
            "data_offsets": offsets if not isinstance(offsets, tuple) else list(offsets)}


def test_a_crafted_file_is_read_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(craft({"x": entry()}, np.ones(1).tobytes()))
    assert read_tensors(path)[0]["x"].tolist() == [1.0]


ABSURD: dict[str, Callable[[], bytes]] = {
    "a length of 2^63": lambda: (1 << 63).to_bytes(8, "little") + bytes(100),
    "a length of 16 MiB and one": lambda: ((1 << 24) + 1).to_bytes(8, "little") + bytes(100),
    "no header": lambda: bytes(8),
    "a list": lambda: craft([]),
    "a number": lambda: craft(5),
    "null": lambda: craft(None),
    "text": lambda: craft("text"),
    "bytes that are no UTF-8": lambda: craft(b"\xff\xfe{}"),
    "half of a header": lambda: craft(b'{"x": {"dtype": '),
    "deep nesting": lambda: craft(b"[" * 200_000),
    "deep nesting of objects": lambda: craft(b'{"a":' * 100_000),
    "a number of 10,000 digits": lambda: craft(b'{"a":' + b"9" * 10_000 + b"}"),
    "an entry that is a list": lambda: craft({"x": []}),
    "an entry that is null": lambda: craft({"x": None}),
    "an unknown dtype": lambda: craft({"x": entry("F16")}, bytes(8)),
    "a dtype that is a list": lambda: craft({"x": entry([])}, bytes(8)),
    "a negative size": lambda: craft({"x": entry(shape=(-1,))}, bytes(8)),
    "two negative sizes": lambda: craft({"x": entry(shape=(-1, -1))}, bytes(8)),
    "a huge size": lambda: craft({"x": entry(shape=(1 << 62,))}, bytes(8)),
    "a huge empty shape": lambda: craft({"x": entry(shape=(0, 1 << 70), offsets=(0, 0))}),
    "a large empty shape": lambda: craft({"x": entry(shape=(0, 1 << 62, 1 << 62),
                                                     offsets=(0, 0))}),
    "a hundred dimensions": lambda: craft({"x": entry(shape=(1,) * 100)}, bytes(8)),
    "a size of infinity": lambda: craft({"x": entry(shape=[float("inf")])}, bytes(8)),
    "a size of NaN": lambda: craft({"x": entry(shape=[float("nan")])}, bytes(8)),
    "a size that is text": lambda: craft({"x": entry(shape=["a"])}, bytes(8)),
    "a shape that is null": lambda: craft({"x": entry(shape=None)}, bytes(8)),
    "three offsets": lambda: craft({"x": entry(offsets=(0, 8, 8))}, bytes(8)),
    "offsets that go back": lambda: craft({"x": entry(offsets=(8, 0))}, bytes(8)),
    "offsets of infinity": lambda: craft({"x": entry(offsets=[0, float("inf")])}, bytes(8)),
    "a gap": lambda: craft({"x": entry(offsets=(8, 16))}, bytes(16)),
    "an overlap": lambda: craft({"x": entry(), "y": entry()}, bytes(8)),
    "metadata that is a list": lambda: craft({"__metadata__": [], "x": entry()}, bytes(8)),
    "metadata that is text": lambda: craft({"__metadata__": "text", "x": entry()}, bytes(8)),
    "sums that are a list": lambda: craft({"x": entry()}, bytes(8), {"crc32": "[]"}),
    "sums that are a number": lambda: craft({"x": entry()}, bytes(8), {"crc32": "5"}),
    "sums that are null": lambda: craft({"x": entry()}, bytes(8), {"crc32": "null"}),
    "sums that nest deeply": lambda: craft({"x": entry()}, bytes(8), {"crc32": "[" * 100_000}),
    "NaN": lambda: craft({"x": entry()}, np.array([np.nan]).tobytes()),
    "infinity": lambda: craft({"x": entry("F32", offsets=(0, 4))},
                              np.array([np.inf], np.float32).tobytes()),
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(ABSURD[name]())
    with pytest.raises(FileFormatError, match=str(path)):
        read_tensors(path)


@seeded(200)
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, framed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.bin"
    path.write_bytes(len(data).to_bytes(8, "little") + data if framed else data)
    with pytest.raises(FileFormatError):
        read_tensors(path)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "absent")
    with pytest.raises(OSError, match="absent"):
        write_tensors(tmp_path / "absent" / "file", {}, {})


def test_what_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data, _, _ = small_file(path)
    for bad, message in (
        (np.array([np.nan]), "tensor x must be finite; it holds NaN or infinity"),
        (np.array([np.inf], np.float32), "tensor x must be finite; it holds NaN or infinity"),
        (np.array([True]), "tensor x must have a dtype of F64, .* not bool"),
        (np.array([1j]), "tensor x must have a dtype of F64, .* not complex128"),
        (np.array(["text"]), "tensor x must have a dtype of F64, .* not <U4"),
        (np.array([None]), "tensor x must have a dtype of F64, .* not object"),
        (np.ones(1, np.float16), "tensor x must have a dtype of F64, .* not float16"),
    ):
        with pytest.raises(SpecError, match=f"^{message}$"):
            write_tensors(path, {"ok": np.ones(1), "x": bad}, {})
        assert path.read_bytes() == data
    assert os.listdir(tmp_path) == ["file"]


def test_a_tensor_cannot_take_the_place_of_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(SpecError):
        write_tensors(path, {"__metadata__": np.ones(1)}, {})


def test_byte_order_and_strides_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    array = np.arange(24, dtype=np.int32).reshape(4, 6)
    write_tensors(path, {"x": array.astype(">i4")[::2, ::-1].T}, {})
    assert_equal(read_tensors(path)[0], {"x": np.ascontiguousarray(array[::2, ::-1].T)})


@pytest.mark.parametrize("failing", ["replace", "chmod", "fdopen"])
def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "file"
    data, tensors, _ = small_file(path)
    for error in (OSError("disk full"), KeyboardInterrupt()):
        if failing == "fdopen":
            real = os.fdopen

            def fdopen(handle: int, mode: str, real: Any = real, error: Any = error) -> Any:
                file = real(handle, mode)

                class Broken:
                    def __enter__(self) -> "Broken":
                        return self

                    def __exit__(self, *_: object) -> None:
                        file.close()

                    def writelines(self, chunks: list[bytes]) -> None:
                        file.write(chunks[0])
                        raise error

                return Broken()

            monkeypatch.setattr(module.os, failing, fdopen)
        else:

            def broken(*_: object, error: Any = error) -> None:
                raise error

            monkeypatch.setattr(module.os, failing, broken)
        with pytest.raises(type(error)):
            write_tensors(path, {**tensors, "more": np.ones(100)}, {})
        monkeypatch.undo()
        assert path.read_bytes() == data
        assert os.listdir(tmp_path) == ["file"]

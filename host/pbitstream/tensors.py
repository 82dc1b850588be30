"""Reading and writing the safetensors layout on NumPy alone.

The layout is 8 bytes of header length, a JSON header, then the tensors' bytes without gaps. To
what the layout asks for we add a SHA-256 of the content and a CRC-32 of every tensor in the string
metadata, and refuse what fails them. Boards have no wheel of the `safetensors` package, which is
the oracle of this module in the tests.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import FileFormatError, SpecError

__all__ = ["read_tensors", "write_tensors"]

# Quoted: NumPy 1.21 cannot subscript a dtype at run time.
DTYPES: "dict[str, np.dtype[Any]]" = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
#: Longest header that is read; ours are a few kilobytes.
MAX_HEADER = 1 << 24
#: The header's own entry among the tensors.
METADATA = "__metadata__"


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str],
) -> None:
    """Write tensors and string metadata to `path`, whole or not at all.

    Raises
    ------
    SpecError
        If a tensor holds NaN or infinities, or has a dtype the layout lacks.
    OSError
        If the file cannot be written; an existing file at `path` is then untouched.
    """
    if METADATA in tensors:
        raise SpecError(f"{METADATA} is not a name a tensor can have")
    header: dict[str, Any] = {}
    chunks: list[bytes] = []
    end = 0
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        if array.dtype not in NAMES:
            raise SpecError(f"tensor {name} must have a dtype of {', '.join(DTYPES)}, "
                            f"not {array.dtype}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise SpecError(f"tensor {name} must be finite; it holds NaN or infinity")
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
        chunks.append(array.tobytes())
    sums = {name: f"{zlib.crc32(chunk):08x}" for name, chunk in zip(sorted(tensors), chunks)}
    signed = {**metadata, "crc32": json.dumps(sums, sort_keys=True)}
    header[METADATA] = {**signed, "sha256": _digest(header, signed, b"".join(chunks))}
    text = _header_text(header)
    _write_whole(Path(path), [len(text).to_bytes(8, "little"), text, *chunks])


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the tensors and the metadata of a file that `write_tensors` made.

    Raises
    ------
    FileFormatError
        If the file is damaged, truncated, not finite, or of another origin; the message names
        the file and the reason.
    OSError
        If the file cannot be opened.
    """
    data = Path(path).read_bytes()
    try:
        return _parse(data)
    except _BadFile as reason:
        raise FileFormatError(f"{path}: {reason}") from None


class _BadFile(Exception):
    """Why a file was refused; `read_tensors` adds its name."""


def _parse(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    if len(data) < 8:
        raise _BadFile(f"not a safetensors file: it has {len(data)} bytes")
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER:
        raise _BadFile("not a safetensors file: its header length is absurd")
    if len(data) < 8 + size:
        raise _BadFile(f"truncated: {8 + size} bytes of header expected, {len(data)} found")
    try:
        header = json.loads(data[8 : 8 + size])
        canonical = _header_text(header)
        metadata = header.pop(METADATA)
        tensors = _slice(header, data[8 + size :], json.loads(metadata["crc32"]))
        digest = metadata.pop("sha256")
    except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError,
            ValueError) as error:
        raise _BadFile(f"not a file that pbitstream wrote: {error!r} in its header") from None
    if canonical != data[8 : 8 + size] or digest != _digest(header, metadata, data[8 + size :]):
        raise _BadFile("damaged: its contents do not match its SHA-256")
    return tensors, metadata


def _slice(
    header: Mapping[str, Any], body: bytes, sums: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """Return the tensors of a header; they must fill the body without gaps."""
    tensors: dict[str, NDArray[Any]] = {}
    expected = 0
    for name, entry in header.items():
        dtype, shape = DTYPES[entry["dtype"]], [int(n) for n in entry["shape"]]
        end = expected + dtype.itemsize * math.prod(shape)
        if min(shape, default=0) < 0 or entry["data_offsets"] != [expected, end]:
            raise _BadFile(f"tensor {name} has shape {shape} and offsets {entry['data_offsets']}, "
                           f"expected to start at byte {expected}")
        if end > len(body):
            raise _BadFile(f"truncated: {end} bytes of data expected, {len(body)} found")
        chunk = body[expected:end]
        if sums.get(name) != f"{zlib.crc32(chunk):08x}":
            raise _BadFile(f"tensor {name} is damaged: its CRC-32 differs")
        tensors[name] = np.frombuffer(chunk, dtype).reshape(shape)
        if dtype.kind == "f" and not np.isfinite(tensors[name]).all():
            raise _BadFile(f"tensor {name} holds NaN or infinity")
        expected = end
    if len(body) != expected:
        raise _BadFile(f"too long: {expected} bytes of data expected, {len(body)} found")
    return tensors


def _header_text(header: Mapping[str, Any]) -> bytes:
    """Return the header's bytes: canonical JSON, padded so that the data start aligned."""
    text = json.dumps(header, sort_keys=True).encode()
    return text + b" " * (-len(text) % 8)


def _digest(header: Mapping[str, Any], metadata: Mapping[str, str], body: bytes) -> str:
    """Return the SHA-256 of the whole content: tensor entries, metadata but for it, and data."""
    text = json.dumps([{k: header[k] for k in header if k != METADATA}, dict(metadata)],
                      sort_keys=True)
    return hashlib.sha256(text.encode() + body).hexdigest()


def _write_whole(path: Path, chunks: list[bytes]) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        # Named after the file that was asked for, not after a part of it.
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(chunks)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise

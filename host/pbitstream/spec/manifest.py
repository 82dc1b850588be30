"""The manifest of a bitstream: what it was built from, what it is for, and whether it is whole.

A manifest ``NAME.json`` stands beside its bitstream. `pbitstream build` writes both, `pbitstream
flash` believes neither until it has checked them. Equal inputs give equal manifests: no times, no
paths of a machine.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pbitstream.errors import FileFormatError, SpecError
from pbitstream.spec.bitfile import BitFile, is_bit_file
from pbitstream.spec.digest import spec_digest
from pbitstream.spec.image import Image

__all__ = ["Clock", "Manifest", "Programmer", "device_id"]

SCHEMA = 1
#: What a board may be called where its name becomes part of a command or of a file's name.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
#: An ECP5's bitstream: this ends its comment, and this command precedes its device id.
PREAMBLE = b"\xff\xff\xbd\xb3"
VERIFY_ID = b"\xe2\x00\x00\x00"
#: Within so many bytes of the preamble.
VERIFY_ID_WITHIN = 64


@dataclass(frozen=True)
class Clock:
    """In MHz: what was asked for, and what place and route reached."""

    requested: float
    achieved: float


@dataclass(frozen=True)
class Programmer:
    """Which tool loads a bitstream, and what it calls the board."""

    tool: str
    board: str


@dataclass(frozen=True)
class Manifest:
    """A manifest.

    Parameters
    ----------
    board
        What commands call the board.
    preset, image
        The image's name and parameters.
    spec_digest
        Of the spec that it was built for.
    bitstream, size, sha256
        The file beside the manifest, its bytes, and their digest in hex.
    part, idcode
        The chip's order code and its JTAG device id.
    clock, baud
        Of the design, and of its serial line after a reset; 0 if it has none.
    utilisation
        Per resource what it takes and what the chip has.
    inputs
        SHA-256 of all that the bitstream depends on: netlist, constraints, options, tools.
    options, tools
        Of place and route, and versions by package.
    programmer, line
        How it gets to the board, and a pattern of what Linux calls the board's serial line.
    """

    board: str
    preset: str
    image: Image
    spec_digest: str
    bitstream: str
    size: int
    sha256: str
    part: str
    idcode: int
    clock: Clock
    baud: int
    utilisation: Mapping[str, tuple[int, int]]
    inputs: str
    options: Mapping[str, Any]
    tools: Mapping[str, str]
    programmer: Programmer
    line: str

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON can hold it."""
        fields = asdict(self)
        fields["idcode"] = f"{self.idcode:#010x}"
        fields["image"]["kinds"] = list(self.image.kinds)
        return {"pbitstream": "bitstream", "schema": SCHEMA, **fields}

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Return the manifest in a file.

        Raises
        ------
        FileFormatError
            If it is not one, or was made by another version.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise FileFormatError(f"{path}: no manifest, since it is not JSON: {error}") from error
        if not isinstance(data, dict) or data.get("pbitstream") != "bitstream":
            raise FileFormatError(f"{path}: not the manifest of a bitstream")
        if data.get("schema") != SCHEMA:
            raise FileFormatError(f"{path}: a manifest of schema {data.get('schema')}, this is "
                                  f"{SCHEMA}; build it again with this version")
        try:
            return cls._of(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise FileFormatError(f"{path}: damaged manifest: {what}; build it again") from error

    @classmethod
    def _of(cls, data: Mapping[str, Any]) -> "Manifest":
        image = dict(data["image"])
        found = cls(
            **{name: _text(data, name) for name in ("board", "preset", "spec_digest", "bitstream",
                                                    "sha256", "part", "inputs", "line")},
            image=Image(kinds=tuple(image.pop("kinds")), **image),
            size=int(data["size"]),
            idcode=int(data["idcode"], 16),
            clock=Clock(**data["clock"]),
            baud=int(data["baud"]),
            utilisation={name: (int(used), int(has))
                         for name, (used, has) in data["utilisation"].items()},
            options=dict(data["options"]),
            tools=dict(data["tools"]),
            programmer=Programmer(**data["programmer"]),
        )
        for name in (found.board, found.programmer.board):
            if not NAME.fullmatch(name):
                raise SpecError(f"{name!r} is no name of a board")
        if Path(found.bitstream).name != found.bitstream or found.bitstream in ("", ".", ".."):
            raise SpecError(f"bitstream must be a file beside the manifest, not "
                            f"{found.bitstream!r}")
        return found

    def check(self, path: Path) -> bytes:
        """Return the bytes of the bitstream beside a manifest at `path`, having checked them.

        Raises
        ------
        FileFormatError
            If it was built for another spec, is missing, is damaged, or is for another chip than
            the manifest says.
        """
        again = f"build it again with pbitstream build {self.board}"
        if self.spec_digest != spec_digest():
            raise FileFormatError(f"{path}: built for spec {self.spec_digest[:16]}, this is spec "
                                  f"{spec_digest()[:16]}; {again}")
        file = path.with_name(self.bitstream)
        if not file.is_file():
            raise FileFormatError(f"{file}: the bitstream of {path} is missing; {again}")
        data = file.read_bytes()
        if len(data) != self.size or hashlib.sha256(data).hexdigest() != self.sha256:
            raise FileFormatError(f"{file}: damaged: {len(data):,} bytes with another SHA-256 than "
                                  f"those {self.size:,} that {path} describes; {again}")
        inside = device_id(data)
        if inside != self.idcode:
            shown = "no device id" if inside is None else f"device id {inside:#010x}"
            raise FileFormatError(f"{file}: holds {shown}, and not {self.idcode:#010x} as {path} "
                                  f"says; {again}")
        return data


def device_id(bitstream: bytes) -> int | None:
    """Return the JTAG device id that an ECP5's or a Zynq's bitstream is for, None if it is none."""
    if is_bit_file(bitstream):
        try:
            return BitFile.parse(bitstream).idcode
        except FileFormatError:
            return None
    start = bitstream.find(PREAMBLE)
    if start < 0:
        return None
    place = bitstream.find(VERIFY_ID, start, start + VERIFY_ID_WITHIN)
    if place < 0:
        return None
    place += len(VERIFY_ID)
    return int.from_bytes(bitstream[place : place + 4], "big")


def _text(data: Mapping[str, Any], name: str) -> str:
    if not isinstance(data[name], str):
        raise SpecError(f"{name} must be text, not {data[name]!r}")
    return str(data[name])

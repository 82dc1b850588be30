"""The named images of the gateware as Verilog, kept until a source of theirs changes."""

import hashlib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pbitstream.errors import SpecError
from pbitstream_sim import toolchain
from pbitstream_sim.cache import cached
from pbitstream_sim.verilated import to_verilog

__all__ = ["image_verilog"]


def image_verilog(name: str) -> str:
    """Return the top of an image as Verilog; converting it takes seconds, the second time none.

    Raises
    ------
    SpecError
        If there is no image of that name.
    MissingExtraError
        If Amaranth is missing.
    """
    toolchain.require_packages("amaranth")
    from pbitstream_gateware.presets import PRESETS

    if name not in PRESETS:
        raise SpecError(f"image must be one of {', '.join(PRESETS)}, not {name!r}")
    image = PRESETS[name]

    def make(folder: Path) -> None:
        from pbitstream_gateware.top import Top

        toolchain.note(f"turning the gateware of image {name} into Verilog, once")
        (folder / "top.v").write_text(to_verilog(Top(image)), encoding="utf-8")

    return (cached("verilog", _key(repr(image)), make) / "top.v").read_text(encoding="utf-8")


def _key(image: str) -> str:
    """Return a digest of all that the Verilog of an image is made from."""
    digest = hashlib.sha256(f"{image}, amaranth {version('amaranth')}".encode())
    for package in ("pbitstream_gateware", "pbitstream.spec"):
        found = find_spec(package)
        assert found is not None
        assert found.origin is not None
        folder = Path(found.origin).parent
        for source in sorted(folder.rglob("*.py")):
            digest.update(str(source.relative_to(folder)).encode() + source.read_bytes())
    return digest.hexdigest()[:20]

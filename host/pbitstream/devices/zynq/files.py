"""An image for a Zynq board on disk: NAME.bit, and NAME.hwh beside it, which says what it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from xml.etree import ElementTree

from pbitstream.errors import FileFormatError, SpecError
from pbitstream.spec.bitfile import BitFile
from pbitstream.spec.digest import spec_digest
from pbitstream.spec.handoff import INSTANCE
from pbitstream.spec.image import IMAGE_KINDS, Image

__all__ = ["ImageFiles"]

#: The module of the processor, and its parameter for the clock of the fabric, in MHz.
PROCESSOR, CLOCK = "processing_system7", "PCW_FPGA0_PERIPHERAL_FREQMHZ"


@dataclass(frozen=True)
class ImageFiles:
    """An image whose two files agree with each other and with this spec.

    Parameters
    ----------
    path
        Of the .bit file.
    bits
        What it holds.
    image
        Its parameters.
    clock
        In Hz: what FCLK0 must be.
    """

    path: Path
    bits: BitFile
    image: Image
    clock: float

    @classmethod
    def read(cls, path: Path) -> "ImageFiles":
        """Return the image in a .bit file and the .hwh beside it.

        Raises
        ------
        SpecError
            If there is no such file.
        FileFormatError
            If one of them is damaged, is for another chip than the other, or for another spec.
        """
        if not path.is_file():
            raise SpecError(f"image must be a .bit file, and there is no {path}; pbitstream build "
                            "pynq-z2 says how to make one")
        bits = BitFile.parse(path.read_bytes(), str(path))
        beside = path.with_suffix(".hwh")
        if not beside.is_file():
            raise FileFormatError(f"{beside} is missing, which says what {path.name} holds and its "
                                  "clock; pbitstream build pynq-z2 makes it")
        try:
            return cls(path, bits, *_handoff(beside.read_bytes(), bits.part))
        except (ElementTree.ParseError, KeyError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise FileFormatError(f"{beside}: {what}; build it again with pbitstream build "
                                  "pynq-z2") from error


def _handoff(text: bytes, part: str) -> tuple[Image, float]:
    """Return the parameters of an image and its clock, from a handoff that is for a part."""
    root = ElementTree.fromstring(text)
    system = root.find("SYSTEMINFO")
    chip = "no chip" if system is None else system.get("DEVICE", "") + system.get("PACKAGE", "")
    if chip != part:
        raise SpecError(f"for {chip}, the bitstream beside it is for {part}")
    substrate = _parameters(root, "INSTANCE", INSTANCE)
    if substrate["SPEC_DIGEST"] != spec_digest():
        raise SpecError(f"built for spec {substrate['SPEC_DIGEST'][:16]}, this is spec "
                        f"{spec_digest()[:16]}")
    kinds = int(substrate["KINDS"])
    numbers = {field.name: int(substrate[field.name.upper()]) for field in fields(Image)
               if field.name != "kinds"}
    image = Image(kinds=tuple(k for bit, k in enumerate(IMAGE_KINDS) if kinds >> bit & 1),
                  **numbers)
    clock = float(_parameters(root, "MODTYPE", PROCESSOR)[CLOCK]) * 1e6
    if not 1e6 <= clock <= 1e9:
        raise SpecError(f"{CLOCK} must be between 1 and 1000, not {clock / 1e6:g}")
    return image, clock


def _parameters(root: ElementTree.Element, attribute: str, value: str) -> Mapping[str, str]:
    for module in root.iter("MODULE"):
        if module.get(attribute) == value:
            return {entry.get("NAME", ""): entry.get("VALUE", "")
                    for entry in module.iter("PARAMETER")}
    raise SpecError(f"no module has {attribute} {value}")

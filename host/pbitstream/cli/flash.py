"""``pbitstream flash``: a bitstream into a board, checked before and read back after."""

import argparse
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import Output, listing
from pbitstream.cli.parser import UsageError, add_common
from pbitstream.errors import DeviceError, FileFormatError, MissingExtraError

if TYPE_CHECKING:
    from pbitstream.devices.zynq.loader import FabricLoader
    from pbitstream.programmer import Loader
    from pbitstream.spec.manifest import Manifest

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "load a bitstream into a board by its manifest, and read its spec digest back"
EPILOG = """\
The bitstream's SHA-256 and device id are checked, then the board's device id is asked for, and
only then something is written: to the chip, not to the board's flash, so that the image before it
is back when the board is switched off and on. Needs openFPGALoader, which pip cannot bring; on a
PYNQ board itself its Linux loads the image and sets its clock, and --dry-run shows how.

examples:
  pbitstream flash ulx3s --dry-run          check, and show the commands
  pbitstream flash ulx3s                    bitstreams/ulx3s.bit, as bitstreams/ulx3s.json says
  pbitstream flash other/ulx3s-tiny.json --port serial:/dev/ttyUSB0
  sudo pbitstream flash pynq-z2             on the board; elsewhere over JTAG, without sudo
"""
FOLDER = "bitstreams"
#: Where Linux names serial lines by what is plugged in.
LINES = Path("/dev/serial/by-id")
#: Seconds in which a board must answer after it was loaded: its line comes back first.
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("what", nargs="?", metavar="BOARD|MANIFEST",
                        help=f"a manifest, or the name of one in {FOLDER}; without it, the only "
                             "one there")
    parser.add_argument("--port", metavar="URL",
                        help="device to read the spec digest back from, serial:/dev/ttyUSB0 (the "
                             "line that is named like the board; on a PYNQ board pynq:)")
    parser.add_argument("--dry-run", action="store_true",
                        help="check the files and show the commands, and run none")
    add_common(parser, "json", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Check, load, read back and print; returns 0."""
    from pbitstream.programmer import find_loader
    from pbitstream.spec.manifest import Manifest

    output = Output(arguments)
    path = find(arguments.what)
    manifest = Manifest.read(path)
    manifest.check(path)
    loader = find_loader(manifest)
    bitstream = path.with_name(manifest.bitstream)
    found: dict[str, Any] = {
        "manifest": str(path),
        "bitstream": str(bitstream),
        "board": manifest.board,
        "image": manifest.preset,
        "sha256": manifest.sha256,
        "idcode": f"{manifest.idcode:#010x}",
        "spec_digest": manifest.spec_digest,
        "clock_mhz": manifest.clock.requested,
        "commands": loader.commands(bitstream),
        "dry_run": arguments.dry_run,
        "loaded": False,
        "read_back": None,
    }
    if not arguments.dry_run:
        _load(loader, manifest, bitstream, arguments.port, output, found)
    if output.json:
        output.document(found)
    else:
        _show(output, found)
    return 0


def find(what: str | None) -> Path:
    """Return the manifest that is asked for.

    Raises
    ------
    UsageError
        If there is none, or the choice is open.
    """
    folder = Path(FOLDER)
    known = sorted(folder.glob("*.json"))
    names = ", ".join(path.stem for path in known) or "nothing"
    if what is None:
        if len(known) != 1:
            raise UsageError(f"BOARD or MANIFEST must be given, since {folder} holds {names}")
        return known[0]
    path = Path(what)
    if path.suffix == ".json" or path.is_file():
        if not path.is_file():
            raise UsageError(f"{what}: there is no such manifest")
        if path.suffix != ".json":
            raise UsageError(f"{what} is no manifest; give the .json beside it")
        return path
    named = folder / f"{what}.json"
    if not named.is_file():
        raise UsageError(f"there is no manifest {named} ({folder} holds {names}); make it with "
                         f"pbitstream build {what}, or give the path of one")
    return named


def _load(loader: "Loader | FabricLoader", manifest: "Manifest", bitstream: Path, port: str | None,
          output: Output, found: dict[str, Any]) -> None:
    """Load the board and read back, noting in `found` what was done."""
    from pbitstream.programmer import INTERRUPTED, same_device

    # All that can be refused is refused before anything is written.
    found["tool"] = f"{loader.tool} {loader.version()}"
    port = port or loader.port or _line(manifest)
    _check_port(port)
    there = loader.detect()
    if not any(same_device(code, manifest.idcode) for code in there):
        names = ", ".join(f"{code:#010x} {model}".strip() for code, model in there.items())
        raise DeviceError(f"the board's chip is {names}, the image is for {manifest.idcode:#010x} "
                          f"{manifest.part}; nothing was written; take another board, or build an "
                          "image for this one")
    output.note(loader.commands(bitstream)[-1])
    try:
        with output.progress() as report:
            loader.load(bitstream, lambda percent: report("loading", round(percent), 100))
    except KeyboardInterrupt:
        if loader.begun:
            sys.stderr.write(f"pbitstream: {INTERRUPTED}\n")
        raise
    found["loaded"] = True
    if port is None:
        output.note(f"not read back: no serial line is named like {manifest.line}; --port says "
                    "which it is" if manifest.line else "not read back: this board has no serial "
                    "line; its own Linux loads and reads back, if this command runs there")
        return
    found["read_back"] = _read_back(port, manifest)


def _line(manifest: "Manifest") -> str | None:
    """Return the URL of the only serial line that is named like the board, or None."""
    lines = sorted(LINES.glob(manifest.line)) if manifest.line and LINES.is_dir() else []
    return f"serial:{lines[0]}" if len(lines) == 1 and find_spec("serial") else None


def _check_port(port: str | None) -> None:
    """Refuse a port that cannot be opened whatever the board does."""
    from pbitstream.devices.registry import device_schemes

    if port is None:
        return
    scheme, colon, _ = port.partition(":")
    if not colon or scheme not in device_schemes() or scheme == "emulator":
        raise UsageError(f"--port must be the URL of a board, such as serial:/dev/ttyUSB0, not "
                         f"{port!r}")
    if scheme == "serial" and find_spec("serial") is None:
        raise MissingExtraError("--port serial: needs pyserial; pip install 'pbitstream[serial]'")


def _read_back(port: str, manifest: "Manifest") -> dict[str, Any]:
    """Ask the board what it is until it answers; DeviceError if it is not what was loaded."""
    from pbitstream.devices.registry import open_device

    end = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            # Refuses a board of another spec.
            with open_device(port) as device:
                info = device.info()
            break
        except DeviceError as error:
            if time.monotonic() + RETRY_SECONDS > end:
                raise DeviceError(f"the image was loaded, but {port} does not show it: {error}; is "
                                  "this the board's line? --port says which is") from error
        time.sleep(RETRY_SECONDS)
    image = manifest.to_dict()["image"]
    if info.get("image") != image:
        raise DeviceError(f"the image was loaded, but the board at {port} holds another one: sent "
                          f"{image}, {info.get('image')} came back; --port says which board it is")
    if info.get("spec_digest") != manifest.spec_digest:
        raise FileFormatError(f"the board at {port} holds an image for another spec than "
                              f"{manifest.spec_digest[:16]}")
    return {"port": port, "spec_digest": info["spec_digest"], "image": info["image"]}


def _show(output: Output, found: dict[str, Any]) -> None:
    made = listing("Flash", text=True)
    made.add_row("manifest", found["manifest"])
    made.add_row("bitstream", f"{found['bitstream']}, checked, for device {found['idcode']}")
    made.add_row("clock", f"{found['clock_mhz']:g} MHz")
    for command in found["commands"]:
        made.add_row("would run" if found["dry_run"] else "ran", command)
    if not found["dry_run"]:
        back = found["read_back"]
        made.add_row("read back", "no" if back is None else
                     f"{back['port']}: spec {back['spec_digest'][:16]}, the same image")
    output.console.print(made)

"""A build for a machine that has the tools: sources, commands and checksums in a zip file."""

import hashlib
import io
import json
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from pbitstream_gateware.vivado import Vivado

__all__ = ["archive"]

#: The earliest time that the format knows: nothing of when it was made shows.
TIME = (1980, 1, 1, 0, 0, 0)
#: Of the system that gave a file its mode, and that mode: a plain file that all may read.
UNIX, MODE = 3, 0o100644 << 16

README = """\
# {bitstream}: image {preset} for {board}

All that tools for {part} need to build it, without pbitstream, which made this for spec
{spec}. `manifest.json` holds the SHA-256 of every other file.

## With Vivado (the free edition knows this chip)

    {vivado}

writes `{bitstream}`, `timing.txt` and `utilisation.txt`. The clock wanted is {clock:g} MHz: WNS and
WHS in `timing.txt` must not be negative.

## With open tools

yosys, nextpnr-himbaechel for xilinx, and prjxray with its database in $PRJXRAY_DB_DIR:

{commands}

The fastest clock that nextpnr prints last must be {clock:g} MHz or more.

## On the board

Copy `{bitstream}` and `{handoff}` into one folder of the board, and then, as root:

    pbitstream infer -d 'pynq:?image={bitstream}'

or in a notebook, `pynq.Overlay("{bitstream}")`. FCLK0 becomes {clock:g} MHz. Over JTAG:
`openFPGALoader -b pynq_z2 {bitstream}`; the clock is then what the board's boot has set.
"""


def archive(description: Mapping[str, Any], files: Mapping[str, str],
            open_commands: Sequence[Sequence[str]]) -> bytes:
    """Return the bytes of a zip file, equal for equal arguments.

    Parameters
    ----------
    description
        What the manifest says but for the files' checksums.
    files
        Texts by name; among them the handoff, which ends in ``.hwh``.
    open_commands
        Of open tools, in their order; their words may be variables of a shell.

    Nothing is compressed, since a compressor's version would show.
    """
    handoff = next(name for name in files if name.endswith(".hwh"))
    readme = README.format(
        bitstream=description["bitstream"], preset=description["preset"],
        board=description["board"], part=description["part"],
        spec=description["spec_digest"][:16], clock=description["clock"], handoff=handoff,
        vivado=f"vivado {shlex.join(Vivado.WORDS)}",
        commands="\n".join(f"    {_shell(line)}" for line in open_commands))
    texts = dict(sorted({**files, "README.md": readme}.items()))
    manifest = {**description, "files": {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}}
    texts["manifest.json"] = json.dumps(manifest, indent=2) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
        for name, text in texts.items():
            entry = zipfile.ZipInfo(name, TIME)
            entry.create_system, entry.external_attr = UNIX, MODE
            made.writestr(entry, text.encode())
    return buffer.getvalue()


def _shell(words: Sequence[str]) -> str:
    """Return a command line; words with variables stay as they are."""
    return " ".join(word if "$" in word else shlex.quote(word) for word in words)

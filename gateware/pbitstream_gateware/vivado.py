"""Vivado, without a project: one script from Verilog to a bitstream, and what it reports."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

from pbitstream.errors import DeviceError
from pbitstream.spec.bitfile import START, BitFile
from pbitstream_gateware.synthesis import run_program

__all__ = ["SCRIPT", "Routed", "Vivado", "script", "timeless"]

#: What the script is called; its command line is `Vivado.WORDS`.
SCRIPT = "build.tcl"
#: What it says of the design: lines of a word and a value.
RESULT = "result.txt"
VERSION = re.compile(r"\bv(\d{4}\.\d+(?:\.\d+)?)")
#: Fields of a bitstream's header that hold when it was made.
TIMES = {ord("c"): b"1980/01/01\0", ord("d"): b"00:00:00\0"}
#: The field behind them.
WORDS = ord("e")


@dataclass(frozen=True)
class Routed:
    """A bitstream with the clock that it reaches, its cells by kind, and what limits it.

    Attributes
    ----------
    megahertz, met
        The clock in MHz, and whether the tools say that the wanted one is met, of which they know
        more digits.
    """

    data: bytes
    megahertz: float
    met: bool
    cells: dict[str, int]
    path: tuple[str, ...]

    def reached(self, wanted: float) -> float:
        """Return the clock in MHz, rounded down to two digits, at least `wanted` if that is met."""
        rounded = float(Decimal(repr(self.megahertz)).quantize(Decimal("0.01"), ROUND_FLOOR))
        if self.met:
            return max(rounded, wanted)
        return rounded if rounded < wanted else round(wanted - 0.01, 6)


def script(part: str, name: str) -> str:
    """Return the script; it reads ``top.v`` and both constraints and writes ``NAME.bit``."""
    return f"""\
# vivado {" ".join(Vivado.WORDS)}
read_verilog top.v
read_xdc pins.xdc
read_xdc clock.xdc
synth_design -top top -part {part}
if {{[llength [get_clocks]] != 1}} {{
    error "the fabric's clock was not found: clock.xdc names a pin that is not there"
}}
opt_design
place_design
phys_opt_design
route_design
report_timing_summary -file timing.txt
report_utilization -file utilisation.txt

set out [open {RESULT} w]
foreach kind {{max min}} {{
    set path [get_timing_paths -delay_type $kind -max_paths 1]
    puts $out "slack_$kind [get_property SLACK $path]"
    puts $out "from_$kind [get_property STARTPOINT_PIN $path]"
    puts $out "to_$kind [get_property ENDPOINT_PIN $path]"
}}
foreach cell [get_cells -hierarchical -filter {{IS_PRIMITIVE}}] {{
    incr count([get_property REF_NAME $cell])
}}
foreach kind [lsort [array names count]] {{
    puts $out "cell_$kind $count($kind)"
}}
close $out

set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
write_bitstream -force {name}.bit
"""


class Vivado:
    """The Vivado on PATH.

    Parameters
    ----------
    program
        Where it is.
    """

    name = "vivado"
    WORDS = ("-mode", "batch", "-nojournal", "-log", "vivado.log", "-source", SCRIPT)

    def __init__(self, program: Path) -> None:
        self.program = program

    @classmethod
    def find(cls) -> "Vivado | None":
        """Return it, None if there is none on PATH."""
        found = shutil.which("vivado")
        return cls(Path(found)) if found else None

    def versions(self) -> dict[str, str]:
        """Return its version by its name.

        Raises
        ------
        DeviceError
            If it does not say it.
        """
        said = subprocess.run([self.program, "-version"], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, check=False, errors="replace")
        version = VERSION.search(said.stdout)
        if said.returncode or version is None:
            raise DeviceError(f"vivado -version ended with {said.returncode} and said:\n"
                              f"{(said.stdout + said.stderr).strip()[:500]}")
        return {self.name: version[1]}

    def build(self, folder: Path, name: str, clock: int, watch: Callable[[str], None]) -> Routed:
        """Run the script in a folder that holds it and what it reads.

        Raises
        ------
        DeviceError
            If it fails, or if a path is too fast for its register: a slower clock is no way out.
        """
        run_program(folder, self.program, *self.WORDS, watch=watch)
        lines = (folder / RESULT).read_text(encoding="utf-8").splitlines()
        said = dict(line.partition(" ")[::2] for line in lines)
        try:
            slack = {kind: float(said[f"slack_{kind}"]) for kind in ("max", "min")}
        except (KeyError, ValueError):
            raise DeviceError(f"vivado gives no slack: it says {lines[:6]}") from None
        if slack["min"] < 0:
            raise DeviceError(f"vivado misses a hold time by {-slack['min']:g} ns, from "
                              f"{said.get('from_min')} to {said.get('to_min')}")
        cells = {kind.removeprefix("cell_"): int(count) for kind, count in said.items()
                 if kind.startswith("cell_")}
        period = 1e9 / clock
        path = (f"{period - slack['max']:6.2f} ns  from {said.get('from_max')}",
                f"           to   {said.get('to_max')}")
        return Routed(timeless((folder / f"{name}.bit").read_bytes()),
                      1e3 / (period - slack["max"]), slack["max"] >= 0, cells, path)


def timeless(bitstream: bytes) -> bytes:
    """Return a .bit file whose header says nothing of when it was made, which changes nothing else.

    Raises
    ------
    FileFormatError
        If it is no such file.
    """
    BitFile.parse(bitstream)
    parts, at = [START], len(START)
    while bitstream[at] != WORDS:
        end = at + 3 + int.from_bytes(bitstream[at + 1 : at + 3], "big")
        time = TIMES.get(bitstream[at])
        parts.append(bitstream[at:end] if time is None else
                     bitstream[at : at + 1] + len(time).to_bytes(2, "big") + time)
        at = end
    return b"".join([*parts, bitstream[at:]])

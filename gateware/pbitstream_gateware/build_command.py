"""``pbitstream build``: an image of the gateware as a bitstream for a board, with a manifest."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.errors import MissingExtraError, SpecError

if TYPE_CHECKING:
    from pbitstream_gateware.build import Built, Plan
    from pbitstream_gateware.zynq_build import ZynqPlan

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "make a bitstream for a board, and its manifest"
EPILOG = """\
Boards: ulx3s (ECP5-85F, 32 lanes, half an hour), by open tools from PyPI alone; pynq-z2 (Zynq
xc7z020, 128 lanes), by vivado on PATH, or nextpnr with prjxray. Two files appear in the folder,
BOARD.bit and BOARD.json, for pynq-z2 BOARD.hwh too; or BOARD-IMAGE for an image that is not the
board's own. What is there already and would become the same is left as it is. If the clock is not
reached, the exit code is 1 and nothing is replaced; another seed or a slower clock may do. Needs
pbitstream[synth]. With --plan-only, BOARD.zip holds all that another machine needs to build.

examples:
  pbitstream build ulx3s                    bitstreams/ulx3s.bit and bitstreams/ulx3s.json
  pbitstream build ulx3s --image tiny       8 lanes, some minutes
  pbitstream build ulx3s --clock 75 --seed 2 --folder /tmp/slow
  pbitstream build pynq-z2 --plan-only      bitstreams/pynq-z2.zip, without Vivado
"""
FOLDER = "bitstreams"
#: As `pbitstream.cli.entry` has them.
OK, FAILED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("board", metavar="BOARD", help="which board: ulx3s or pynq-z2")
    parser.add_argument("--image", metavar="NAME",
                        help="another image than the board's own: tiny, ulx3s or pynq_z2")
    parser.add_argument("--clock", type=_megahertz, metavar="MHZ",
                        help="of the design (80 of ulx3s, 100 of pynq-z2); one that the chip makes "
                             "exactly")
    # Not `seed`, which is a setting, and of noise.
    parser.add_argument("--seed", type=_seed, default=1, metavar="N", dest="place_seed",
                        help="of nextpnr's place and route, 0 to 2**31 - 1 (1)")
    parser.add_argument("--plan-only", action="store_true",
                        help="write an archive for a machine that has the tools; pynq-z2 only")
    parser.add_argument("--folder", type=Path, default=Path(FOLDER), metavar="DIR",
                        help=f"where the files go ({FOLDER})")
    parser.add_argument("--force", action="store_true",
                        help="build even if nothing would change")
    group = parser.add_argument_group("common options")
    group.add_argument("--json", action="store_true",
                       help="print one JSON document and nothing else on stdout")
    group.add_argument("--quiet", action=argparse.BooleanOptionalAction, default=None,
                       help="no progress and no notes on stderr")


def run(arguments: argparse.Namespace) -> int:
    """Build and print; returns 0, or 1 if the clock was not reached."""
    plan = _plan(arguments)
    folder: Path = arguments.folder
    from pbitstream_gateware.build import store, up_to_date

    if arguments.plan_only:
        return _hand_on(arguments, plan)
    with _progress(quiet=bool(arguments.quiet)) as report:
        # What can be refused is, before anything takes long or is written.
        report("elaborating", "")
        wanted = plan.inputs
        _make(folder)
        there = None if arguments.force else up_to_date(plan, folder)
        built = None if there else plan.build(report)
    assert there is None or there.inputs == wanted
    path = folder / f"{plan.name}.json"
    if built is not None and not built.fast_enough:
        return _too_slow(arguments, built)
    if built is not None:
        store(built, plan.name, folder)
        there = built.manifest
    assert there is not None
    found = {"manifest": str(path), "built": built is not None, "timing_met": True,
             **there.to_dict()}
    if arguments.json:
        _document(found)
    else:
        _show(found)
    return OK


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise SpecError(f"folder must be a folder, and {folder} is a file") from None
    if not os.access(folder, os.W_OK):
        raise SpecError(f"folder must be one that can be written, not {folder}")


def _plan(arguments: argparse.Namespace) -> "Plan | ZynqPlan":
    try:
        from pbitstream_gateware.boards import BOARDS, ZYNQ_BOARDS
        from pbitstream_gateware.build import Plan
        from pbitstream_gateware.presets import PRESETS
        from pbitstream_gateware.zynq_build import ZynqPlan
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"build needs {error.name}, which is missing; "
                                "pip install 'pbitstream[synth]'") from error
    if arguments.board not in BOARDS | ZYNQ_BOARDS:
        raise SpecError(f"board must be one of {', '.join(BOARDS | ZYNQ_BOARDS)}, "
                        f"not {arguments.board!r}")
    board = (BOARDS | ZYNQ_BOARDS)[arguments.board]
    preset = arguments.image or board.preset
    if preset not in PRESETS:
        raise SpecError(f"--image must be one of {', '.join(PRESETS)}, not {preset!r}")
    clock, seed = arguments.clock or board.clock, arguments.place_seed
    if arguments.board in ZYNQ_BOARDS:
        return ZynqPlan(ZYNQ_BOARDS[arguments.board], preset, PRESETS[preset], clock, seed)
    if arguments.plan_only:
        raise SpecError(f"--plan-only is for boards whose tools PyPI does not have: "
                        f"{', '.join(ZYNQ_BOARDS)}, not {arguments.board}")
    return Plan(BOARDS[arguments.board], preset, PRESETS[preset], clock, seed)


def _hand_on(arguments: argparse.Namespace, plan: "Plan | ZynqPlan") -> int:
    """Write the archive of a plan and print; returns 0."""
    from pbitstream_gateware.build import write_files
    from pbitstream_gateware.zynq_build import ZynqPlan

    assert isinstance(plan, ZynqPlan)
    with _progress(quiet=bool(arguments.quiet)) as report:
        report("elaborating", "")
        _make(arguments.folder)
        data = plan.archive(report)
    path = arguments.folder / f"{plan.name}.zip"
    changed = not path.is_file() or path.read_bytes() != data
    if changed:
        write_files({path: data})
    found = {"archive": str(path), "written": changed, "size": len(data),
             "sha256": hashlib.sha256(data).hexdigest(), "board": plan.board.name,
             "preset": plan.preset, "part": plan.board.part.name, "clock": plan.clock / 1e6}
    if arguments.json:
        _document(found)
        return OK
    for name, text in (
        ("archive", f"{path}{'' if changed else ' (is up to date)'}, {len(data):,} bytes"),
        ("SHA-256", found["sha256"]),
        ("next", "unpack it where Vivado or nextpnr with prjxray is; its README.md says how"),
    ):
        sys.stdout.write(f"{name:<12} {text}\n")
    return OK


def _too_slow(arguments: argparse.Namespace, built: "Built") -> int:
    """Say that the clock was not reached, and what limits it; returns 1."""
    clock = built.manifest.clock
    if arguments.json:
        _document({"manifest": None, "built": False, "timing_met": False,
                   "critical_path": built.path, **built.manifest.to_dict()})
    elif not arguments.quiet:
        sys.stderr.write("".join(f"  {stop}\n" for stop in built.path))
    sys.stderr.write(f"pbitstream: {clock.achieved:g} MHz reached, {clock.requested:g} MHz wanted; "
                     "nothing was replaced; try another --seed, or a slower --clock\n")
    return FAILED


def _show(found: Mapping[str, Any]) -> None:
    """Print a manifest for people."""
    image, clock = found["image"], found["clock"]
    rows = [
        ("manifest", f"{found['manifest']}{'' if found['built'] else ' (is up to date)'}"),
        ("bitstream", f"{found['bitstream']}, {found['size']:,} bytes"),
        ("SHA-256", found["sha256"]),
        ("board", f"{found['board']}, {found['part']}, device id {found['idcode']}"),
        ("image", f"{found['preset']}, {image['lanes']} lanes, {image['max_units']:,} slots"),
        ("clock", f"{clock['achieved']:g} MHz reached, runs at {clock['requested']:g} MHz"),
        *((name, f"{used:,} of {has:,} ({used / has:.0%})")
          for name, (used, has) in found["utilisation"].items()),
        ("spec", found["spec_digest"]),
    ]
    for name, text in rows:
        sys.stdout.write(f"{name:<12} {text}\n")


def _document(data: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, str], None]]:
    """Yield a function that shows what is being done; on a terminal with time and last line."""
    said = ""

    def stages(what: str, line: str) -> None:
        nonlocal said
        if what != said and not quiet:
            sys.stderr.write(f"pbitstream: note: {what}\n")
        said = what

    if quiet or not sys.stderr.isatty():
        yield stages
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
               TextColumn("[dim]{task.fields[line]}", markup=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None, line="")

        def report(what: str, line: str) -> None:
            # Its width is the terminal's to cut, its brackets are text.
            bars.update(task, description=what, line=line.replace("[", r"\[")[:60])

        yield report


def _megahertz(text: str) -> int:
    """Return Hz of a text in MHz."""
    try:
        clock = round(float(text) * 1e6)
    except (ValueError, OverflowError):
        clock = 0
    if clock < 1:
        raise argparse.ArgumentTypeError(f"must be a frequency in MHz, not {text!r}")
    return clock


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 31:
        raise argparse.ArgumentTypeError(f"must be between 0 and 2**31 - 1, not {text!r}")
    return int(text)

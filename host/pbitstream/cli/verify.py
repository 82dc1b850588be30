"""``pbitstream verify``: a device against the emulator, bit by bit, or a bench of the gateware."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import Output, check_target
from pbitstream.cli.parser import UsageError, add_common, did_you_mean, positive

if TYPE_CHECKING:
    from pbitstream.cli.verification import Verification
    from pbitstream.devices.protocol import Device
    from pbitstream.emulator.device import Emulator
    from pbitstream.program import Program

__all__ = ["BENCHES", "EPILOG", "HELP", "add_arguments", "run"]

HELP = "compare a device with the emulator bit by bit, or run a bench of the gateware"
EPILOG = """\
Compared are states, noise words, sums, sums of squares and saturation counters of random calls.
Where they differ, the message names the first step, unit and quantity; the exit code is 1.

examples:
  pbitstream verify                            the emulator against plain integers
  pbitstream verify -d verilator:              the gateware's RTL: shipped programs that fit
  pbitstream verify -d verilator: --random 20 --updates 1000000
  pbitstream verify --bench relax --waves relax.vcd
"""
#: Entry points that are benches; each loads to an object with `text` and `run`.
BENCHES = "pbitstream.benches"
UPDATES = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("program", nargs="?", metavar="PROGRAM",
                        help="a program file or the name of a shipped one; without it, all shipped "
                             "programs that fit the device")
    parser.add_argument("--random", type=positive, metavar="N",
                        help="N random programs instead: 2 to 6 modules of both kinds, both kinds "
                             "of bank, a cycle, and most units changing")
    parser.add_argument("--updates", type=positive, metavar="N",
                        help=f"unit updates of the whole run, at least ({UPDATES:,})")
    parser.add_argument("--reference", metavar="ENGINE",
                        help="engine of the emulator to compare with: numba, numpy or oracle (the "
                             "fastest; for an emulator: oracle)")
    parser.add_argument("--bench", metavar="NAME",
                        help="run a bench on the gateware under cocotb instead of a device")
    parser.add_argument("--image", metavar="NAME", help="image of the gateware for --bench (tiny)")
    parser.add_argument("--waves", metavar="FILE.vcd", help="record all signals of a --bench")
    add_common(parser, "device", "seed", "json", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Compare and print; returns 0 if everything agreed, else 1."""
    output = Output(arguments)
    if arguments.bench is not None:
        return _run_bench(arguments, output)
    for name in ("image", "waves"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} belongs to --bench")
    if arguments.program is not None and arguments.random is not None:
        raise UsageError("--random draws the programs; leave out PROGRAM")
    data = _verify(arguments, output)
    if output.json:
        output.document(data)
    else:
        from pbitstream.cli.verify_view import show

        show(output.console, data)
    return 0 if data["identical"] else 1


def _verify(arguments: argparse.Namespace, output: Output) -> dict[str, Any]:
    """Run the comparison; what it computes is in `pbitstream.cli.verification`."""
    from pbitstream.cli.verification import Verification, drawn, given, verify
    from pbitstream.devices.registry import open_device

    programs = None if arguments.random else _programs(arguments.program)
    count = arguments.random if programs is None else len(programs)
    total = arguments.updates or UPDATES
    found = Verification()
    with open_device(arguments.device) as device, output.progress() as report:
        reference = _reference(device, arguments.reference)
        if programs is None:
            candidates = drawn(device, count, arguments.seed, found)
        else:
            candidates = given(device, programs, arguments.seed, found,
                               skip=arguments.program is None)
        with reference:
            verify(device, reference, candidates, found, share=-(-total // count), total=total,
                   report=report)
        return {
            "device": arguments.device,
            "device_info": device.info(),
            "reference": f"emulator, engine {reference.engine}",
            "seed": arguments.seed,
            **_checked(found).to_dict(),
        }


def _checked(found: "Verification") -> "Verification":
    if not found.programs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.skipped.items())
        raise UsageError(f"none of the shipped programs fits the device: {reasons}")
    return found


def _programs(name: str | None) -> "list[tuple[str, Program]]":
    """Return the program that is asked for, or all shipped ones."""
    from pbitstream.cli.info import find
    from pbitstream.model import shipped, shipped_names
    from pbitstream.program import Program
    from pbitstream.tensors import read_tensors

    if name is not None:
        return [(name, Program.open(find(name)))]
    return [(name, Program.open(shipped(name))) for name in shipped_names()
            if read_tensors(shipped(name))[1].get("pbitstream") == "program"]


def _reference(device: "Device", engine: str | None) -> "Emulator":
    """Return the emulator to compare with, which must compute in another way than the device."""
    from pbitstream.emulator.device import Emulator

    info = device.info()
    own = info.get("engine") if info.get("device") == "emulator" else None
    if engine is None and own not in (None, "oracle"):
        engine = "oracle"
    reference = Emulator(engine=engine)
    if reference.engine == own:
        raise UsageError(f"--reference {own} would compare the emulator with itself; "
                         "choose another engine")
    return reference


def _run_bench(arguments: argparse.Namespace, output: Output) -> int:
    """Run a bench that the gateware's simulation has registered."""
    for name in ("program", "reference"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--bench draws its own programs; leave out {name.upper()}"
                             if name == "program" else "--reference does not belong to --bench")
    if arguments.settings["device"].origin == "option":
        raise UsageError("--bench runs on a simulation of its own; leave out --device")
    waves: Path | None = None
    if arguments.waves is not None:
        waves = check_target("--waves", arguments.waves, (".vcd",)).absolute()
    bench = _bench(arguments.bench)
    data = bench.run(image=arguments.image or "tiny", seed=arguments.seed, waves=waves,
                     programs=arguments.random, updates=arguments.updates, note=output.note)
    if output.json:
        output.document(data)
    else:
        from pbitstream.cli.verify_view import show_bench

        show_bench(output.console, data)
    return 0 if data["passed"] else 1


def _bench(name: str) -> Any:
    """Return a bench by name."""
    from importlib.metadata import entry_points

    from pbitstream.errors import MissingExtraError

    points = {point.name: point for point in entry_points(group=BENCHES)}
    if not points:
        raise MissingExtraError("--bench needs the gateware's simulation, which is not installed; "
                                "pip install 'pbitstream[sim]'")
    if name not in points:
        raise UsageError(f"--bench must be one of {', '.join(sorted(points))}, not "
                         f"{name!r}{did_you_mean(name, points)}")
    try:
        return points[name].load()
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError(f"--bench needs {error.name}, which is missing; "
                                "pip install 'pbitstream[sim]'") from error

"""``pbitstream bench``: how fast the emulator is here, as ratios measured in one run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli import bench_peers
from pbitstream.cli.output import Output, check_target, listing, number, table
from pbitstream.cli.parser import UsageError, add_common, finite, positive

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "measure the emulator, or the clock cycles of a board or its simulation"
EPILOG = """\
Every round runs every case once, on one thread; figures are medians over rounds, ratios are formed
within a round. Absolute rates move with the load of the machine, ratios hardly. Nothing here says
anything about the speed or energy of hardware.

With -d and a board or a simulation of one: clock cycles per step, measured and predicted, the share
of them in which every lane multiplies, and the clock cycles per second.

examples:
  pbitstream bench
  pbitstream bench -d 'verilator:?image=pynq_z2'
  pbitstream bench peers --help
"""
#: Time of a case in a round.
SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--rounds", type=positive, default=7, metavar="N",
                        help="rounds; fewer than 7 are for trying out (7)")
    parser.add_argument("--seconds", type=finite, metavar="S",
                        help=f"time of each case in each round ({SECONDS:g})")
    add_common(parser, "device", "json", "plot", "quiet")
    others = parser.add_subparsers(metavar="peers", title="another bench")
    peers = others.add_parser("peers", help=bench_peers.HELP, epilog=bench_peers.EPILOG,
                              description=f"{bench_peers.HELP[0].upper()}{bench_peers.HELP[1:]}.")
    bench_peers.add_arguments(peers)
    peers.set_defaults(other=bench_peers.run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns 0 whatever the speed."""
    if hasattr(arguments, "other"):
        return int(arguments.other(arguments))
    from pbitstream.cli import measure
    from pbitstream.cli.measure_compile import measure_compile
    from pbitstream.cli.measure_training import measure_training

    one_thread = measure.hold_to_one_thread()
    output = Output(arguments)
    seconds = SECONDS if arguments.seconds is None else arguments.seconds
    if not 0 < seconds <= 60:
        raise UsageError(f"--seconds must be above 0 and at most 60, not {seconds:g}")
    if arguments.device != "emulator:":
        return _board(arguments, output)
    plot = None
    if arguments.plot is not None:
        from pbitstream.cli.plot import require_matplotlib

        require_matplotlib()
        plot = check_target("--plot", arguments.plot, (".png", ".pdf", ".svg"))
    with output.progress() as report:
        rates = measure.rates(measure.cases(), rounds=arguments.rounds, seconds=seconds,
                              report=report)
        starts = measure.start_times(arguments.rounds, report)
        memory = measure.memory(report)
        compilation = measure_compile(arguments.rounds, report)
        training = measure_training(arguments.rounds, seconds, report)
    data = {**_collect(arguments.rounds, one_thread, rates, starts, memory), "training": training,
            "compile": compilation}
    if plot is not None:
        _save_plot(plot, data)
    if output.json:
        output.document(data)
        return 0
    _show(output.console, data)
    if plot is not None:
        output.console.print(f"wrote {plot}", markup=False)
    return 0


def _board(arguments: argparse.Namespace, output: Output) -> int:
    """Measure a board."""
    from pbitstream.cli.bench_board import measure_board, show_board

    for name in ("plot", "seconds"):
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name} belongs to the emulator's figures; leave out --device")
    data = measure_board(arguments.device, arguments.rounds, output)
    if output.json:
        output.document(data)
    else:
        show_board(output.console, data)
    return 0


def _collect(
    rounds: int, one_thread: str, rates: Any, starts: dict[str, list[float]],
    memory: dict[int, int],
) -> dict[str, Any]:
    """Return the JSON document."""
    from importlib.metadata import version
    from importlib.util import find_spec

    from pbitstream.cli.machine import machine
    from pbitstream.cli.measure import DIM, FLOP_PER_UPDATE, MODULES, median

    gemm, *others = rates
    cases = []
    for rate in others:
        langevin = rate.case.name.startswith("Langevin")
        cases.append({
            "name": rate.case.name,
            "engine": rate.case.engine,
            "units": rate.case.units,
            "chains": rate.case.chains,
            "updates_per_second": rate.median,
            "lowest": min(rate.rounds),
            "highest": max(rate.rounds),
            "gemm_share": FLOP_PER_UPDATE * rate.over(gemm) if langevin else None,
            "over_first": rate.over(others[0]) if langevin else None,
        })
    low, high = min(memory), max(memory)
    growth = (memory[high] - memory[low]) / (high - low) / (MODULES * DIM)
    return {
        "machine": {
            **machine(),
            "numba": version("numba") if find_spec("numba") else None,
            "blas_threads": one_thread,
        },
        "rounds": rounds,
        "gemm": {"flop_per_second": gemm.median, "lowest": min(gemm.rounds),
                 "highest": max(gemm.rounds)},
        "flop_per_update": FLOP_PER_UPDATE,
        "cases": cases,
        "first_result": {f"{kind}_seconds": median(times) for kind, times in starts.items()},
        "memory": {"peak_bytes": memory, "bytes_per_unit_and_chain": growth},
    }


def _show(console: "Console", data: dict[str, Any]) -> None:
    from pbitstream.cli.measure_compile import compile_table

    machine, gemm = data["machine"], data["gemm"]
    console.print(f"{machine['processor']}, {machine['cores']} cores; Python {machine['python']}, "
                  f"NumPy {machine['numpy']}, numba {machine['numba'] or 'absent'}")
    console.print(f"float64 GEMM peak {gemm['flop_per_second'] / 1e9:.1f} GFLOP/s "
                  f"({gemm['lowest'] / 1e9:.1f} to {gemm['highest'] / 1e9:.1f})")
    console.print(f"medians of {data['rounds']} interleaved rounds; {machine['blas_threads']}\n")
    made = table("Updates per second, in millions", "case", "engine", "chains", "median",
                 "range", "of GEMM", "ratio", text=2)
    for case in data["cases"]:
        low, high = case["lowest"] / 1e6, case["highest"] / 1e6
        share, ratio = case["gemm_share"], case["over_first"]
        made.add_row(case["name"], case["engine"], number(case["chains"]),
                     f"{case['updates_per_second'] / 1e6:.1f}", f"{low:.0f}–{high:.0f}",
                     "–" if share is None else f"{100 * share:.0f} %",
                     "–" if ratio is None else f"{ratio:.2f}")
    console.print(made, "")
    console.print("[dim]Langevin: 6 modules of 128 units, 8 banks of rank 16\n"
                  f"of GEMM: at {data['flop_per_update']:.1f} flop per update; "
                  "ratio: to the first line[/]\n")
    first, memory = data["first_result"], data["memory"]
    made = listing("First result")
    made.add_row("process start, empty kernel cache", f"{first['cold_seconds']:.2f} s")
    made.add_row("process start, filled kernel cache", f"{first['warm_seconds']:.2f} s")
    console.print(made, "")
    made = listing("Peak memory of a process, 768 units")
    for chains, peak in memory["peak_bytes"].items():
        made.add_row(f"{chains:,} chains", f"{peak / 1e6:,.0f} MB")
    made.add_row("growth", f"{memory['bytes_per_unit_and_chain']:.1f} bytes/unit/chain")
    console.print(made, "")
    console.print(_training(data["training"]), "")
    console.print(compile_table(data["compile"]))


def _training(training: dict[str, Any]) -> "Table":
    from rich.markup import escape

    made = table(f"A training step: {training['hidden']} hidden units, batch {training['batch']}",
                 "", "engine", "time", "step's speed over it", text=2)
    for row in training["rows"]:
        seconds, ratio = row["seconds"], row["step_over_it"]
        made.add_row(row["name"], row["engine"],
                     "absent" if seconds is None else f"{1000 * seconds:.0f} ms",
                     "–" if ratio is None else f"{ratio:.2f}")
    made.caption = escape(training["note"])
    return made


def _save_plot(path: Path, data: dict[str, Any]) -> None:
    from matplotlib.figure import Figure

    from pbitstream.cli.plot import STYLE, require_matplotlib, save_figure

    with require_matplotlib().rc_context(STYLE):
        figure = Figure(figsize=(7.5, 3.2), layout="constrained")
        axes = figure.subplots()
        cases = data["cases"][::-1]
        rates = [case["updates_per_second"] / 1e6 for case in cases]
        spread = [[(case["updates_per_second"] - case["lowest"]) / 1e6 for case in cases],
                  [(case["highest"] - case["updates_per_second"]) / 1e6 for case in cases]]
        names = [f"{case['name']}\n{case['engine']}, chains: {case['chains']}" for case in cases]
        axes.barh(names, rates, xerr=spread, color="#4c72b0", ecolor="#444444", capsize=2)
        for place, (case, rate) in enumerate(zip(cases, rates)):
            share = case["gemm_share"]
            text = f"{rate:.0f}" + ("" if share is None else f"  ({100 * share:.0f} % of GEMM)")
            axes.text(case["highest"] / 1e6, place, f"  {text}", va="center", fontsize=8)
        axes.set_xlabel("million unit updates per second, one thread")
        axes.set_title(f"{data['machine']['processor']}, medians of {data['rounds']} rounds")
        axes.margins(x=0.25)
        save_figure(path, figure)

"""``pbitstream bench peers``: us and other samplers, the same work in one process, as ratios."""

import argparse
from typing import Any

from pbitstream.cli.output import Output, check_target
from pbitstream.cli.parser import UsageError, add_common, finite, positive

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "run us and other samplers interleaved: equal statistics first, then rates and ratios"
EPILOG = """\
THRML, ferrotherm, dwave-samplers, thermox and a hand-written JAX loop, one thread of ours against
all threads of theirs; a peer that is not installed is a row that says so. What is fair about it
and what is not: python -c 'import pbitstream.peers; help(pbitstream.peers)'

rows: grid, torus, grid-signs, torus-signs, dense-128, dense-784, one-grid, one-torus,
one-dense-128, one-dense-784, langevin, one-langevin, first, cut, planted

examples:
  pbitstream bench peers
  pbitstream bench peers --rows grid,torus --rounds 3
  pbitstream bench peers --rows cut --graph G81.txt
"""
SECONDS = 0.5
#: Options of `bench` too: not given here, what stands before `peers` counts.
SHARED = ("rounds", "seconds", "json", "plot", "quiet")
#: Rows that are no race of rates.
OTHERS = ("first", "cut", "planted")
#: Planted lattices by the frustrated faces of their tiles: of the first class all must be found,
#: the second is the hardest; and seconds after which a system gives up on one, or on a graph.
INSTANCES, LIMIT, CUT_LIMIT = {4: 20, 6: 4}, 5.0, 60.0
#: First samples are timed so often; a cold one takes seconds.
FIRST_ROUNDS = 3
#: Of everybody's first try.
SWEEPS, CUT_SWEEPS = 500, 16_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; those that `bench` has too are left open for what stands before."""
    parser.add_argument("--rows", metavar="NAME,...", help="only these rows (all)")
    parser.add_argument("--rounds", type=positive, metavar="N",
                        help="rounds; fewer than 7 are for trying out (7)")
    parser.add_argument("--seconds", type=finite, metavar="S",
                        help=f"time of each system in each round ({SECONDS:g})")
    parser.add_argument("--graph", metavar="FILE",
                        help="the graph of the row cut, as G81 of the Gset; without, it is left "
                             "out")
    add_common(parser, "json", "plot", "quiet")
    for action in parser._actions:
        if action.dest in SHARED:
            action.default = argparse.SUPPRESS


def names() -> list[str]:
    """Return the names of all rows."""
    from pbitstream.peers.rows import ROWS

    return [*(row.name for row in ROWS), *OTHERS]


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns 1 if somebody's statistics are wrong, whatever the speed."""
    from pbitstream.cli.measure import hold_to_one_thread

    if arguments.settings["device"].origin == "option":
        raise UsageError("bench peers runs the emulator; leave out --device")
    seconds = SECONDS if arguments.seconds is None else arguments.seconds
    if not 0 < seconds <= 60:
        raise UsageError(f"--seconds must be above 0 and at most 60, not {seconds:g}")
    one_thread = hold_to_one_thread()
    output = Output(arguments)
    plot = None
    if arguments.plot is not None:
        from pbitstream.cli.plot import require_matplotlib

        require_matplotlib()
        plot = check_target("--plot", arguments.plot, (".png", ".pdf", ".svg"))
    wanted = _wanted(arguments)
    graph = None
    if arguments.graph is not None:
        from pbitstream.ising.formats import read_problem

        graph = read_problem(arguments.graph)
        graph.cut([1] * graph.n)
    data = _measure(wanted, graph, arguments.rounds, seconds, output)
    data["machine"]["blas_threads"] = one_thread
    if plot is not None:
        from pbitstream.cli.bench_peers_plot import save_peers

        save_peers(plot, data)
    if output.json:
        output.document(data)
    else:
        from pbitstream.cli.bench_peers_view import show_peers

        show_peers(output.console, data)
        if plot is not None:
            output.console.print(f"wrote {plot}", markup=False)
    return 0 if data["equal"] else 1


def _wanted(arguments: argparse.Namespace) -> list[str]:
    known = names()
    if arguments.rows is None:
        wanted = [name for name in known if name != "cut" or arguments.graph is not None]
    else:
        wanted = arguments.rows.split(",")
    for name in wanted:
        if name not in known:
            raise UsageError(f"--rows must be of {', '.join(known)}, not {name!r}")
    if ("cut" in wanted) != (arguments.graph is not None):
        raise UsageError("--graph FILE and the row cut belong together")
    return wanted


def _measure(wanted: list[str], graph: Any, rounds: int, seconds: float,
             output: Output) -> dict[str, Any]:
    """Return the JSON document."""
    from pbitstream.cli.bench_peers_data import check_data, first_data, outcome_data, search_data
    from pbitstream.cli.machine import machine
    from pbitstream.peers import first, match, oracles, rows, search
    from pbitstream.peers.contestant import versions
    from pbitstream.peers.equality import LIMIT as DEVIATIONS

    known: dict[tuple[str, str], Any] = {}
    data: dict[str, Any] = {
        "machine": {**machine(), "load_before": _load()},
        "versions": versions(), "rounds": rounds, "seconds": seconds,
        "limit_of_deviations": DEVIATIONS,
    }
    races = [row for row in rows.ROWS if row.name in wanted]
    with output.progress() as report:
        spins = any(row.figure.startswith("energy") for row in races)
        checks = oracles.check_spins(report) if spins else []
        checks += oracles.check_langevin(report) if len(races) > spins else []
        data["checks"] = [check_data(check) for check in checks]
        data["rows"] = []
        for place, row in enumerate(races):
            def tell(what: str, done: int, total: int, row: Any = row, place: int = place) -> None:
                report(f"{place + 1}/{len(races)} {row.name}, {what}", done, total)

            data["rows"].append(outcome_data(match.play(row, rounds=rounds, seconds=seconds,
                                                        known=known, report=tell)))
        if "first" in wanted:
            data["first"] = first_data(first.first_samples(min(rounds, FIRST_ROUNDS), report))
        if "cut" in wanted:
            cut = search.CUTS.get(graph.name)
            energy = None if cut is None else search.energy_of_cut(graph, cut)
            found = search.race(graph, energy, sweeps=CUT_SWEEPS, limit=CUT_LIMIT, report=report)
            data["cut"] = {"graph": graph.name, "must_reach": cut,
                           "systems": search_data([found], graph)}
        if "planted" in wanted:
            data["planted"] = []
            for faces, count in INSTANCES.items():
                runs = [search.race(problem, energy, sweeps=SWEEPS, limit=LIMIT, report=report)
                        for problem, energy in search.planted_instances(count, faces)]
                data["planted"].append({"frustrated": faces, "instances": count,
                                        "must_reach": count if faces == 4 else None,
                                        "systems": search_data(runs)})
    data["machine"]["load_after"] = _load()
    data["equal"] = all(check["holds"] for check in _all_checks(data))
    return data


def _all_checks(data: dict[str, Any]) -> list[dict[str, Any]]:
    own = [system["check"] for row in data["rows"] for system in row["systems"]
           if system["check"] is not None]
    return [*data["checks"], *own]


def _load() -> float | None:
    """Return the load average of the last minute, where the system tells."""
    import os

    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None

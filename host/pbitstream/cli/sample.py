"""``pbitstream sample``: low energies, or draws at one beta, of an Ising problem from a file."""

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.asked import device_asked
from pbitstream.cli.output import Output, check_target
from pbitstream.cli.parser import UsageError, add_common, any_whole, finite, positive

if TYPE_CHECKING:
    from pbitstream.ising import Problem
    from pbitstream.ising.formats import Recognised
    from pbitstream.sampling import IsingSampler
    from pbitstream.sampling.run import Plan

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "sample an Ising problem from a file: annealing, Gibbs sampling or parallel tempering"
EPILOG = """\
files: G-set (max-cut), edge lists "i j J", DIMACS graphs, qbsolv's QUBO files, SciPy's sparse
matrices (.npz) and dimod's models; which it is shows in the content. Energies are
E = offset - sum h m - sum J m m; for a max-cut the cut is printed beside them.

examples:
  pbitstream sample G81.txt --sweeps 20000         anneal 64 chains, print the best cut
  pbitstream sample edges.txt --method gibbs --beta 0.5 --draws 2000 --json
  pbitstream sample glass.npz --method temper --levels 24 --plot energies.png
"""
ENDINGS = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    from pbitstream.sampling.run import METHODS
    from pbitstream.sampling.schedules import SHAPES

    parser.add_argument("file", metavar="FILE", help="the problem; see below for the formats")
    parser.add_argument("--format", metavar="NAME",
                        help="the file's format, where its content does not tell: gset, edges, "
                             "dimacs, qubo, npz or bqm")
    parser.add_argument("--method", choices=METHODS, default="anneal",
                        help="anneal: beta rises, chains end in low energies; gibbs: draws at one "
                             "beta; temper: replicas at many betas that swap (anneal)")
    parser.add_argument("--chains", type=positive, default=64, metavar="N",
                        help="independent chains (64)")
    parser.add_argument("--sweeps", type=positive, metavar="N",
                        help="of each chain: all of an annealing or a tempering (1000), or those "
                             "of a Gibbs run between two draws (1)")
    parser.add_argument("--beta", type=finite, metavar="B", help="of a Gibbs run (1)")
    parser.add_argument("--beta-range", type=finite, nargs=2, metavar=("HOT", "COLD"),
                        help="of an annealing or a tempering (from the problem's couplings)")
    parser.add_argument("--schedule", metavar="SHAPE",
                        help=f"how beta rises: {', '.join(SHAPES)}, or a text file with a beta "
                             "per line, which share the sweeps (geometric)")
    parser.add_argument("--draws", type=positive, metavar="N",
                        help="of each chain of a Gibbs run (1000)")
    parser.add_argument("--burn-in", type=any_whole, metavar="N",
                        help="sweeps of a Gibbs run before the first draw (a tenth of the others)")
    parser.add_argument("--levels", type=positive, metavar="N",
                        help="betas of a tempering (16)")
    parser.add_argument("--hold", action="append", default=[], metavar="I=S",
                        help="hold p-bit I, counted from 0 or by its label, at S = -1 or 1; may "
                             "be given again")
    parser.add_argument("--start", metavar="FILE",
                        help="first spins -1 or 1, shape (n,) or (chains, n): .npy (random)")
    parser.add_argument("--tolerance", type=finite, metavar="T",
                        help="most that 16-bit weights may take from a coupling or bias, as a "
                             "share of the largest coupling (2^-8)")
    parser.add_argument("--out", metavar="FILE",
                        help="write spins and energies here: .npz with spins, energies, best")
    add_common(parser, "device", "cluster", "seed", "json", "plot", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Read, lower, sample, write and print; returns 0."""
    from pbitstream.ising import lower
    from pbitstream.ising.formats import recognise
    from pbitstream.sampling import IsingSampler, clamp
    from pbitstream.sampling.run import run_plan

    output = Output(arguments)
    plan = _plan(arguments)
    plot = arguments.plot and check_target("--plot", arguments.plot, ENDINGS)
    target = arguments.out and check_target("--out", arguments.out, (".npz",))
    if plot:
        from pbitstream.cli.plot import require_matplotlib

        require_matplotlib()
    read = recognise(arguments.file, format=arguments.format)
    whole = read.problem
    _notes(output, plan, read)
    held = clamp(whole, _held(arguments.hold, whole)) if arguments.hold else None
    problem = whole if held is None else held.problem
    spins = _start(arguments.start, whole, None if held is None else held.free)
    with device_asked(arguments) as device, output.progress() as report:
        given = {} if arguments.tolerance is None else {"tolerance": arguments.tolerance}
        sampler = IsingSampler(lower(problem, **given), device=device)
        began = time.perf_counter()
        found = run_plan(sampler, plan, spins=spins, report=lambda done, total: report(
            f"{plan.method}, sweeps", done, total))
        seconds = time.perf_counter() - began
    expand: Callable[[Any], Any] = (lambda s: s) if held is None else held.whole
    if target:
        _write(target, expand(found.spins), found.energies, expand(found.best_spins))
    document = {
        **_described(arguments, read, sampler, len(held.spins) - len(held.free) if held else 0),
        **found.to_dict(),
        "best": {"energy": found.best_energy, **_cut(whole, expand(found.best_spins))},
        "seconds": seconds,
        "updates_per_second": problem.n * found.updates / seconds,
    }
    if plot:
        from pbitstream.cli.sample_plot import save_sample

        save_sample(plot, document, found)
    if output.json:
        output.document(document)
    else:
        from pbitstream.cli.sample_view import show

        show(output.console, document, found)
        for path in filter(None, (plot, target)):
            output.console.print(f"wrote {path}", markup=False)
    return 0


def _plan(arguments: argparse.Namespace) -> "Plan":
    """Return what is asked for; UsageError where options do not belong to the method."""
    from pbitstream.sampling.run import Plan

    method = arguments.method
    for option, value, methods in (
        ("--beta", arguments.beta, ("gibbs",)),
        ("--draws", arguments.draws, ("gibbs",)),
        ("--burn-in", arguments.burn_in, ("gibbs",)),
        ("--beta-range", arguments.beta_range, ("anneal", "temper")),
        ("--schedule", arguments.schedule, ("anneal", "temper")),
        ("--levels", arguments.levels, ("temper",)),
    ):
        if value is not None and method not in methods:
            raise UsageError(f"{option} belongs to --method {' or '.join(methods)}, not {method}")
    from pbitstream.sampling.schedules import SHAPES

    shape, table = arguments.schedule or SHAPES[0], None
    if shape not in SHAPES:
        if method != "anneal":
            raise UsageError(f"--schedule must be one of {', '.join(SHAPES)} for --method "
                             f"{method}, not {shape!r}")
        if arguments.beta_range is not None:
            raise UsageError(f"--beta-range must be absent beside --schedule {shape}, a table of "
                             "betas")
        shape, table = SHAPES[0], _table(shape)
    given = {name: getattr(arguments, name) for name in ("draws", "levels")
             if getattr(arguments, name) is not None}
    return Plan(
        method=method, chains=arguments.chains, seed=arguments.seed, sweeps=arguments.sweeps,
        beta=arguments.beta, range=arguments.beta_range and tuple(arguments.beta_range),
        shape=shape, table=table, burn_in=arguments.burn_in, **given,
    )


def _notes(output: Output, plan: "Plan", read: "Recognised") -> None:
    """Say before the run what its user may have meant otherwise, and what will be left out."""
    from pbitstream.sampling.diagnostics import missing

    if read.rival:
        output.note(f"a file of two columns is read as {read.format}; if it is of {read.rival}, "
                    f"say --format {read.rival}")
    reason = missing() if plan.method == "gibbs" else ""
    if reason:
        output.note(reason)


def _table(name: str) -> Any:
    """Return the betas of a text file."""
    import numpy as np

    from pbitstream.errors import FileFormatError

    if not Path(name).is_file():
        raise UsageError(f"--schedule must be geometric, linear or a file, not {name!r}")
    try:
        with warnings.catch_warnings():
            # An empty file is one of NumPy's warnings.
            warnings.simplefilter("error", UserWarning)
            table = np.loadtxt(name, ndmin=2)
    except (UserWarning, ValueError) as error:
        raise FileFormatError(f"{name}: not a beta per line: {error}") from error
    if table.shape[1] != 1:
        raise FileFormatError(f"{name}: not a beta per line, but {table.shape[1]}")
    return table[:, 0]


def _held(words: list[str], problem: "Problem") -> dict[int, int]:
    """Return index -> spin of ``--hold`` options."""
    place = {str(label): i for i, label in enumerate(problem.labels or range(problem.n))}
    held: dict[int, int] = {}
    for word in words:
        label, _, spin = word.partition("=")
        if label not in place:
            raise UsageError(f"--hold {word}: the problem has no p-bit {label!r}")
        if spin not in ("-1", "1", "+1"):
            raise UsageError(f"--hold {word}: a p-bit is held at -1 or 1, not {spin!r}")
        if place[label] in held:
            raise UsageError(f"--hold {word}: p-bit {label} is held already")
        held[place[label]] = int(spin)
    return held


def _start(name: str | None, problem: "Problem", free: Any) -> Any:
    """Return the first spins of the free p-bits from a file, or None."""
    if name is None:
        return None
    from pbitstream.array_files import read_array
    from pbitstream.errors import FileFormatError

    spins = read_array(name)
    if spins.shape[-1:] != (problem.n,):
        raise FileFormatError(f"{name}: spins must have shape ({problem.n},) or (chains, "
                              f"{problem.n}), not {spins.shape}")
    return spins if free is None else spins[..., free]


def _write(path: Path, spins: Any, energies: Any, best: Any) -> None:
    import numpy as np

    from pbitstream.cli.output import write_whole

    write_whole(path, lambda file: np.savez_compressed(file, spins=spins, energies=energies,
                                                       best=best))


def _described(
    arguments: argparse.Namespace, read: "Recognised", sampler: "IsingSampler", held: int
) -> dict[str, Any]:
    problem, lowered = read.problem, sampler.lowered
    return {
        "file": str(arguments.file),
        "format": read.format,
        "problem": {"name": problem.name, "p_bits": problem.n, "couplings": problem.edges,
                    "held": held},
        "lowered": {
            "classes": int(lowered.colours.max()) + 1,
            "banks": list(lowered.forms),
            "scale": lowered.scale,
            "loss": lowered.loss.relative,
            "beta_step": lowered.beta_step,
            "fits_boards": not lowered.fits_boards,
            "why_not": lowered.fits_boards or None,
            "program_digest": lowered.program.digest,
        },
        "device": arguments.device,
        "cluster": arguments.cluster,
        "seed": arguments.seed,
    }


def _cut(problem: "Problem", spins: Any) -> dict[str, Any]:
    """Return the cut of spins where the problem is one of max-cut."""
    return {"cut": problem.cut(spins).item()} if problem.is_max_cut else {}

"""``pbitstream solve``: A x = b, or the diagonal of the inverse of A, on Langevin units."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import Output, check_target
from pbitstream.cli.parser import UsageError, add_common, finite, positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pbitstream.cli.output import Report
    from pbitstream.cli.solve_view import Solved
    from pbitstream.devices.protocol import Device

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "solve A x = b, or find the diagonal of A's inverse, by relaxation; steps predicted"
EPILOG = """\
examples:
  pbitstream solve --example 64                      a random matrix, error 0.01
  pbitstream solve --example 64 --average            the time average at T > 0 beside it
  pbitstream solve --matrix A.npy --rhs b.npy --error 0.001 --out x.npy
  pbitstream solve --matrix A.npz --inverse-diagonal --plot variances.png

A must be symmetric and positive definite. exit code 1: the error is not met, numpy.linalg being
the judge
"""
#: Wanted relative rms error of a solution, of an inverse diagonal.
ERROR, DIAGONAL_ERROR = 0.01, 0.05
CONDITION = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--matrix", metavar="FILE",
                        help="A: .npy, or .npz of scipy.sparse.save_npz")
    parser.add_argument("--rhs", metavar="FILE.npy", help="b")
    parser.add_argument("--example", type=positive, metavar="N",
                        help="a random A with N rows, and a random b, instead of files")
    parser.add_argument("--condition", type=finite, metavar="C",
                        help=f"condition number of the example ({CONDITION:g})")
    parser.add_argument("--error", type=finite, metavar="E",
                        help=f"wanted relative rms error ({ERROR}; {DIAGONAL_ERROR} for the "
                             "inverse diagonal)")
    parser.add_argument("--inverse-diagonal", action="store_true",
                        help="the diagonal of A's inverse, from variances, instead of x")
    parser.add_argument("--average", action="store_true",
                        help="run the time average at T > 0 too, which takes many more steps")
    parser.add_argument("--out", metavar="FILE.npy", help="write the answer, float64 (n,)")
    add_common(parser, "device", "seed", "json", "plot", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Solve, compare, print, write; returns 0, or 1 if the wanted error is not met."""
    from pbitstream.cli.plot import require_matplotlib
    from pbitstream.devices.registry import open_device

    output = Output(arguments)
    a, b = _problem(arguments)
    out = plot = None
    if arguments.out is not None:
        out = check_target("--out", arguments.out, (".npy",))
    if arguments.plot is not None:
        require_matplotlib()
        plot = check_target("--plot", arguments.plot, (".png", ".pdf", ".svg"))
    with open_device(arguments.device) as device, output.progress() as report:
        solved = _solve(arguments, device, a, b, report)
    if out is not None:
        _write(out, solved)
    if plot is not None:
        from pbitstream.cli.solve_plot import save_solve

        save_solve(plot, solved)
    if output.json:
        output.document(solved.to_dict())
    else:
        from pbitstream.cli.solve_view import show

        show(output.console, solved)
        for path in filter(None, (plot, out)):
            output.console.print(f"wrote {path}", markup=False)
    return 0 if solved.met else 1


def _problem(arguments: argparse.Namespace) -> "tuple[NDArray[Any], NDArray[Any] | None]":
    """Return A and b, from files or made up, after checking that the options fit together."""
    from pbitstream.linear.files import example, read_matrix, read_vector

    if (arguments.matrix is None) == (arguments.example is None):
        raise UsageError("solve needs either --matrix FILE or --example N")
    if arguments.inverse_diagonal and (arguments.rhs is not None or arguments.average):
        raise UsageError("--inverse-diagonal takes neither --rhs nor --average")
    if arguments.example is not None:
        if arguments.rhs is not None:
            raise UsageError("--example has a right side of its own; leave out --rhs")
        condition = CONDITION if arguments.condition is None else arguments.condition
        return example(arguments.example, condition)
    if arguments.condition is not None:
        raise UsageError("--condition is of an --example")
    if arguments.rhs is None and not arguments.inverse_diagonal:
        raise UsageError("--matrix needs --rhs FILE.npy, or --inverse-diagonal")
    b = None if arguments.rhs is None else read_vector(arguments.rhs)
    return read_matrix(arguments.matrix), b


def _solve(arguments: argparse.Namespace, device: "Device", a: "NDArray[Any]",
           b: "NDArray[Any] | None", report: "Report") -> "Solved":
    """Run what was asked for, and numpy.linalg."""
    import numpy as np

    from pbitstream.cli.solve_view import Solved
    from pbitstream.linear import inverse_diagonal, solve

    error = arguments.error
    if error is None:
        error = DIAGONAL_ERROR if arguments.inverse_diagonal else ERROR
    call: dict[str, Any] = {"device": device, "error": error, "seed": arguments.seed,
                            "report": report}
    source = arguments.matrix or "example"
    if arguments.inverse_diagonal:
        answer = inverse_diagonal(a, **call)
        exact = np.diag(np.linalg.inv(a))
        return Solved(source, arguments.device, arguments.seed, device.info(), {"squares": answer},
                      exact)
    assert b is not None
    answers = {"flow": solve(a, b, **call)}
    if arguments.average:
        answers["average"] = solve(a, b, average=True, **call)
    exact = np.linalg.solve(np.asarray(a, np.float64), b)
    return Solved(source, arguments.device, arguments.seed, device.info(), answers, exact)


def _write(path: Path, solved: "Solved") -> None:
    import numpy as np

    from pbitstream.cli.output import write_whole

    write_whole(path, lambda file: np.save(file, solved.answer_values))

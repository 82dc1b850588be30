"""``pbitstream study eqprop``: gradients of equilibrium propagation against the true ones."""

import argparse
from dataclasses import replace

from pbitstream.cli.output import Output, check_target
from pbitstream.cli.parser import add_common, positive, seed

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "gradients of equilibrium propagation against the true ones"
EPILOG = """\
Bias against nudge, relaxation budgets, noise, fixed point and mismatch. Compared
are bank factors A and B, gains and biases h, with the gradient by implicit
differentiation at the fixed point.

examples:
  pbitstream study eqprop                       all of it, in about a minute
  pbitstream study eqprop --quick --seed 7      a taste, on fresh systems
  pbitstream study eqprop --json | jq .slopes

exit code 1: a figure that must be reached is not; with few systems, as with
--quick, chance alone can do that
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the topic."""
    parser.add_argument("--systems", type=positive, metavar="N",
                        help="random systems of the alignment table (100) and the slopes (10)")
    parser.add_argument("--quick", action="store_true",
                        help="fewer systems, temperatures and nudges, for trying out")
    parser.add_argument("--seed", type=seed, metavar="N",
                        help="of systems, noise and mismatch, 0 to 2**64 - 1 (0)")
    add_common(parser, "device", "json", "plot", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; returns 1 if a figure is not reached that must be, else 0."""
    output = Output(arguments)
    plot = None
    if arguments.plot is not None:
        from pbitstream.cli.plot import require_matplotlib

        require_matplotlib()
        plot = check_target("--plot", arguments.plot, (".png", ".pdf", ".svg"))
    from pbitstream.devices.registry import open_device
    from pbitstream.training.eqprop_study import FULL, QUICK, study_eqprop

    sizes = QUICK if arguments.quick else FULL
    if arguments.systems is not None:
        count = arguments.systems
        sizes = replace(sizes, alignment=count, slopes=count, paper=min(count, sizes.paper),
                        noise=min(count, sizes.noise), imperfect=min(count, sizes.imperfect))
    with open_device(arguments.device) as device, output.progress() as report:
        study = study_eqprop(device, seed=arguments.seed, sizes=sizes, report=report)
    if plot is not None:
        from pbitstream.cli.study_eqprop_view import save_plot

        save_plot(plot, study)
    missed = sum(not check.holds for check in study.checks())
    if output.json:
        output.document({"device": arguments.device, **study.to_dict()})
        return int(missed > 0)
    from pbitstream.cli.study_eqprop_view import show

    show(output.console, study)
    if plot is not None:
        output.console.print(f"wrote {plot}", markup=False)
    return int(missed > 0)

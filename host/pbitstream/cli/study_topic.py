"""``pbitstream study TOPIC`` for the topics of `pbitstream.study`: measure, keep, show."""

import argparse
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pbitstream.cli.output import Output, check_target
from pbitstream.cli.parser import add_common, positive
from pbitstream.study.topics import QUESTIONS

if TYPE_CHECKING:
    from pbitstream.study.run import Measure

__all__ = ["add_topics"]

FOLDER = "pbitstream-study"
PLOT_ENDINGS = (".png", ".pdf", ".svg")


def add_topics(topics: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add a parser for every topic."""
    for name, question in QUESTIONS.items():
        epilog = (f"examples:\n  pbitstream study {name}\n"
                  f"  pbitstream study {name} --seeds 10 --plot {name}.png\n"
                  f"  pbitstream study {name} --json | jq .rows\n\n"
                  "every cell that is done is kept in the folder, and an interrupted study goes\n"
                  "on from there")
        own = topics.add_parser(name, help=question, epilog=epilog,
                                description=f"{question[0].upper()}{question[1:]}.")
        own.add_argument("--seeds", type=positive, default=5, metavar="N",
                         help="seeds of every row, at least 5, from --seed on (5)")
        own.add_argument("--folder", default=FOLDER, metavar="DIR",
                         help=f"where results are kept and resumed ({FOLDER})")
        add_common(own, "device", "cluster", "seed", "json", "plot", "quiet")
        own.set_defaults(topic_run=partial(run, name))


def run(name: str, arguments: argparse.Namespace) -> int:
    """Measure what is not yet measured and print all; returns 0."""
    output = Output(arguments)
    plot = None
    if arguments.plot is not None:
        from pbitstream.cli.plot import require_matplotlib

        require_matplotlib()
        plot = check_target("--plot", arguments.plot, PLOT_ENDINGS)
    from pbitstream.devices.registry import open_device
    from pbitstream.farm import Cluster
    from pbitstream.farm.study import measured
    from pbitstream.study.run import run_topic
    from pbitstream.study.topics import open_topic

    topic = open_topic(name)
    kept = Path(arguments.folder) / f"{name}.jsonl"
    with ExitStack() as stack:
        measure: Measure | None = None
        device = None
        if arguments.cluster is None:
            device = stack.enter_context(open_device(arguments.device))
        else:
            cluster = stack.enter_context(Cluster(arguments.cluster))
            measure = partial(measured, cluster, arguments.device, name)
        report = stack.enter_context(output.progress())
        study = run_topic(topic, device, seeds=arguments.seeds, first_seed=arguments.seed,
                          path=kept, measure=measure, report=report)
    if plot is not None:
        from pbitstream.cli.study_view import save_plot

        save_plot(plot, study)
    if output.json:
        output.document({"device": arguments.device, **study.to_dict()})
        return 0
    from pbitstream.cli.study_view import show

    show(output.console, study)
    output.console.print(f"kept in {kept}", style="dim", markup=False)
    if plot is not None:
        output.console.print(f"wrote {plot}", markup=False)
    return 0

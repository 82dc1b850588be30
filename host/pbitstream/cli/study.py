"""``pbitstream study TOPIC``: measurements that say what to trust, one topic a module."""

import argparse
from importlib import import_module

__all__ = ["HELP", "add_arguments", "run"]

HELP = "measure what to trust: gradients of equilibrium propagation"
#: Modules with HELP, EPILOG, add_arguments(parser) and run(arguments) -> exit code.
TOPICS = {"eqprop": "pbitstream.cli.study_eqprop"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for every topic."""
    topics = parser.add_subparsers(metavar="TOPIC", dest="topic", required=True, title="topics")
    for name, place in TOPICS.items():
        topic = import_module(place)
        own = topics.add_parser(name, help=topic.HELP, epilog=topic.EPILOG,
                                description=f"{topic.HELP[0].upper()}{topic.HELP[1:]}.")
        topic.add_arguments(own)


def run(arguments: argparse.Namespace) -> int:
    """Run the topic; returns its exit code."""
    return int(import_module(TOPICS[arguments.topic]).run(arguments))

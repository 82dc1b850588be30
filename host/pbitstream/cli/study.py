"""``pbitstream study TOPIC``: measurements that say what to trust, one topic a module."""

import argparse
from importlib import import_module

from pbitstream.cli.study_topic import add_topics

__all__ = ["HELP", "add_arguments", "run"]

HELP = "measure what to trust: the papers' open questions, each with a table and intervals"
#: Topics of their own form: modules with HELP, EPILOG, add_arguments(parser), run(arguments).
OTHERS = {"energy": "pbitstream.cli.study_energy", "eqprop": "pbitstream.cli.study_eqprop"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a parser for every topic."""
    topics = parser.add_subparsers(metavar="TOPIC", dest="topic", required=True, title="topics")
    add_topics(topics)
    for name, place in OTHERS.items():
        topic = import_module(place)
        own = topics.add_parser(name, help=topic.HELP, epilog=topic.EPILOG,
                                description=f"{topic.HELP[0].upper()}{topic.HELP[1:]}.")
        topic.add_arguments(own)
        own.set_defaults(topic_run=topic.run)


def run(arguments: argparse.Namespace) -> int:
    """Run the topic; returns its exit code."""
    return int(arguments.topic_run(arguments))

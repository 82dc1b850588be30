"""``pbitstream study energy``: the papers' energy factors beside ours, every figure graded."""

import argparse

from pbitstream.cli.output import Output
from pbitstream.cli.parser import add_common

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "what the papers' 10^4 and 10^7 mean, and what may be stated"
EPILOG = """\
Counts of one denoised state by digits-k16, the energies that are missing, and factors by
definition. Training has its own ledger, printed by pbitstream train.

examples:
  pbitstream study energy
  pbitstream study energy --json | jq '.factors[] | {definition, factor, grade}'
"""
MODEL = "digits-k16"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the topic."""
    add_common(parser, "json", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Count and print; returns 0."""
    from pbitstream.model import Model, shipped
    from pbitstream.program import Program
    from pbitstream.study.energy import inference_ledger

    output = Output(arguments)
    ledger = inference_ledger(Model.open(shipped(MODEL)), Program.open(shipped(f"{MODEL}.program")))
    if output.json:
        output.document({"topic": "energy", "model": MODEL, **ledger})
        return 0
    from pbitstream.cli.evidence_view import show_evidence

    show_evidence(output.console, f"One denoised state, {MODEL}", ledger)
    return 0

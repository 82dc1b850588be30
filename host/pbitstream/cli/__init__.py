"""The command line: one module per command, found by the entry points `pbitstream.commands`."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line, without the program's name, and return its exit code."""
    try:
        # Not above: an interrupt while this imports shall end the program as quietly as any other.
        from pbitstream.cli.entry import main as run

        return run(words)
    except KeyboardInterrupt:
        sys.stderr.write("pbitstream: interrupted\n")
        return 130

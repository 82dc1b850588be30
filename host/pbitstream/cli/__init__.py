"""The command line: one module per command, found by the entry points `pbitstream.commands`."""

from pbitstream.cli.entry import main

__all__ = ["main"]

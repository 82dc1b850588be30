"""``pbitstream config``: effective settings and where each comes from."""

import argparse

from pbitstream.cli.output import Output, table
from pbitstream.cli.parser import add_common

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "show the effective settings and where each comes from"
EPILOG = """\
An option beats PBITSTREAM_DEVICE, PBITSTREAM_SEED and PBITSTREAM_QUIET, these beat
pbitstream.toml in the working directory or above, that beats the user's file. Both files are
TOML, for example:

  device = "emulator:?threads=4"
  seed = 7
  quiet = true
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("action", nargs="?", choices=["show"], default="show", help="the default")
    add_common(parser, "device", "seed", "json", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Print the settings; returns 0."""
    from pbitstream.cli.settings import project_file, user_file

    output = Output(arguments)
    project, user = project_file(), user_file()
    if output.json:
        output.document({
            "settings": {name: vars(setting) for name, setting in arguments.settings.items()},
            "files": {"project": None if project is None else str(project), "user": str(user)},
        })
        return 0
    made = table("Settings", "key", "value", "origin", "where", text=4)
    for name, setting in arguments.settings.items():
        value = str(setting.value).lower() if name == "quiet" else str(setting.value)
        made.add_row(name, value, setting.origin, setting.where or "")
    console = output.console
    console.print(made, "")
    console.print(f"project file: {project or 'none (pbitstream.toml here or above)'}",
                  soft_wrap=True)
    console.print(f"user file: {user}{'' if user.is_file() else ' (absent)'}", soft_wrap=True)
    return 0

"""``pbitstream devices``: the device URLs that can be given here."""

import argparse
from importlib.metadata import EntryPoint
from typing import Any

from pbitstream.cli.output import Output, table
from pbitstream.cli.parser import add_common
from pbitstream.errors import MissingExtraError

__all__ = ["HELP", "add_arguments", "run"]

HELP = "list the device schemes, and whether what each needs is installed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_common(parser, "device", "json", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Print the schemes; returns 0."""
    from pbitstream.devices.registry import device_schemes

    output = Output(arguments)
    found = [describe(name, point) for name, point in sorted(device_schemes().items())]
    if output.json:
        output.document({"default": arguments.device, "devices": found})
        return 0
    made = table("Devices", "URL", "installed", "what it is", "from", text=4)
    for device in found:
        made.add_row(f"{device['scheme']}:", "yes" if device["installed"] else
                     f"no: {device['reason']}", device["what"], device["package"])
    output.console.print(made, "")
    setting = arguments.settings["device"]
    output.console.print(f"used without -d: {setting.value} ({setting.origin})")
    return 0


def describe(scheme: str, point: EntryPoint) -> dict[str, Any]:
    """Return what is known of a scheme without opening a device."""
    package = "unknown" if point.dist is None else f"{point.dist.name} {point.dist.version}"
    entry: dict[str, Any] = {"scheme": scheme, "installed": False, "reason": None, "what": "",
                             "package": package}
    try:
        opener = point.load()
    except MissingExtraError as error:
        return {**entry, "reason": str(error)}
    except ImportError as error:
        return {**entry, "reason": f"{error.name} is missing"}
    except AttributeError as error:
        return {**entry, "reason": str(error)}
    # The first sentence of the opener's docstring is its description.
    text = " ".join((opener.__doc__ or "").split("\n\n")[0].split())
    what = text.partition(";")[0].rstrip(".").replace("``", "")
    return {**entry, "installed": True, "what": what}

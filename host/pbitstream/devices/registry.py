"""Devices by URL: ``scheme:address?option=value``, opened by entry points.

Packages register a scheme in the entry-point group ``pbitstream.devices``: a function of the
address and the options that returns a `Device`.
"""

from importlib.metadata import EntryPoint, entry_points
from urllib.parse import parse_qsl

from pbitstream.devices.protocol import Device
from pbitstream.errors import MissingExtraError, SpecError

__all__ = ["GROUP", "device_schemes", "open_device"]

GROUP = "pbitstream.devices"


def device_schemes() -> dict[str, EntryPoint]:
    """Return the entry point of every scheme that is installed."""
    return {point.name: point for point in entry_points(group=GROUP)}


def open_device(url: str = "emulator:") -> Device:
    """Open the device that a URL names.

    Raises
    ------
    SpecError
        If the scheme is unknown or an option is not one of the device's.
    MissingExtraError
        If what the device needs is not installed.
    """
    scheme, colon, rest = str(url).partition(":")
    schemes = device_schemes()
    if not colon or scheme not in schemes:
        known = ", ".join(f"{name}:" for name in sorted(schemes))
        raise SpecError(f"device must be a URL that starts with one of {known}, not {url!r}")
    address, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise SpecError(f"options of device {url!r} must read name=value&name=value") from error
    try:
        opener = schemes[scheme].load()
    except MissingExtraError:
        raise
    except ImportError as error:
        raise MissingExtraError(f"device {scheme}: needs {error.name}, which is missing; "
                                "install it, or the extra of pbitstream that brings it") from error
    device: Device = opener(address, dict(pairs))
    return device

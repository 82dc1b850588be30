"""Boards on the network by URL."""

from typing import Any

from pbitstream.devices.board import Board
from pbitstream.devices.network.client import NetworkTransport
from pbitstream.devices.network.tokens import find_token
from pbitstream.devices.protocol import Device
from pbitstream.errors import SpecError

__all__ = ["Distant", "open_tcp"]


class Distant(Board):
    """A board that a server has."""

    def __init__(self, transport: NetworkTransport) -> None:
        self._server, self._about = transport.name, transport.about
        super().__init__(transport, name="tcp")

    def info(self) -> dict[str, Any]:
        """Return what this device is, as plain data; `kind` is what the server says of it."""
        return {**super().info(), "kind": self._about["kind"], "server": self._server,
                "served_device": self._about["device"]}


def open_tcp(rest: str, options: dict[str, str]) -> Device:
    """Board behind a pbitstream serve, ``tcp:host:port``; option token-file=FILE."""
    unknown = sorted(options.keys() - {"token-file"})
    if unknown:
        raise SpecError(f"tcp: takes the option token-file, not {unknown[0]}")
    host, _, port = rest.rpartition(":")
    # Brackets set off the colons of an IPv6 address.
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in host and bare == host) or not (
            port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise SpecError("tcp: takes a host and a port, as in tcp:192.168.2.99:7248 or "
                        f"tcp:[::1]:7248, not {rest!r}")
    token = find_token(options.get("token-file"))
    return Distant(NetworkTransport(bare, int(port), token=token))

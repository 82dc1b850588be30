"""Boards on the network: what `pbitstream serve` does, and the device ``tcp:`` that asks it."""

from pbitstream.devices.network.client import NetworkTransport
from pbitstream.devices.network.server import Server, listen

__all__ = ["NetworkTransport", "Server", "listen"]

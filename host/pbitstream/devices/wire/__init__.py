"""Boards on a serial line: frames, the transport that loses nothing, and lines that misbehave."""

from pbitstream.devices.wire.port import Port, PortLostError
from pbitstream.devices.wire.transport import SerialTransport

__all__ = ["Port", "PortLostError", "SerialTransport"]

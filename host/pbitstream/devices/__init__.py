"""Devices: their protocol, their registry and the suite that every device passes."""

from pbitstream.devices.protocol import Device, Readout, Settings, State
from pbitstream.devices.registry import device_schemes, open_device

__all__ = ["Device", "Readout", "Settings", "State", "device_schemes", "open_device"]

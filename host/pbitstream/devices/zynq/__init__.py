"""Zynq boards from their own Linux: registers in memory, with the pynq package or without."""

from pbitstream.devices.zynq.files import ImageFiles
from pbitstream.devices.zynq.memory import MemoryTransport

__all__ = ["ImageFiles", "MemoryTransport"]

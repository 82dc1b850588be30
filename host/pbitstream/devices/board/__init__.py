"""Boards: gateware behind a transport, in silicon or in a simulator."""

from pbitstream.devices.board.device import Board
from pbitstream.devices.board.transport import Transport

__all__ = ["Board", "Transport"]

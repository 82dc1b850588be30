"""The boards that images are built for, by name."""

from pbitstream_gateware.boards.board import Board, Part, Pin, constraints
from pbitstream_gateware.boards.pynq_z2 import PYNQ_Z2
from pbitstream_gateware.boards.ulx3s import ULX3S
from pbitstream_gateware.boards.zynq import ZynqBoard

__all__ = ["BOARDS", "ZYNQ_BOARDS", "Board", "Part", "Pin", "ZynqBoard", "constraints"]

BOARDS = {board.name: board for board in (ULX3S,)}
#: Those with a processor beside the fabric.
ZYNQ_BOARDS = {board.name: board for board in (PYNQ_Z2,)}

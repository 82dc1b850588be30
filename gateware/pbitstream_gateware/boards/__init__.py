"""The boards that images are built for, by name."""

from pbitstream_gateware.boards.board import Board, Part, Pin, constraints
from pbitstream_gateware.boards.ulx3s import ULX3S

__all__ = ["BOARDS", "Board", "Part", "Pin", "constraints"]

BOARDS = {board.name: board for board in (ULX3S,)}

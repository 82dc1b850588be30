"""The two interfaces that tie the design together: the host's bus and the window port behind it."""

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.registers import BOARD_BYTES

__all__ = ["ADDRESS_BITS", "WINDOW_LATENCY", "Bus", "WindowPort", "broadcast"]

#: Bits of a word address: the map in words of 32 bits.
ADDRESS_BITS = (BOARD_BYTES // 4 - 1).bit_length()
#: Cycles from an address at a window port to its word.
WINDOW_LATENCY = 5


class Bus(wiring.Signature):
    """One request at a time, from the side that asks.

    Members
    -------
    valid, write, address, data
        A request, held until `ack`; `address` counts words of 32 bits.
    ack, read
        One cycle that ends the request; `read` is the word of a read.
    """

    def __init__(self) -> None:
        super().__init__({
            "valid": Out(1),
            "write": Out(1),
            "address": Out(ADDRESS_BITS),
            "data": Out(32),
            "ack": In(1),
            "read": In(32),
        })


class WindowPort(wiring.Signature):
    """What the register bank broadcasts to all memories, from its side.

    Members
    -------
    address, write, data
        A word address of the map, and a word to store there if `write`.
    read
        The word at the address of `WINDOW_LATENCY` cycles before; memories that do not own it
        answer 0, so that their answers can be ORed.
    """

    def __init__(self) -> None:
        super().__init__({
            "address": Out(ADDRESS_BITS),
            "write": Out(1),
            "data": Out(32),
            "read": In(32),
        })


def broadcast(m: Module, port: Any, memories: Iterable[Any]) -> None:
    """Ask all memories what the port asks, and give it the one answer that is not 0."""
    memories = list(memories)
    for memory in memories:
        m.d.comb += [
            memory.address.eq(port.address),
            memory.write.eq(port.write),
            memory.data.eq(port.data),
        ]
    m.d.comb += port.read.eq(reduce(or_, (memory.read for memory in memories)))

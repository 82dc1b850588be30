"""A small top with the ports of the real one, so that the harness has its own tests."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.registers import MAGIC, RESPONSE_CYCLES, UNMAPPED
from pbitstream_gateware.ports import Bus

#: Word addresses: the magic word, how long to be busy, words of a memory, one that never answers.
MAGIC_WORD, BUSY_WORD, MEMORY, SILENT = 0, 8, 0x400, 0x3FFFF
DEPTH = 256


class Stub(wiring.Component):
    """Answers after `delay` cycles; a write to BUSY_WORD makes it busy for so many cycles."""

    def __init__(self, delay: int = 3) -> None:
        assert 1 <= delay < RESPONSE_CYCLES
        self.delay = delay
        super().__init__({"bus": In(Bus()), "busy": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        bus, age, left = self.bus, Signal(range(RESPONSE_CYCLES)), Signal(32)
        m.submodules.cells = cells = memory.Memory(shape=32, depth=DEPTH, init=[])
        read, write = cells.read_port(), cells.write_port()
        inside = (bus.address >= MEMORY) & (bus.address < MEMORY + DEPTH)
        m.d.comb += [
            self.busy.eq(left != 0),
            bus.ack.eq((age == self.delay) & (bus.address != SILENT)),
            read.addr.eq(bus.address),
            write.addr.eq(bus.address),
            write.data.eq(bus.data),
            write.en.eq(bus.ack & bus.write & inside),
            bus.read.eq(UNMAPPED),
        ]
        with m.If(inside):
            m.d.comb += bus.read.eq(read.data)
        with m.Elif(bus.address == MAGIC_WORD):
            m.d.comb += bus.read.eq(MAGIC)
        with m.Elif(bus.address == BUSY_WORD):
            m.d.comb += bus.read.eq(left)
        with m.If(bus.valid & (age != self.delay)):
            m.d.sync += age.eq(age + 1)
        with m.Else():
            m.d.sync += age.eq(0)
        with m.If(bus.ack & bus.write & (bus.address == BUSY_WORD)):
            m.d.sync += left.eq(bus.data)
        with m.Elif(self.busy):
            m.d.sync += left.eq(left - 1)
        return m

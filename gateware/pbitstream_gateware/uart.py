"""The two halves of a UART, 8N1, at a rate that may change while it runs."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["PHASE_BITS", "Bytes", "UartReceiver", "UartTransmitter", "rate_of"]

#: Bits of a fraction of a bit time; 115,200 baud at 80 MHz is off by 0.004 % then.
PHASE_BITS = 20
#: Start, eight data bits, stop.
FRAME_BITS = 10


def rate_of(baud: int, clock: int) -> int:
    """Return the `rate` for a baud rate at a clock, both in Hz: bits per cycle, as a fraction.

    At most half a bit per cycle.
    """
    rate = (2 * baud << PHASE_BITS) // clock + 1 >> 1
    assert 0 < rate <= 1 << PHASE_BITS - 1, f"{baud} baud need a faster clock than {clock} Hz"
    return rate


class Bytes(wiring.Signature):
    """A stream of bytes, from the side that sends: one goes in a cycle with `valid` and `ready`."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "data": Out(8), "ready": In(1)})


class UartReceiver(wiring.Component):
    """Find bytes on a line.

    Members
    -------
    rx
        The line, high when idle.
    rate
        See `rate_of`.
    valid, data
        A byte has come; nobody can hold it up.
    broken
        With `valid`: its stop bit was missing, so it is no byte; the line must be high before the
        next one begins.

    Timing
    ------
    Each bit is sampled once, in its middle to within a cycle. After any noise the first byte that
    follows ten bit times of an idle line is received.
    """

    def __init__(self) -> None:
        super().__init__({
            "rx": In(1, init=1),
            "rate": In(PHASE_BITS),
            "valid": Out(1),
            "data": Out(8),
            "broken": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, line, init=1)

        # Bits that are still to come; none between bytes. `tick` is the middle of each.
        left = Signal(range(FRAME_BITS + 1))
        before = Signal(init=1)
        phase = Signal(PHASE_BITS)
        tick = Signal()
        shifted = Signal(8)
        m.d.comb += self.data.eq(shifted)
        m.d.sync += [Cat(phase, tick).eq(phase + self.rate), before.eq(line),
                     self.valid.eq(0), self.broken.eq(0)]
        with m.If(left == 0):
            # Half a bit until the middle of the start bit, of which this cycle may be the first.
            m.d.sync += Cat(phase, tick).eq((1 << PHASE_BITS - 1) + self.rate)
            with m.If(before & ~line):
                m.d.sync += [left.eq(FRAME_BITS)]
        with m.Elif(tick):
            m.d.sync += left.eq(left - 1)
            with m.If(left == FRAME_BITS):
                # A start bit that is over by its middle was noise.
                with m.If(line):
                    m.d.sync += left.eq(0)
            with m.Elif(left == 1):
                m.d.sync += [self.valid.eq(1), self.broken.eq(~line)]
            with m.Else():
                m.d.sync += shifted.eq(Cat(shifted[1:], line))
        return m


class UartTransmitter(wiring.Component):
    """Put bytes on a line.

    Members
    -------
    i
        Bytes.
    rate
        See `rate_of`.
    tx
        The line, high when idle; a register.
    idle
        No byte is on the line, nor begins.

    Timing
    ------
    A byte takes ten bit times; the next one follows at once if it is there when its stop bit ends.
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(Bytes()),
            "rate": In(PHASE_BITS),
            "tx": Out(1, init=1),
            "idle": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # The bits that follow the one on the line; a byte is on the line while `left` counts.
        bits = Signal(FRAME_BITS - 1)
        left = Signal(range(FRAME_BITS + 1))
        phase = Signal(PHASE_BITS)
        tick = Signal()
        m.d.comb += [self.i.ready.eq((left == 0) | (tick & (left == 1))),
                     self.idle.eq((left == 0) & ~self.i.valid)]
        m.d.sync += Cat(phase, tick).eq(Mux(left == 0, self.rate, phase + self.rate))
        with m.If(self.i.ready):
            m.d.sync += left.eq(0)
            with m.If(self.i.valid):
                m.d.sync += [self.tx.eq(0), bits.eq(Cat(self.i.data, Const(1))),
                             left.eq(FRAME_BITS)]
        with m.Elif(tick):
            m.d.sync += [self.tx.eq(bits[0]), bits.eq(Cat(bits[1:], Const(1))), left.eq(left - 1)]
        return m

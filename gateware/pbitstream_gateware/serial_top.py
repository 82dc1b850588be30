"""The whole design behind a serial line: what a board with a UART and nothing else carries."""

from typing import Any

from amaranth.hdl import Array, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.frames import BAUDS
from pbitstream.spec.image import Image
from pbitstream_gateware.frames import FrameReceiver, FrameSender
from pbitstream_gateware.link import LinkEngine
from pbitstream_gateware.ports import Bus
from pbitstream_gateware.top import Top
from pbitstream_gateware.uart import (
    PHASE_BITS,
    Bytes,
    UartReceiver,
    UartTransmitter,
    rate_of,
)

__all__ = ["FrameLink", "SerialLink", "SerialTop"]


class FrameLink(wiring.Component):
    """From bytes to the bus and back.

    Members
    -------
    valid, data, broken
        Bytes from the host, as `UartReceiver` gives them.
    o
        Bytes to the host.
    sent
        All that was given to `o` has left.
    baud
        Which of `BAUDS` the line is to run at.
    bus
        Requests of the host.
    dropped
        A cycle per frame that was dropped.

    Timing
    ------
    The buffer holds `BUFFER_WORDS`; see `pbitstream.spec.frames` for how a host keeps within it.

    Numerics
    --------
    Twin: `pbitstream.devices.wire.transport`.
    """

    def __init__(self) -> None:
        super().__init__({
            "valid": In(1),
            "data": In(8),
            "broken": In(1),
            "o": Out(Bytes()),
            "sent": In(1),
            "baud": Out(range(len(BAUDS))),
            "bus": Out(Bus()),
            "dropped": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.receiver = receiver = FrameReceiver()
        m.submodules.sender = sender = FrameSender()
        m.submodules.engine = engine = LinkEngine()
        wiring.connect(m, receiver.o, engine.i)
        wiring.connect(m, engine.o, sender.i)
        wiring.connect(m, wiring.flipped(self.o), sender.o)
        wiring.connect(m, wiring.flipped(self.bus), engine.bus)
        m.d.comb += [
            receiver.valid.eq(self.valid),
            receiver.data.eq(self.data),
            receiver.broken.eq(self.broken),
            self.dropped.eq(receiver.dropped),
            self.baud.eq(engine.baud),
            engine.drained.eq(sender.idle & self.sent),
        ]
        return m


class SerialLink(wiring.Component):
    """From the two wires of a serial line to the bus.

    Parameters
    ----------
    clock
        Of the board, in Hz; at least twice the highest rate of `BAUDS`.

    Members
    -------
    rx, tx
        The line, high when idle: to the board, and from it. It runs at the first of `BAUDS` after a
        reset.
    bus
        Requests of the host.
    dropped
        A cycle per frame that was dropped.
    """

    def __init__(self, clock: int) -> None:
        self.clock = clock
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "bus": Out(Bus()),
                          "dropped": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver()
        m.submodules.transmitter = transmitter = UartTransmitter()
        m.submodules.frames = frames = FrameLink()
        wiring.connect(m, frames.o, transmitter.i)
        wiring.connect(m, wiring.flipped(self.bus), frames.bus)
        rate = Signal(PHASE_BITS)
        m.d.sync += rate.eq(Array(rate_of(baud, self.clock) for baud in BAUDS)[frames.baud])
        m.d.comb += [
            receiver.rx.eq(self.rx),
            receiver.rate.eq(rate),
            frames.valid.eq(receiver.valid),
            frames.data.eq(receiver.data),
            frames.broken.eq(receiver.broken),
            frames.sent.eq(transmitter.idle),
            transmitter.rate.eq(rate),
            self.tx.eq(transmitter.tx),
            self.dropped.eq(frames.dropped),
        ]
        return m


class SerialTop(wiring.Component):
    """The substrate with a serial link.

    Parameters
    ----------
    image
        What it holds.
    clock
        See `SerialLink`.

    Members
    -------
    rx, tx
        The serial line.
    busy
        A relaxation or a table check runs.
    """

    def __init__(self, image: Image, clock: int) -> None:
        self.image, self.clock = image, clock
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.link = link = SerialLink(self.clock)
        m.submodules.top = top = Top(self.image)
        wiring.connect(m, link.bus, top.bus)
        m.d.comb += [link.rx.eq(self.rx), self.tx.eq(link.tx), self.busy.eq(top.busy),
                     top.link_errors.eq(link.dropped)]
        return m

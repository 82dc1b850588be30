"""The window through which the host sees and sets the words of the noise streams."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.registers import OTHER_PAGE
from pbitstream_gateware.noise import STREAM_BITS
from pbitstream_gateware.pipeline import delayed
from pbitstream_gateware.ports import WINDOW_LATENCY, WindowPort
from pbitstream_gateware.windows import window_base

__all__ = ["NoiseWindow"]


class NoiseWindow(wiring.Component):
    """The window on the words of one pipe's streams: a low half is kept until its high half comes.

    Members
    -------
    host
        The window port.
    page
        The page of a relaxation; the other one is at OTHER_PAGE.
    peek_page, stream, word
        The word that the host looks at.
    store, store_word
        A word that it stores there.
    """

    def __init__(self, image: Image, part: int) -> None:
        self.image, self.part = image, part
        streams = ceil_log2(STREAMS // image.pipes)
        super().__init__({
            "host": In(WindowPort()),
            "page": In(1),
            "peek_page": Out(1),
            "stream": Out(streams),
            "word": In(STREAM_BITS),
            "store": Out(1),
            "store_word": Out(STREAM_BITS),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = self.image
        span = ceil_log2(2 * STREAMS)
        lane_bits = ceil_log2(image.lanes // image.pipes)
        part_bits = ceil_log2(image.pipes)
        offset, hit, other, write = Signal(span), Signal(), Signal(), Signal()
        data, low = Signal(32), Signal(32)
        address = self.host.address & ~(OTHER_PAGE // 4)
        m.d.sync += [
            offset.eq(address),
            hit.eq(address[span:] == window_base("noise") >> span),
            other.eq((self.host.address & OTHER_PAGE // 4).any()),
            write.eq(self.host.write),
            data.eq(self.host.data),
        ]
        stream, high = offset[1:], offset[0]
        index = Cat(stream[:lane_bits], stream[lane_bits + part_bits :])
        own = Signal()
        mine = stream[lane_bits : lane_bits + part_bits] == self.part if part_bits else 1
        m.d.comb += [
            own.eq(hit & mine),
            self.peek_page.eq(self.page ^ other),
            self.stream.eq(index),
            self.store.eq(own & write & high),
            self.store_word.eq(Cat(low, data)),
        ]
        with m.If(own & write & ~high):
            m.d.sync += low.eq(data)
        answer = Signal(32)
        m.d.sync += answer.eq(Mux(own, self.word.word_select(high, 32), 0))
        m.d.comb += self.host.read.eq(delayed(m, answer, WINDOW_LATENCY - 2))
        return m

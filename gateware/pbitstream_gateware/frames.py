"""Frames of the serial link: from bytes to whole frames in a buffer, and from words to bytes."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.crc import Algorithm
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.frames import BUFFER_WORDS, CRC, FRAME_WORDS, MAX_PAYLOAD, OPERATIONS
from pbitstream_gateware.cobs import CobsDecoder, CobsEncoder
from pbitstream_gateware.uart import Bytes

__all__ = ["FrameReceiver", "FrameSender", "Words", "crc_processor"]

#: Words of the shortest frame: the header and the CRC.
SHORTEST = FRAME_WORDS + 1
#: Counts words of a frame up to more than the longest one has.
COUNT_BITS = (SHORTEST + MAX_PAYLOAD // 4).bit_length()


def crc_processor() -> Any:
    """Return a CRC of the link that takes a byte per cycle."""
    return Algorithm(
        crc_width=CRC["width"], polynomial=CRC["polynomial"], initial_crc=CRC["initial"],
        reflect_input=bool(CRC["reflect_input"]), reflect_output=bool(CRC["reflect_output"]),
        xor_output=CRC["xor_output"])(data_width=8).create()


class Words(wiring.Signature):
    """A stream of the words of frames without CRC, from the side that sends.

    Members
    -------
    valid, ready
        A word goes over in a cycle with both.
    data
        Bytes in the order of the frame, the first one in the low bits.
    last
        The last word of a frame.
    """

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "data": Out(32), "last": Out(1), "ready": In(1)})


class FrameReceiver(wiring.Component):
    """Keep frames whose CRC and length are right until they are read, and drop all others whole.

    Parameters
    ----------
    depth
        Words of the buffer, a power of two; a frame takes one per word, without its CRC.
    crc
        Stands in for the CRC processor, in a proof.

    Attributes
    ----------
    crc, decoder
        The CRC processor, and what undoes the stuffing.
    newest, place, words, reading, wanted, spoiled
        Of the frame that is being received: its newest word and how many bytes of it are there,
        whole words, whether it is a read, how many words it says that it has, and whether it found
        no room.
    store, good, full
        A word goes to the buffer; the frame that has just ended is right; there is no room.
    head, written, tail
        Where the next frame begins, where its next word goes, and which word is read next, as
        counts of words modulo twice the depth. What lies between `tail` and `head` belongs to
        frames that were found right.

    Members
    -------
    valid, data, broken
        Bytes, as `UartReceiver` gives them.
    o
        Frames.
    dropped
        A cycle per frame that was dropped: damaged, of the wrong length, or without room.

    Timing
    ------
    A byte per cycle. A frame comes out six cycles after its delimiter, or later; a word per four
    cycles. After any bytes the frame behind the next delimiter is found.

    Numerics
    --------
    Twin: `pbitstream.devices.wire.codec.FrameDecoder`.
    """

    def __init__(self, depth: int = BUFFER_WORDS, crc: Any = None) -> None:
        self.depth = depth
        super().__init__({
            "valid": In(1),
            "data": In(8),
            "broken": In(1),
            "o": Out(Words()),
            "dropped": Out(1),
        })
        self.crc = crc or crc_processor()
        self.decoder = CobsDecoder()
        pointer = ceil_log2(depth) + 1
        self.head = Signal(pointer)
        self.written = Signal(pointer)
        self.tail = Signal(pointer)
        self.newest = Signal(32)
        self.place = Signal(2)
        self.words = Signal(COUNT_BITS)
        self.reading = Signal()
        self.wanted = Signal(COUNT_BITS, init=SHORTEST)
        self.spoiled = Signal()
        self.store = Signal()
        self.good = Signal()
        self.full = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.decoder = decoder = self.decoder
        m.submodules.crc = crc = self.crc
        m.submodules.buffer = buffer = memory.Memory(shape=33, depth=self.depth, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        m.d.comb += [
            decoder.valid.eq(self.valid),
            decoder.data.eq(self.data),
            decoder.broken.eq(self.broken),
            crc.valid.eq(decoder.o_valid),
            crc.data.eq(decoder.o_data),
            crc.start.eq(decoder.end),
        ]
        self._collect(m, write)
        self._give(m, read)
        return m

    def _collect(self, m: Module, write: Any) -> None:
        """Put words together; the last but one goes to the buffer, since the last may be CRC."""
        decoder, crc = self.decoder, self.crc
        newest = self.newest
        previous = Signal(32)
        place, words, wanted, spoiled = self.place, self.words, self.wanted, self.spoiled
        reading, full = self.reading, self.full
        # Counts of words wrap, so their difference does.
        held = (self.written - self.tail)[: len(self.head)]
        m.d.sync += full.eq(held == self.depth)

        op, count = newest[8:16], newest[16:32]
        complete = decoder.o_valid & (place == 0)
        push = Signal()
        m.d.comb += push.eq(complete & (words >= 2))
        with m.If(decoder.o_valid):
            m.d.sync += [newest.eq(Cat(newest[8:], decoder.o_data)), place.eq(place + 1)]
            with m.If((place == 3) & ~words.all()):
                m.d.sync += words.eq(words + 1)
        with m.If(complete):
            m.d.sync += previous.eq(newest)
        with m.If(complete & (words == 1)):
            m.d.sync += reading.eq(op == OPERATIONS["read"])
        with m.If(complete & (words == 2)):
            # A count that is not of whole words, or too long, is that of no frame.
            possible = (count[:2] == 0) & (count <= MAX_PAYLOAD)
            m.d.sync += wanted.eq(Mux(reading, SHORTEST, Mux(
                possible, SHORTEST + (count >> 2), 0)))
        with m.If(push & full):
            m.d.sync += spoiled.eq(1)

        # The verdict, a cycle after the end.
        ended = Signal()
        empty = Signal()
        sound = Signal()
        matched = Signal()
        m.d.sync += [
            ended.eq(decoder.end),
            empty.eq(decoder.empty),
            sound.eq(decoder.whole & (place == 0) & (words == wanted) & ~spoiled & ~full),
            matched.eq(crc.match_detected),
        ]
        with m.If(decoder.end):
            # A frame that ends before it says its length has none.
            m.d.sync += [place.eq(0), words.eq(0), spoiled.eq(0), wanted.eq(SHORTEST)]

        good = self.good
        m.d.comb += [
            good.eq(ended & sound & matched),
            self.store.eq((push & ~full) | good),
            write.addr.eq(self.written),
            write.data.eq(Cat(previous, good)),
            write.en.eq(self.store),
        ]
        m.d.sync += self.dropped.eq(ended & ~good & ~empty)
        with m.If(good):
            m.d.sync += [self.head.eq(self.written + 1), self.written.eq(self.written + 1)]
        with m.Elif(ended):
            m.d.sync += self.written.eq(self.head)
        with m.Elif(push & ~full):
            m.d.sync += self.written.eq(self.written + 1)

    def _give(self, m: Module, read: Any) -> None:
        more = Signal()
        m.d.comb += read.addr.eq(self.tail)
        m.d.sync += more.eq(self.head != self.tail)
        with m.FSM():
            with m.State("look"):
                with m.If(more):
                    m.next = "take"
            with m.State("take"):
                m.d.sync += Cat(self.o.data, self.o.last).eq(read.data)
                m.next = "offer"
            with m.State("offer"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += self.tail.eq(self.tail + 1)
                    m.next = "pass"
            with m.State("pass"):
                # `more` is about the old tail.
                m.next = "look"


class FrameSender(wiring.Component):
    """Send frames: their bytes, a CRC, stuffing, a delimiter.

    Members
    -------
    i
        Frames.
    o
        Bytes for the line.
    idle
        Nothing is under way.

    Timing
    ------
    See `CobsEncoder`; a word goes in per five cycles at best.

    Numerics
    --------
    Twin: `pbitstream.devices.wire.codec.encode`.
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(Words()),
            "o": Out(Bytes()),
            "idle": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.encoder = encoder = CobsEncoder()
        m.submodules.crc = crc = crc_processor()
        wiring.connect(m, wiring.flipped(self.o), encoder.o)
        word = Signal(32)
        last = Signal()
        place = Signal(2)
        m.d.comb += [encoder.i.data.eq(word[:8]), crc.data.eq(word[:8])]
        sent = Signal()
        m.d.comb += sent.eq(encoder.i.valid & encoder.i.ready)
        with m.If(sent):
            m.d.sync += [word.eq(word >> 8), place.eq(place + 1)]
        with m.FSM():
            with m.State("take"):
                m.d.comb += [self.i.ready.eq(1), self.idle.eq(~self.i.valid & encoder.idle)]
                with m.If(self.i.valid):
                    m.d.sync += [word.eq(self.i.data), last.eq(self.i.last)]
                    m.next = "send"
            with m.State("send"):
                m.d.comb += [encoder.i.valid.eq(1), crc.valid.eq(encoder.i.ready)]
                with m.If(sent & (place == 3)):
                    with m.If(last):
                        m.next = "close"
                    with m.Else():
                        m.next = "take"
            with m.State("close"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += word.eq(crc.crc)
                m.next = "crc"
            with m.State("crc"):
                m.d.comb += [encoder.i.valid.eq(1), encoder.last.eq(place == 3)]
                with m.If(sent & (place == 3)):
                    m.next = "take"
        return m

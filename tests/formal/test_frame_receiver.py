"""Proofs about received frames: none from a bad CRC, none lost after garbage, none overrun.

The CRC may match or not at any time: what it computes is not claimed, but that it sees every byte.
"""

from pathlib import Path
from typing import Any

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.frames import DELIMITER
from pbitstream_gateware.frames import SHORTEST, FrameReceiver
from proofs import inputs, prove

#: A buffer for two short frames: what is claimed does not depend on it.
DEPTH = 4


class AnyCrc(wiring.Component):
    """The ports of a CRC processor with any result at any time."""

    def __init__(self) -> None:
        super().__init__({"start": In(1), "valid": In(1), "data": In(8), "crc": Out(32),
                          "match_detected": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        return Module()


def receiver() -> tuple[FrameReceiver, AnyCrc]:
    crc = AnyCrc()
    return FrameReceiver(DEPTH, crc), crc


def pointers(m: Module, dut: FrameReceiver) -> None:
    """State what holds of the buffer's pointers, without which induction finds no hold."""
    held, kept = Signal.like(dut.head), Signal.like(dut.head)
    m.d.comb += [held.eq(dut.written - dut.tail), kept.eq(dut.head - dut.tail),
                 Assert(held <= DEPTH), Assert(kept <= held),
                 Assert(~dut.o.valid | (kept != 0))]


def only_good_frames() -> tuple[Module, list[Signal]]:
    m = Module()
    dut, crc = receiver()
    m.submodules.dut = dut
    pointers(m, dut)
    # A cycle after the end of a frame: the CRC had matched, and it had been fed nothing else.
    ended, matched = Signal(), Signal()
    head = Signal.like(dut.head)
    m.d.sync += [ended.eq(dut.decoder.end), matched.eq(crc.match_detected), head.eq(dut.head)]
    allowed = Signal()
    m.d.sync += allowed.eq(ended & matched)
    with m.If(dut.head != head):
        m.d.comb += Assert(allowed)
    m.d.comb += [
        Assert(crc.valid == dut.decoder.o_valid),
        Assert(crc.data == dut.decoder.o_data),
        Assert(crc.start == dut.decoder.end),
        # What was found right and is not read yet is never written over.
        Assert(~dut.store | ((dut.written - dut.tail)[: len(head)] < DEPTH)),
        Cover(dut.o.valid & dut.o.last & (dut.head != dut.tail)),
        Cover(ended & ~matched & (dut.written != dut.head)),
    ]
    return m, [*inputs(dut), crc.match_detected]


def resynchronised() -> tuple[Module, list[Signal]]:
    """Two receivers on one line: one has heard anything, the other begins with a delimiter."""
    m = Module()
    old, crc = receiver()
    new, other_crc = receiver()
    heard = Signal()
    m.submodules.old = old
    m.submodules.new = ResetInserter(~heard)(new)
    delimiter = old.valid & ~old.broken & (old.data == DELIMITER)
    m.d.sync += heard.eq(heard | delimiter)
    since, later = Signal(), Signal()
    m.d.sync += [since.eq(heard), later.eq(since)]
    m.d.comb += [
        *(getattr(new, name).eq(getattr(old, name)) for name in ("valid", "data", "broken")),
        other_crc.match_detected.eq(crc.match_detected),
        new.o.ready.eq(1),
        # Room is another matter.
        Assume(~old.full), Assume(~new.full),
    ]
    with m.If(since):
        for name in ("place", "words", "wanted", "spoiled"):
            m.d.comb += Assert(getattr(old, name) == getattr(new, name))
        for name in ("left", "zero", "spoiled", "begun", "end", "o_valid"):
            m.d.comb += Assert(getattr(old.decoder, name) == getattr(new.decoder, name))
        m.d.comb += [
            Assert(~old.decoder.o_valid | (old.decoder.o_data == new.decoder.o_data)),
            # Bytes come in at the top of the newest word.
            *(Assert((old.words == 0) & (old.place < n) | (old.newest[-8 * n :] == (
                new.newest[-8 * n :]))) for n in (1, 2, 3)),
            Assert((old.words == 0) | (old.newest == new.newest)),
            Assert((old.words < 2) & ((old.words == 0) | (old.place == 0))
                   | (old.reading == new.reading)),
        ]
    with m.If(later):
        m.d.comb += Assert(old.good == new.good)
    garbage = Signal()
    m.d.sync += garbage.eq(garbage | (old.dropped & ~heard) | (old.valid & old.broken & ~heard))
    m.d.comb += Cover(later & garbage & old.good)
    return m, [*inputs(old), crc.match_detected]


def within_credit() -> tuple[Module, list[Signal]]:
    """A host that keeps within its credit: the buffer is never full when a word needs room."""
    m = Module()
    dut, crc = receiver()
    m.submodules.dut = dut
    pointers(m, dut)
    decoder = dut.decoder
    # The frame on the line: its words in the buffer, and its bytes so far. The host gives credit
    # back when a word has been read; a real one waits for the answer to the whole frame.
    size, begun, count = Signal(4), Signal(), Signal(8)
    closing, closing_size = Signal(), Signal(4)
    owed, popped = Signal(6), Signal()
    begins = Signal()
    m.d.comb += [
        popped.eq(dut.o.valid & dut.o.ready),
        begins.eq(decoder.o_valid & ~begun),
        Assume(~begins | (owed + size <= DEPTH)),
        # The line is intact: header, payload and CRC, and no more.
        Assume(~decoder.o_valid | (count < 4 * (size + 1))),
        Assume(size >= SHORTEST - 1), Assume(size <= DEPTH),
    ]
    held, was_begun = Signal(4), Signal()
    m.d.sync += [held.eq(size), was_begun.eq(begun | begins)]
    with m.If(begun):
        m.d.comb += Assume(size == held)
    m.d.sync += [
        begun.eq((begun | begins) & ~decoder.end),
        count.eq(Mux(decoder.end, 0, count + decoder.o_valid)),
        closing.eq(decoder.end & begun),
        closing_size.eq(size),
    ]
    committed = Signal.like(dut.head)
    m.d.comb += committed.eq(Mux(dut.good, dut.written + 1 - dut.head, 0))
    m.d.sync += owed.eq(owed + Mux(begins, size, 0) - popped
                        - Mux(closing, closing_size - committed, 0))
    # What the model and the design have in common.
    kept, partial = Signal.like(dut.head), Signal.like(dut.head)
    m.d.comb += [kept.eq(dut.head - dut.tail), partial.eq(dut.written - dut.head)]
    words = Signal(8)
    m.d.comb += words.eq((count + 3) >> 2)
    m.d.comb += [
        Assert(owed == kept + Mux(begun, size, 0) + Mux(closing, closing_size, 0)),
        Assert(owed <= DEPTH),
        Assert(closing | ~dut.good),
        Assert((dut.words >= 2) | (dut.wanted >= SHORTEST)),
        Assert(count == 4 * dut.words + dut.place),
        Assert(begun | (count == 0)),
        Assert(~begun | (count != 0)),
        Assert(begun | ~decoder.o_valid | begins),
        Assert((count != 0) | closing | (partial == 0)),
        Assert((count == 0) | (partial == Mux(words >= 2, words - 2, 0)) | closing),
        Assert(~closing | (count <= 1)),
        Assert(~closing | (partial + 1 <= closing_size)),
        Assert(~begun | (count <= 4 * (size + 1))),
        Assert(~(closing & begun) | (dut.words == 0)),
    ]
    # The claim.
    m.d.comb += [
        Assert(~(dut.full & (decoder.o_valid & (dut.place == 0) & (dut.words >= 2)))),
        Assert(~(dut.full & closing)),
        Assert(~dut.spoiled),
        Cover(dut.good & (owed == DEPTH)),
    ]
    return m, [*inputs(dut), crc.match_detected, size]


def test_no_frame_comes_from_a_bad_crc(tmp_path: Path) -> None:
    prove(*only_good_frames(), depth=8, mode="prove", folder=tmp_path)
    prove(*only_good_frames(), depth=28, mode="cover", folder=tmp_path)


def test_the_frame_behind_a_delimiter_is_received(tmp_path: Path) -> None:
    prove(*resynchronised(), depth=6, mode="prove", folder=tmp_path)
    prove(*resynchronised(), depth=28, mode="cover", folder=tmp_path)


def test_a_host_within_its_credit_never_overruns(tmp_path: Path) -> None:
    prove(*within_credit(), depth=6, mode="prove", folder=tmp_path)
    prove(*within_credit(), depth=32, mode="cover", folder=tmp_path)

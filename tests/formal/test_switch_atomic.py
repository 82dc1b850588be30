"""Proof: the table switch is atomic: what becomes active is exactly what was checked."""

from pathlib import Path
from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.image import Image
from pbitstream_gateware.ports import WINDOW_LATENCY
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.switch import TableSwitch
from pbitstream_gateware.windows import in_windows, window_ranges
from proofs import inputs, prove

#: For the covers, which need a whole walk.
SMALLEST = Image(lanes=2, max_units=4, max_rank_words=2, max_modules=2, max_instructions=2,
                 max_gains=2)


class AnyCrc(wiring.Component):
    """The ports of a CRC processor with any result at any time: what it computes is not claimed."""

    start: In(1)
    valid: In(1)
    data: In(32)
    crc: Out(32)

    def elaborate(self, platform: Any) -> Module:
        return Module()


def switch(image: Image) -> tuple[Module, list[Signal]]:
    m = Module()
    crc = AnyCrc()
    m.submodules.dut = dut = TableSwitch(image, crc)
    host, port = dut.host, dut.memories
    windows = window_ranges(image, "shadow")
    total = sum(len(words) for words in windows)

    # A relaxation begins with `go` and ends at any time.
    relaxing, over = Signal(), Signal()
    m.d.comb += dut.idle.eq(~relaxing)
    m.d.sync += relaxing.eq(dut.go | (relaxing & ~over))

    # The host's bus: one request at a time, and an answer takes a cycle.
    requests = Cat(dut.commit.strobe, dut.control, host.write)
    requested = Signal()
    m.d.sync += requested.eq(requests.any())
    m.d.comb += [
        Assume(((requests & (requests - 1)) == 0) & ~(requested & requests.any())),
        Assume(dut.control | ~(dut.start | dut.forget)),
    ]

    # The walk as it should be: word `index` of the tables in each cycle that the host leaves free.
    index, expected, spoiled = Signal(range(total + 1)), Signal(32), Signal()
    reads = dut.walking & ~host.write & (index != total)
    address = Signal.like(port.address)
    first = total
    for words in reversed(windows):
        first -= len(words)
        with m.If((index >= first) & (index < first + len(words))):
            m.d.comb += address.eq(index - first + words.start)
    shadow = in_windows(host.address, image, "shadow")
    with m.If(dut.commit.strobe):
        m.d.sync += expected.eq(dut.commit.data)
    m.d.sync += [
        index.eq(Mux(dut.walking, index + reads, 0)),
        spoiled.eq(dut.walking & (spoiled | (host.write & shadow))),
    ]

    # What it is fed: each of these words once, in their order, and what came back.
    asked, fed, answer = Signal(WINDOW_LATENCY + 1), Signal.like(index), Signal(32)
    m.d.sync += [asked.eq(Mux(dut.walking, Cat(reads, asked), 0)), answer.eq(port.read)]
    m.d.sync += fed.eq(Mux(dut.walking, fed + crc.valid, 0))
    # A walk stands after a walk, or after a start of the CRC.
    begun = Signal()
    m.d.sync += begun.eq(crc.start | dut.walking)
    with m.If(reads):
        m.d.comb += Assert(port.address == address)
    with m.If(crc.valid):
        m.d.comb += Assert(crc.data == answer)
    with m.If(dut.walking):
        m.d.comb += [Assert(dut.spoiled == spoiled), Assert(index == fed + sum(asked))]
    m.d.comb += [
        Assert(crc.valid == (asked[-1] & dut.walking)),
        Assert(dut.expected == expected),
        Assert(begun | ~dut.walking),
        Assert(~(crc.start & (dut.walking | crc.valid))),
        Assert(~(dut.walking & port.write & in_windows(port.address, image, "shadow"))),
        Assert(~(dut.walking & relaxing)),
        Assert(~(dut.go & dut.pending)),
        Assert(dut.pending | ~dut.walking),
    ]

    # The cycle before: every word had been checked, and the CRC was the one asked for.
    page, whole = Signal(), Signal()
    m.d.sync += [
        page.eq(dut.page),
        whole.eq(dut.walking & (fed == total) & (crc.crc == expected)
                 & ~spoiled & ~(host.write & shadow)),
    ]
    flipped = dut.page != page
    with m.If(flipped):
        m.d.comb += [Assert(whole), Assert(~relaxing), Assert(~dut.pending), Assert(~dut.walking)]
    m.d.comb += [
        Cover(flipped & dut.page),
        Cover(dut.walking & spoiled & (fed == total)),
        Cover(dut.walking & port.write),
    ]
    return m, [*inputs(dut), crc.crc, over]


def test_only_a_checked_page_becomes_active(tmp_path: Path) -> None:
    prove(*switch(PRESETS["tiny"]), depth=WINDOW_LATENCY + 7, mode="prove", folder=tmp_path)


def test_a_whole_walk_can_flip_the_page(tmp_path: Path) -> None:
    words = sum(len(words) for words in window_ranges(SMALLEST, "shadow"))
    prove(*switch(SMALLEST), depth=words + WINDOW_LATENCY + 8, mode="cover", folder=tmp_path)

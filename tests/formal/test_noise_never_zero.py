"""Proof: the state of a stream that was given another word than 0 never becomes 0."""

from pathlib import Path

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, Signal

from pbitstream.spec.noise import STREAMS
from pbitstream_gateware.noise import NoiseStreams
from proofs import hold, inputs, prove


def streams() -> tuple[Module, list[Signal]]:
    m = Module()
    m.submodules.dut = dut = NoiseStreams(STREAMS)
    # Any one stream of either page; ports of our own see its state at all times.
    tracked, page = Signal.like(dut.stream), Signal()
    ports = [memory.read_port(domain="comb") for memory in dut.pages]
    m.d.comb += [port.addr.eq(tracked) for port in ports]
    state = Mux(page, ports[1].data, ports[0].data)
    hold(m, tracked)
    hold(m, page)

    works = dut.page == page
    seeded, draws, storing = Signal(), Signal(2), Signal()
    m.d.sync += storing.eq(dut.draw & dut.advance)
    seeding = works & dut.seed_write & (dut.seed_stream == tracked)
    poking = dut.poke & (dut.peek_page == page) & (dut.peek_stream == tracked)
    drawn = seeded & works & dut.draw & (dut.stream == tracked)
    known, advanced = Signal(), Signal()
    m.d.sync += [known.eq(drawn), advanced.eq(drawn & dut.advance)]
    # The caller keeps seeds away from draws, and both from pokes of their page, and turns pages
    # while nothing is under way.
    at_work = storing | dut.draw
    before = Signal()
    m.d.sync += before.eq(dut.page)
    m.d.comb += [
        Assume(~dut.seed_write | ~at_work),
        Assume(~dut.poke | (dut.peek_page != dut.page) | ~at_work & ~dut.seed_write),
        Assume((dut.page == before) | ~storing),
    ]
    with m.If(seeding):
        m.d.comb += Assume(dut.seed_word != 0)
        m.d.sync += seeded.eq(1)
    with m.If(poking):
        m.d.comb += Assume(dut.poke_word != 0)
        m.d.sync += seeded.eq(1)
    with m.If(advanced):
        m.d.sync += draws.eq(draws + 1)
    with m.If(seeded):
        m.d.comb += Assert(state != 0)
    with m.If(known):
        m.d.comb += Assert(dut.word != 0)
    m.d.comb += [
        Cover((draws == 2) & known & ~advanced & (dut.word[0] == 0)),
        Cover(seeded & poking & at_work),
    ]
    return m, [*inputs(dut), tracked, page]


def test_a_seeded_stream_is_never_zero(tmp_path: Path) -> None:
    prove(*streams(), depth=3, mode="prove", folder=tmp_path)
    prove(*streams(), depth=8, mode="cover", folder=tmp_path)

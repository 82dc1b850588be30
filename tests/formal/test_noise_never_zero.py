"""Proof: the state of a stream that was seeded with another word than 0 never becomes 0."""

from pathlib import Path

from amaranth.hdl import Assert, Assume, Cover, Module, Signal

from pbitstream.spec.noise import STREAMS
from pbitstream_gateware.noise import NoiseStreams
from proofs import hold, inputs, prove


def streams() -> tuple[Module, list[Signal]]:
    m = Module()
    m.submodules.dut = dut = NoiseStreams(STREAMS)
    # Any one stream; a port of our own sees its state at all times.
    tracked = Signal.like(dut.stream)
    state = dut.states.read_port(domain="comb")
    m.d.comb += state.addr.eq(tracked)
    hold(m, tracked)

    seeded, draws, storing = Signal(), Signal(2), Signal()
    m.d.sync += storing.eq(dut.draw & dut.advance)
    seeding = dut.seed_write & (dut.seed_stream == tracked)
    drawn = seeded & dut.draw & (dut.stream == tracked)
    known, advanced = Signal(), Signal()
    m.d.sync += [known.eq(drawn), advanced.eq(drawn & dut.advance)]
    # The caller keeps seeds away from draws.
    m.d.comb += Assume(~dut.seed_write | ~storing & ~dut.draw)
    with m.If(seeding):
        m.d.comb += Assume(dut.seed_word != 0)
        m.d.sync += seeded.eq(1)
    with m.If(advanced):
        m.d.sync += draws.eq(draws + 1)
    with m.If(seeded):
        m.d.comb += Assert(state.data != 0)
    with m.If(known):
        m.d.comb += Assert(dut.word != 0)
    m.d.comb += Cover((draws == 2) & known & ~advanced & (dut.word[0] == 0))
    return m, [*inputs(dut), tracked]


def test_a_seeded_stream_is_never_zero(tmp_path: Path) -> None:
    prove(*streams(), depth=3, mode="prove", folder=tmp_path)
    prove(*streams(), depth=8, mode="cover", folder=tmp_path)

"""Proof: every AXI burst is answered, beat by beat and in time, and nothing else is written."""

from pathlib import Path

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, Signal

from pbitstream.spec.registers import RESPONSE_CYCLES
from pbitstream_gateware.axi import FULL, INCR, OKAY, SLVERR, WORD_SIZE, AxiSlave
from proofs import inputs, prove


def slave() -> tuple[Module, list[Signal]]:
    m = Module()
    m.submodules.dut = dut = AxiSlave()
    bus = dut.bus
    channels = {name: getattr(dut.axi, name) for name in ("aw", "w", "b", "ar", "r")}
    aw, w, b, ar, r = channels.values()
    moves = {name: Signal(name=f"{name}_moves") for name in channels}
    m.d.comb += [moves[name].eq(channel.valid & channel.ready)
                 for name, channel in channels.items()]

    # Both sides hold what they offer until it is taken: assumed of the master, claimed of ours.
    for name, channel in channels.items():
        fields = [getattr(channel, field) for field in channel.signature.members
                  if field not in ("valid", "ready")]
        offered, before = Signal(name=f"{name}_offered"), [Signal.like(f) for f in fields]
        m.d.sync += [offered.eq(channel.valid & ~channel.ready),
                     *(old.eq(new) for old, new in zip(before, fields))]
        rule = Assert if name in ("b", "r") else Assume
        with m.If(offered):
            m.d.comb += [rule(channel.valid), *(rule(f == old) for f, old in zip(fields, before))]

    # The bus answers what is asked, within its time, as `test_registers_answer` proves of it.
    waited = Signal(range(RESPONSE_CYCLES + 1))
    m.d.sync += waited.eq(Mux(bus.valid & ~bus.ack, waited + 1, 0))
    m.d.comb += [Assume(bus.valid | ~bus.ack), Assume(waited < RESPONSE_CYCLES)]

    # The burst under way, as its address said, and the beats that have moved.
    writing, reading = Signal(), Signal()
    address, refused = Signal.like(bus.address), Signal()
    identity, length, beats = Signal.like(aw.id), Signal.like(aw.len), Signal(len(aw.len) + 1)
    for burst, under_way in ((aw, writing), (ar, reading)):
        with m.If(burst.valid & burst.ready):
            m.d.comb += Assert(~writing & ~reading)
            m.d.sync += [
                under_way.eq(1), address.eq(burst.addr[WORD_SIZE:]), identity.eq(burst.id),
                length.eq(burst.len), beats.eq(0),
                refused.eq((burst.burst != INCR) | (burst.size != WORD_SIZE)),
            ]

    # Writes: a beat with all its bytes is written once, where and as it was sent; the answer comes
    # when all beats have, with the burst's identity.
    fresh, data, partial = Signal(), Signal(32), Signal()
    with m.If(moves["aw"]):
        m.d.sync += partial.eq(0)
    with m.If(moves["w"]):
        m.d.comb += Assert(writing & (beats <= length) & ~fresh)
        m.d.sync += [beats.eq(beats + 1), fresh.eq((w.strb == FULL) & ~refused), data.eq(w.data),
                     partial.eq(partial | ((w.strb != FULL) & (w.strb != 0)))]
    with m.If(bus.valid & bus.write):
        m.d.comb += [Assert(fresh), Assert(bus.data == data),
                     Assert(bus.address == (address + beats - 1)[: len(address)])]
    with m.If(bus.ack & bus.write):
        m.d.sync += fresh.eq(0)
    with m.If(b.valid):
        m.d.comb += [Assert(writing & (beats == length + 1) & ~fresh), Assert(b.id == identity),
                     Assert(b.resp == Mux(refused | partial, SLVERR, OKAY))]
    with m.If(moves["b"]):
        m.d.sync += writing.eq(0)

    # Reads: as many beats as were asked for, each with the word of its address.
    word = Signal(32)
    with m.If(bus.valid & ~bus.write):
        m.d.comb += [Assert(reading & ~refused & (beats <= length)),
                     Assert(bus.address == (address + beats)[: len(address)])]
    with m.If(bus.ack & ~bus.write):
        m.d.sync += word.eq(bus.read)
    with m.If(r.valid):
        m.d.comb += [Assert(reading & (beats <= length)), Assert(r.id == identity),
                     Assert(r.last == (beats == length)),
                     Assert(r.resp == Mux(refused, SLVERR, OKAY)),
                     Assert(r.data == Mux(refused, 0, word))]
    with m.If(moves["r"]):
        m.d.sync += beats.eq(beats + 1)
        with m.If(r.last):
            m.d.sync += reading.eq(0)

    # In time: while it is not the master that is waited for, something moves.
    owed = writing | reading | aw.valid | ar.valid
    master = (b.valid & ~b.ready) | (r.valid & ~r.ready) | (w.ready & ~w.valid)
    moved = Signal()
    m.d.comb += moved.eq(moves["aw"] | moves["w"] | moves["b"] | moves["ar"] | moves["r"])
    still = Signal(range(2 * RESPONSE_CYCLES))
    m.d.sync += still.eq(Mux(owed & ~master & ~moved, still + 1, 0))
    m.d.comb += Assert(still <= RESPONSE_CYCLES)
    # And in turn: a burst that waits sees at most one of the other kind begin.
    for mine, other, turn in (("aw", "ar", ~dut.reads_turn), ("ar", "aw", dut.reads_turn)):
        overtaken = Signal(2, name=f"{mine}_overtaken")
        m.d.sync += overtaken.eq(Mux(channels[mine].valid & ~channels[mine].ready,
                                     overtaken + moves[other], 0))
        m.d.comb += Assert(overtaken <= 1)
        with m.If(overtaken == 1):
            m.d.comb += [Assert(turn), Assert(~channels[other].ready)]

    # What holds in between, without which induction finds no hold.
    resting = dut.choosing | aw.ready | ar.ready
    m.d.comb += [
        Assert(writing == (w.ready | b.valid | dut.storing)),
        Assert(reading == (r.valid | dut.loading)),
        Assert((writing | reading) == ~resting),
        Assert(aw.valid | ~aw.ready), Assert(ar.valid | ~ar.ready),
        Assert(~bus.valid | dut.storing | dut.loading),
        Assert(~fresh | dut.storing),
        Assert((still == 0) | ~dut.choosing),
    ]
    with m.If(writing):
        m.d.comb += [Assert(bus.write), Assert(b.id == identity),
                     Assert(b.resp == Mux(refused | partial, SLVERR, OKAY))]
    with m.If(reading):
        m.d.comb += [Assert(~bus.write), Assert(r.id == identity),
                     Assert(r.resp == Mux(refused, SLVERR, OKAY))]
    with m.If(writing | reading):
        m.d.comb += Assert(dut.refused == refused)
    # Beats done, or begun as well, behind which the address stands.
    begun = beats + r.valid
    with m.If(dut.storing):
        m.d.comb += [Assert(bus.valid == fresh), Assert(beats != 0), Assert(beats <= length + 1),
                     Assert(dut.left == (length + 1 - beats)[: len(length)]),
                     Assert(bus.address == (address + beats - 1)[: len(address)])]
    with m.Elif(~resting & ~b.valid):
        m.d.comb += [Assert(beats <= length),
                     Assert(dut.left == (length - begun)[: len(length)]),
                     Assert(bus.address == (address + begun)[: len(address)])]
    with m.If(dut.loading):
        m.d.comb += Assert(bus.valid == ~refused)
    with m.If(dut.storing | dut.loading):
        m.d.comb += Assert(still == waited)

    m.d.comb += [
        Cover(moves["b"] & (b.resp == OKAY) & (length == 1) & (identity == 0xA5A)),
        Cover(moves["b"] & partial & ~refused & (length == 1)),
        Cover(moves["b"] & refused),
        Cover(moves["r"] & r.last & (r.resp == OKAY) & (length == 1) & (r.data == FULL)),
        Cover(moves["r"] & refused & (length == 1)),
        Cover(moves["ar"] & aw.valid),
        Cover(moves["aw"] & ar.valid),
    ]
    return m, inputs(dut)


def test_every_burst_is_answered_in_time(tmp_path: Path) -> None:
    prove(*slave(), depth=2, mode="prove", folder=tmp_path)
    prove(*slave(), depth=16, mode="cover", folder=tmp_path)

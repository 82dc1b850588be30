"""Proof: the register bank answers every request in time, and nothing that was not asked."""

from pathlib import Path

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, Signal

from pbitstream.spec.registers import RESPONSE_CYCLES, UNMAPPED
from pbitstream_gateware.ports import WINDOW_LATENCY
from pbitstream_gateware.presets import PRESETS
from pbitstream_gateware.registers import RegisterBank
from pbitstream_gateware.windows import in_other_page, in_windows
from proofs import inputs, prove


def bank() -> tuple[Module, list[Signal]]:
    m = Module()
    image = PRESETS["tiny"]
    m.submodules.dut = dut = RegisterBank(image, digest=1)
    bus = dut.bus

    # The host holds its request until the answer; `busy` and `checking` may change at any time.
    open_before = Signal()
    before = [Signal.like(field) for field in (bus.write, bus.address, bus.data)]
    m.d.sync += open_before.eq(bus.valid & ~bus.ack)
    m.d.sync += [old.eq(new) for old, new in zip(before, (bus.write, bus.address, bus.data))]
    with m.If(open_before):
        m.d.comb += [Assume(bus.valid), Assume(bus.write == before[0]),
                     Assume(bus.address == before[1]), Assume(bus.data == before[2])]

    # Cycles for which a request has waited, and what the bank was doing when it was decoded.
    waited, busy_then, checking_then = Signal(range(2 * RESPONSE_CYCLES)), Signal(), Signal()
    m.d.sync += waited.eq(Mux(bus.valid & ~bus.ack, waited + 1, 0))
    with m.If(waited == 1):
        m.d.sync += [busy_then.eq(dut.busy), checking_then.eq(dut.checking)]

    window = in_windows(bus.address, image, "shadow", "page", "readout")
    readout = in_windows(bus.address, image, "readout")
    other = in_other_page(bus.address, image)
    window_read = bus.ack & ~bus.write & window
    other_read = bus.ack & ~bus.write & other
    m.d.comb += [Assert(waited < RESPONSE_CYCLES), Assert(bus.valid | ~bus.ack)]
    with m.If(window_read & busy_then):
        m.d.comb += Assert(bus.read == UNMAPPED)
    with m.If(other_read & checking_then):
        m.d.comb += Assert(bus.read == UNMAPPED)
    with m.If(dut.window.write):
        m.d.comb += [
            Assert(bus.ack & bus.write & (window | other)),
            Assert(~(readout & dut.busy)),
            Assert(dut.window.address == bus.address),
            Assert(dut.window.data == bus.data),
        ]
    m.d.comb += [
        Cover(bus.ack & bus.write & dut.control.strobe),
        Cover(window_read & busy_then),
        Cover(window_read & ~busy_then & dut.busy & (waited == WINDOW_LATENCY + 1)),
        Cover(dut.window.write & dut.busy),
        Cover(other_read & busy_then & ~checking_then & (waited == WINDOW_LATENCY + 1)),
        Cover(dut.window.write & other & dut.checking),
    ]
    return m, inputs(dut)


def test_every_request_is_answered_in_time(tmp_path: Path) -> None:
    prove(*bank(), depth=RESPONSE_CYCLES + 2, mode="prove", folder=tmp_path)
    prove(*bank(), depth=WINDOW_LATENCY + 5, mode="cover", folder=tmp_path)

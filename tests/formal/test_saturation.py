"""Proof: a saturated sum is the sum, clipped."""

from pathlib import Path

from amaranth.hdl import Assert, Cover, Module, Mux, Signal, signed

from pbitstream.spec.words import STATE
from pbitstream_gateware.fixed import sat
from proofs import prove


def adder() -> tuple[Module, list[Signal]]:
    m = Module()
    a, b = Signal(signed(STATE.bits)), Signal(signed(STATE.bits))
    total = a + b
    result, clipped = sat(total, STATE.bits)
    low, high = STATE.lowest, STATE.highest
    clamp = Mux(total < low, low, Mux(total > high, high, total))
    m.d.comb += [
        Assert(result == clamp),
        Assert(clipped == (result != total)),
        Cover(clipped & (result < 0)),
        Cover(clipped & (result > 0)),
        Cover(~clipped & (result == high)),
        Cover(~clipped & (result == low)),
    ]
    return m, [a, b]


def test_a_saturated_sum_is_clamped(tmp_path: Path) -> None:
    for mode in ("prove", "cover"):
        prove(*adder(), depth=2, mode=mode, folder=tmp_path)

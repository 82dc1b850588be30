"""The harness itself: what is false is not proved, and what cannot be reached is not covered."""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cover, Module, Signal

from proofs import hold, prove


def counter(top: int, *, claim: int, reach: int) -> tuple[Module, list[Signal]]:
    """A counter that stops at `top`, claimed never to pass `claim`, meant to reach `reach`."""
    m = Module()
    count, pause = Signal(8), Signal()
    with m.If((count < top) & ~pause):
        m.d.sync += count.eq(count + 1)
    m.d.comb += [Assert(count <= claim), Cover(count == reach)]
    return m, [pause]


def test_a_true_claim(tmp_path: Path) -> None:
    prove(*counter(9, claim=9, reach=9), depth=3, mode="prove", folder=tmp_path)
    prove(*counter(9, claim=9, reach=9), depth=3, mode="bmc", folder=tmp_path)
    prove(*counter(9, claim=9, reach=9), depth=10, mode="cover", folder=tmp_path)


def test_a_false_claim_and_a_cover_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"trace\.vcd[\s\S]*failed assertion"):
        prove(*counter(9, claim=8, reach=9), depth=12, mode="bmc", folder=tmp_path)
    with pytest.raises(AssertionError, match=r"DONE .(UNKNOWN|FAIL)"):
        prove(*counter(9, claim=8, reach=9), depth=3, mode="prove", folder=tmp_path)
    with pytest.raises(AssertionError, match="unreached cover statements"):
        prove(*counter(9, claim=9, reach=10), depth=12, mode="cover", folder=tmp_path)


def test_a_held_port_keeps_its_value(tmp_path: Path) -> None:
    m = Module()
    port, first, later = Signal(4), Signal(4, reset_less=True), Signal(reset_less=True)
    m.d.sync += later.eq(1)
    with m.If(~later):
        m.d.sync += first.eq(port)
    with m.Else():
        m.d.comb += Assert(port == first)
    hold(m, port)
    m.d.comb += [Assume(port != 3), Cover(later & (port == 5))]
    prove(m, [port], depth=5, mode="bmc", folder=tmp_path)

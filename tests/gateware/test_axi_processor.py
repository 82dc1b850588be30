"""The processing system's port: every wire of its primitive is the one that its name says."""

import random
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module, Signal, Value

from pbitstream_gateware.boards import zynq
from simulation import simulate

#: What the primitive has of the fields that are wider or narrower than ours.
WIDTHS = {"addr": 32, "len": 4, "size": 2}


class Primitive(Elaboratable):
    """Stands in for the instance, and keeps what it is wired to."""

    def __init__(self, name: str, **ports: Any) -> None:
        assert name == "PS7"
        self.ports = {port: Value.cast(wire) for port, wire in ports.items()}

    def elaborate(self, platform: Any) -> Module:
        return Module()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Primitive]:
    found: list[Primitive] = []

    def instance(name: str, **ports: Any) -> Primitive:
        found.append(Primitive(name, **ports))
        return found[-1]

    monkeypatch.setattr(zynq, "Instance", instance)
    return found


def test_wires_of_the_port(made: list[Primitive]) -> None:
    draw = random.Random(1)
    dut = zynq.Processor()

    async def bench(ctx: Any) -> None:
        ports = dict(made[0].ports)
        for channel in ("aw", "w", "b", "ar", "r"):
            ours = getattr(dut.axi, channel)
            for field in ours.signature.members:
                # The processor is the master: it sends on three channels, and takes on two.
                sends = (channel in ("aw", "w", "ar")) == (field != "ready")
                wire = ports.pop(f"{'o' if sends else 'i'}_MAXIGP0{channel}{field}".replace(
                    f"{channel}{field}", f"{channel}{field}".upper()))
                member: Signal = getattr(ours, field)
                assert len(wire) == WIDTHS.get(field, len(member))
                source, sink = (wire, member) if sends else (member, wire)
                for _ in range(4):
                    value = draw.getrandbits(len(source))
                    ctx.set(source, value)
                    assert ctx.get(sink) == value & (1 << len(sink)) - 1, f"{channel}.{field}"
        assert sorted(ports) == ["i_MAXIGP0ACLK", "o_FCLKCLK", "o_FCLKRESETN"]
        for value in range(16):
            ctx.set(ports["o_FCLKCLK"], value)
            ctx.set(ports["o_FCLKRESETN"], value)
            assert (ctx.get(dut.clock), ctx.get(dut.reset)) == (value & 1, ~value & 1)

    simulate(wrapped(dut), bench)


def wrapped(dut: zynq.Processor) -> Module:
    """Return a module with a clock of its own, which the port runs on."""
    m = Module()
    m.submodules.dut = dut
    tick = Signal()
    m.d.sync += tick.eq(~tick)
    return m

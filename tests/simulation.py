"""Amaranth's simulator as the tests of gateware use it."""

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.sim import Simulator

Bench = Callable[[Any], Awaitable[None]]


def simulate(dut: Any, *benches: Bench, background: tuple[Bench, ...] = ()) -> None:
    """Run testbenches on a design with one clock until all but the background ones are done.

    After each clock edge the background ones go first: the others see what they have noted.
    """
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


def evaluate(dut: Any, bench: Bench) -> None:
    """Run a testbench on a design without a clock."""
    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()

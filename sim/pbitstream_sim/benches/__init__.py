"""Benches of the gateware under cocotb; each is an entry point in ``pbitstream.benches``."""

from pbitstream_sim.benches.runner import Bench

__all__ = ["REGISTERS", "RELAX", "Bench"]

REGISTERS = Bench("registers", "pbitstream_sim.benches.registers",
                  "the register bank answers everywhere, in time, and tells its image")
RELAX = Bench("relax", "pbitstream_sim.benches.relax",
              "random programs through the board's driver, every bit as the emulator's")

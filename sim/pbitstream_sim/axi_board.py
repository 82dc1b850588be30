"""A simulated board with an AXI port: the RTL, and the processor that drives the port."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import DeviceError, SpecError
from pbitstream.spec.image import Image
from pbitstream.spec.registers import BOARD_BYTES
from pbitstream_sim.device import POLL_CYCLES
from pbitstream_sim.simulation import FLAG, LONG, SIM, WORD, WORDS, Simulation
from pbitstream_sim.verilated import SLICE_WORDS, library, to_verilog

__all__ = ["AxiBoard", "axi_verilog"]

SHIM = Path(__file__).with_name("axi_shim.cpp")
SHIM_FUNCTIONS = {
    "create": (SIM, LONG, WORD),
    "transfer": (WORD, SIM, FLAG, WORD, WORD, WORDS, WORD),
    "fault": (WORD, SIM),
    "run": (LONG, SIM, LONG),
}
#: Cycles in which nothing moves on any channel, after which nothing will.
SILENT_CYCLES = 1 << 10
#: What the shim calls faults.
FAULTS = ("", "no answer came", "the answer is SLVERR", "the answer has another ID",
          "the answer has too many beats, or too few")


def axi_verilog(image: Image) -> str:
    """Return the Verilog of a board with an AXI port."""
    from pbitstream_gateware.axi_top import AxiTop

    return to_verilog(AxiTop(image))


class AxiBoard(Simulation):
    """A running simulation of a board behind an AXI3 port, as a `Transport`.

    A read or write becomes bursts of up to 16 beats that stay within 4 KiB, as a processor makes
    them of a copy of words. The clock stands still between requests; a read while the design is
    busy lets up to `POLL_CYCLES` cycles pass first, so a driver that polls the status sees it
    become idle.

    Parameters
    ----------
    verilog
        Of `pbitstream_gateware.axi_top.AxiTop`, or of any top with ``clk``, ``rst``, ``axi`` and
        ``busy``.
    pauses
        Share of cycles, 0 to below 1, in which a side of the processor's is not ready, drawn for
        each of the five channels; with any, the lengths of bursts and the order in which addresses
        and data come are drawn as well.
    seed
        Of what is drawn, 0 to 2^63 - 1.
    """

    def __init__(self, verilog: str, *, pauses: float = 0.0, seed: int = 0) -> None:
        if not 0 <= pauses < 1:
            raise SpecError(f"pauses must be a share from 0 to below 1, not {pauses}")
        if not 0 <= seed < 1 << 63:
            raise SpecError(f"seed must be between 0 and 2**63 - 1, not {seed}")
        super().__init__(library(verilog, shim=SHIM), SHIM_FUNCTIONS,
                         2 * seed + 1, int(256 * pauses))
        self.reset()

    def read(self, address: int, count: int) -> bytes:
        """Return bytes; address and count are multiples of 4."""
        if self.busy:
            self._library.sim_run(self._open, POLL_CYCLES)
        words = np.zeros(count // 4, "<u4")
        self._transfer("read", address, words)
        return words.tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Store bytes; address and length are multiples of 4."""
        self._transfer("write", address, np.frombuffer(data, "<u4").copy())

    def _transfer(self, what: str, address: int, words: NDArray[np.uint32]) -> None:
        end = address + 4 * len(words)
        if address % 4 or not 0 <= address <= end <= BOARD_BYTES:
            raise SpecError(f"a {what} must be of whole words below {BOARD_BYTES:#x}, not from "
                            f"{address:#x} to {end:#x}")
        for start in range(0, len(words), SLICE_WORDS):
            part = words[start : start + SLICE_WORDS]
            place = address + 4 * start
            done = self._library.sim_transfer(
                self._open, what == "write", place, len(part),
                part.ctypes.data_as(WORDS), SILENT_CYCLES)
            if fault := self._library.sim_fault(self._open):
                raise DeviceError(f"sent a {what} of byte address {place + 4 * done:#x}; "
                                  f"{FAULTS[fault]}")

"""The whole way that a PYNQ user goes, with the pynq package itself, where that is installed.

Overlay, driver and MMIO are pynq's, the chip is the RTL behind its AXI port. The package runs on
any computer, in an environment of its own since it wants NumPy 1: ``pip install pynq==4.0.0``.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbitstream.devices.conformance import Sizes, check_device
from pbitstream.devices.random_programs import random_program
from pbitstream.devices.zynq.slcr import SLCR_BASE
from pbitstream.spec.handoff import BASE
from pbitstream_gateware.presets import PRESETS
from zynq_stand_in import make_image

with warnings.catch_warnings():
    # pynq 4.0 uses what setuptools will drop.
    warnings.simplefilter("ignore")
    pynq = pytest.importorskip("pynq")

pytestmark = pytest.mark.filterwarnings("ignore")


def simulated(board: Any) -> Any:
    """Return a pynq device without memory, whose registers are those of a board."""
    from pynq.pl_server.device import Device
    from pynqmetadata.frontends import Metadata
    from pynqmetadata.views.runtime import RuntimeMetadataParser

    class Simulated(Device):  # type: ignore[misc]
        name, arch, timestamp = "simulated", "armv7l", None

        def __init__(self) -> None:
            super().__init__(self.name)
            # PLLs of 1,600, 1,050 and 1,000 MHz, and clocks of 100 MHz.
            self.slcr = {0x100: 32 << 12, 0x104: 21 << 12, 0x108: 20 << 12,
                         **{0x170 + 16 * n: 2 << 20 | 5 << 8 for n in range(4)}}

        def has_capability(self, name: str) -> bool:
            return name == "REGISTER_RW"

        def get_bitfile_metadata(self, name: str, partial: bool = False) -> Any:
            return RuntimeMetadataParser(Metadata(input=Path(name).with_suffix(".hwh")))

        def read_registers(self, address: int, length: int) -> bytes:
            if address >= SLCR_BASE:
                return self.slcr.get(address - SLCR_BASE, 0).to_bytes(4, "little")
            return bytes(board.read(address - BASE, length))

        def write_registers(self, address: int, data: bytes) -> None:
            if address >= SLCR_BASE:
                self.slcr[address - SLCR_BASE] = int.from_bytes(data, "little")
            else:
                board.write(address - BASE, bytes(data))

        def download(self, bitstream: Any, parser: Any = None) -> None:
            self.timestamp = bitstream.timestamp = "now"

    return Simulated()


def test_conformance_through_overlay_driver_and_mmio(tmp_path: Path) -> None:
    from pbitstream_sim.axi_board import AxiBoard, axi_verilog

    image, seed = PRESETS["tiny"], 0
    path = make_image(tmp_path / "made", image=image, clock=125_000_000)
    overlay = pynq.Overlay(str(path), device=simulated(AxiBoard(axi_verilog(image))))
    # Nobody has imported the driver: pynq has found it.
    assert int(overlay.substrate.register_map.lanes) == image.lanes
    with overlay.substrate.open() as device:
        info = device.info()
    assert (info["access"], info["clock_mhz"]) == ("pynq overlay", 125.0)
    program = random_program(np.random.default_rng([43, seed]), board=True, alive=True, max_dim=24)
    passed = check_device(overlay.substrate.open, [program],
                          sizes=Sizes(steps=3, chains=2, seed=seed))
    assert len(passed) > 5

"""PYNQ-Z2 with an xc7z020: https://www.tulembedded.com/FPGA/ProductsPYNQ-Z2.html."""

from pbitstream_gateware.boards.board import Part, Pin
from pbitstream_gateware.boards.zynq import ZynqBoard
from pbitstream_gateware.synthesis import CHIPS

__all__ = ["PYNQ_Z2"]

PYNQ_Z2 = ZynqBoard(
    name="pynq-z2",
    text="PYNQ-Z2 with an xc7z020",
    part=Part("xc7z020clg400-1", 0x03727093, CHIPS["xc7z020"], ()),
    preset="pynq_z2",
    clock=100_000_000,
    # LD0 and LD1.
    pins={"ready": Pin("R14", "LVCMOS33"), "busy": Pin("P14", "LVCMOS33")},
    programmer="pynq_z2",
)

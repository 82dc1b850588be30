"""ULX3S with an LFE5U-85F: https://radiona.org/ulx3s, pins of versions 2 and 3."""

from pbitstream_gateware.boards.board import Board, Part, Pin
from pbitstream_gateware.synthesis import CHIPS

__all__ = ["ULX3S"]

LED = "IO_TYPE=LVCMOS33 PULLMODE=NONE DRIVE=4"

ULX3S = Board(
    name="ulx3s",
    text="ULX3S with an ECP5-85F",
    part=Part("LFE5U-85F-6BG381C", 0x41113043, CHIPS["ecp5-85f"],
              ("--85k", "--package", "CABGA381", "--speed", "6")),
    preset="ulx3s",
    crystal=25_000_000,
    clock=80_000_000,
    pins={
        "clk": Pin("G2", "IO_TYPE=LVCMOS33 PULLMODE=NONE"),
        # Named from the chip's side: to the FT231X's RXD, and from its TXD.
        "tx": Pin("L4", "IO_TYPE=LVCMOS33 PULLMODE=UP DRIVE=4"),
        "rx": Pin("M1", "IO_TYPE=LVCMOS33 PULLMODE=UP"),
        "ready": Pin("B2", LED),
        "busy": Pin("C2", LED),
        # Low would hold the ESP32 in its boot loader, which can reload the FPGA.
        "wifi_gpio0": Pin("L2", "IO_TYPE=LVCMOS33 PULLMODE=UP DRIVE=4"),
    },
    high=("wifi_gpio0",),
    system="CONFIG_IOVOLTAGE=3.3 COMPRESS_CONFIG=ON MCCLK_FREQ=62 SLAVE_SPI_PORT=DISABLE "
           "MASTER_SPI_PORT=ENABLE SLAVE_PARALLEL_PORT=DISABLE",
    programmer="ulx3s",
    line="*ULX3S*",
)

"""What a board is to a build: a chip, pins, a crystal, a serial line, a way to load it."""

from dataclasses import dataclass, field

from pbitstream.errors import SpecError
from pbitstream_gateware.synthesis import Chip

__all__ = ["CLOCK", "PORTS", "Board", "Part", "Pin", "constraints"]

#: Ports that every board with a serial line has, see `pbitstream_gateware.boards.ecp5.SerialBoard`.
PORTS = ("clk", "rx", "tx", "busy", "ready")
#: The net of the design's clock in the netlist: what the PLL gives.
CLOCK = "pll.o"


@dataclass(frozen=True)
class Part:
    """A chip in a package: its order code, JTAG device id, and what place and route calls it."""

    name: str
    idcode: int
    chip: Chip
    options: tuple[str, ...]


@dataclass(frozen=True)
class Pin:
    """Where a port leaves the chip, and the settings of its buffer, as constraints name them."""

    site: str
    settings: str


@dataclass(frozen=True)
class Board:
    """A board with a crystal and a serial line.

    Parameters
    ----------
    name, text
        What commands call it, and what it is.
    part
        Its chip.
    preset
        The image that is built for it unless another is asked for.
    crystal, clock
        In Hz: what the board has, and what the design runs at unless another is asked for.
    pins
        The pin of every port: those of `PORTS` and those of `high`.
    high
        Outputs that are held high and do nothing else.
    system
        The constraint that says how the chip is configured.
    programmer
        What openFPGALoader calls it.
    line
        A pattern of the name that Linux gives its serial line in ``/dev/serial/by-id``.
    """

    name: str
    text: str
    part: Part
    preset: str
    crystal: int
    clock: int
    pins: dict[str, Pin]
    system: str
    programmer: str
    line: str
    high: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        ports = {*PORTS, *self.high}
        if self.pins.keys() != ports:
            raise SpecError(f"pins of {self.name} must be those of {', '.join(sorted(ports))}, "
                            f"not of {', '.join(sorted(self.pins))}")


def constraints(board: Board, clock: int) -> str:
    """Return the constraints of a board, in Lattice's LPF: every port's pin, and the clocks.

    `clock` is what place and route aims at for the design's own, in Hz.
    """
    lines = [f"SYSCONFIG {board.system};"]
    for port, pin in board.pins.items():
        lines += [f'LOCATE COMP "{port}" SITE "{pin.site}";',
                  f'IOBUF PORT "{port}" {pin.settings};']
    lines += [f'FREQUENCY PORT "clk" {board.crystal / 1e6:g} MHZ;',
              f'FREQUENCY NET "{CLOCK}" {clock / 1e6:g} MHZ;']
    return "\n".join(lines) + "\n"

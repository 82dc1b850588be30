"""What the processor of a Zynq-7000 says of its chip, and the clock that it gives to the fabric.

FCLK0 = PLL / (first divider * second divider), PLL = feedback * crystal [1].

[1] Xilinx, Zynq-7000 SoC Technical Reference Manual, UG585, appendix B.28.
"""

from pbitstream.devices.board.transport import Transport
from pbitstream.errors import DeviceError, SpecError

__all__ = ["SLCR_BASE", "SLCR_BYTES", "Slcr"]

SLCR_BASE, SLCR_BYTES = 0xF800_0000, 0x1000
#: In Hz: of the PYNQ-Z1 and PYNQ-Z2.
CRYSTAL = 50_000_000

LOCK, UNLOCK, LOCKED = 0x004, 0x008, 0x00C
LOCK_KEY, UNLOCK_KEY = 0x767B, 0xDF0D
FCLK0 = 0x170
DEVICE_ID = 0x530
#: The register of the PLL that bits 4 and 5 of FCLK0 choose: twice IO, ARM, DDR.
PLLS = (0x108, 0x108, 0x100, 0x104)
#: Where fields begin, and what they hold at most.
FEEDBACK, MOST_FEEDBACK = 12, 127
SOURCE, MOST_SOURCE = 4, 3
DIVIDERS, MOST_DIVIDER = (8, 20), 63
#: Of frequencies as floats: one that was read can be set again.
ROUNDING = 1e-12


class Slcr:
    """The system control registers of a Zynq-7000.

    Parameters
    ----------
    registers
        `SLCR_BYTES` from `SLCR_BASE` on.
    """

    def __init__(self, registers: Transport) -> None:
        self._registers = registers

    @property
    def idcode(self) -> int:
        """The chip's JTAG device id, its revision in the upper four bits."""
        return self._get(DEVICE_ID)

    @property
    def clock(self) -> float:
        """FCLK0 in Hz.

        Raises
        ------
        DeviceError
            If it stands still.
        """
        value = self._get(FCLK0)
        product = 1
        for at in DIVIDERS:
            product *= value >> at & MOST_DIVIDER
        if not product:
            raise DeviceError(f"sent a read of FCLK0's register; {value:#010x} came back, a "
                              "divider of 0; load an image with ?image=FILE.bit, which sets it")
        return self._source(value) / product

    def set_clock(self, wanted: float) -> None:
        """Set FCLK0 to so many Hz, or the next lower frequency that its dividers make.

        Raises
        ------
        SpecError
            If they make none that is as low.
        """
        value = self._get(FCLK0)
        source = self._source(value)
        first, second = _dividers(source, wanted)
        for at, divider in zip(DIVIDERS, (first, second)):
            value = value & ~(MOST_DIVIDER << at) | divider << at
        locked = self._get(LOCKED) & 1
        if locked:
            self._set(UNLOCK, UNLOCK_KEY)
        self._set(FCLK0, value)
        if locked:
            self._set(LOCK, LOCK_KEY)

    def _source(self, value: int) -> int:
        """Return the frequency of the PLL behind FCLK0, given its register."""
        pll = self._get(PLLS[value >> SOURCE & MOST_SOURCE])
        return (pll >> FEEDBACK & MOST_FEEDBACK) * CRYSTAL

    def _get(self, address: int) -> int:
        return int.from_bytes(self._registers.read(address, 4), "little")

    def _set(self, address: int, value: int) -> None:
        self._registers.write(address, value.to_bytes(4, "little"))


def _dividers(source: int, wanted: float) -> tuple[int, int]:
    """Return the dividers that come nearest to a frequency from below, but for its rounding."""
    numbers = range(1, MOST_DIVIDER + 1)
    wanted *= 1 + ROUNDING
    slow = [(first * second, first, second) for first in numbers for second in numbers
            if source <= first * second * wanted]
    if not slow:
        raise SpecError(f"clock must be at least {source / MOST_DIVIDER**2 / 1e6:.3f} MHz, not "
                        f"{wanted / 1e6:g} MHz")
    _, first, second = min(slow)
    return first, second

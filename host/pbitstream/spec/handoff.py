"""The hardware handoff of a Zynq board (.hwh): from this file PYNQ knows what a bitstream holds.

Vivado writes such a file for a block design. Ours has none, and so this holds what `pynq.Overlay`
reads of one and nothing else: the processing system with its four clocks, the substrate with its
registers, and the window of the processor's addresses that joins them.
"""

from collections.abc import Mapping
from dataclasses import asdict
from xml.etree import ElementTree

from pbitstream.errors import SpecError
from pbitstream.spec.digest import spec_digest
from pbitstream.spec.image import Image
from pbitstream.spec.registers import BOARD_BYTES, REGISTERS

__all__ = ["BASE", "INSTANCE", "VLNV", "clock_dividers", "hwh"]

#: Where the processor sees the board's address map: the first window of its port M_AXI_GP0.
BASE = 0x4000_0000
#: What an overlay calls the substrate, and what its driver binds to.
INSTANCE = "substrate"
VLNV = "pbitstream:board:substrate:1.0"

#: What the processing system is called.
PS, PORT, BUS = "ps7", "M_AXI_GP0", "ps7_M_AXI_GP0"
AXI = "xilinx.com:interface:aximm:1.0"
#: In Hz: the PLL that the fabric's clocks come from, as the boot loaders of PYNQ boards set it.
IO_PLL = 1_000_000_000
#: The dividers of a clock have six bits.
MOST = 63
#: In Hz: from here on, kHz say a clock well enough.
LEAST_CLOCK = 10_000_000
CLOCKS = 4


def clock_dividers(clock: int) -> tuple[int, int]:
    """Return both dividers of a fabric clock of so many Hz.

    What they make is the clock, or less than it by a share of at most 1e-4: 83.334 MHz stands for
    1,000 MHz / 12.

    Raises
    ------
    SpecError
        If there are none; the message names a clock below that has some.
    """
    if not LEAST_CLOCK <= clock <= IO_PLL:
        raise SpecError(f"clock must be between {LEAST_CLOCK // 1_000_000} and "
                        f"{IO_PLL // 1_000_000:,} MHz, not {clock / 1e6:g} MHz")
    product, first, second = min(
        (first * second, first, second) for first in range(1, MOST + 1)
        for second in range(1, first + 1) if IO_PLL <= first * second * clock)
    if (product * clock - IO_PLL) * 10_000 > IO_PLL:
        near = -(-IO_PLL // (product * 1000)) / 1000
        raise SpecError(f"clock must be one that dividers make of {IO_PLL // 1_000_000:,} MHz, "
                        f"such as {near:g} MHz, not {clock / 1e6:g} MHz")
    return first, second


def hwh(image: Image, clock: int) -> str:
    """Return the text of the handoff of an image on a Zynq board.

    Parameters
    ----------
    image
        What the board carries; its parameters are those of the module `INSTANCE`.
    clock
        Of the fabric, in Hz: PYNQ sets FCLK0 to it when it loads the bitstream.

    Raises
    ------
    SpecError
        If the processing system cannot make the clock.
    """
    root = ElementTree.Element("EDKSYSTEM", EDWVERSION="1.2")
    _add(root, "SYSTEMINFO", ARCH="zynq", DEVICE="7z020", NAME="pbitstream", PACKAGE="clg400",
         SPEEDGRADE="-1")
    _add(root, "EXTERNALPORTS")
    _add(root, "EXTERNALINTERFACES")
    modules = _add(root, "MODULES")
    _processing_system(modules, clock)
    _substrate(modules, image)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _processing_system(modules: ElementTree.Element, clock: int) -> None:
    first, second = clock_dividers(clock)
    parameters = {f"PCW_{name}": value for n in range(CLOCKS) for name, value in {
        f"FPGA_FCLK{n}_ENABLE": int(n == 0),
        f"FCLK{n}_PERIPHERAL_CLKSRC": "IO PLL",
        f"FCLK{n}_PERIPHERAL_DIVISOR0": first if n == 0 else 1,
        f"FCLK{n}_PERIPHERAL_DIVISOR1": second if n == 0 else 1,
    }.items()}
    parameters |= {
        "PCW_USE_M_AXI_GP0": 1,
        "PCW_FPGA0_PERIPHERAL_FREQMHZ": f"{clock / 1e6:g}",
        # pynq 4.0 asks for this name on every chip, and stops without it.
        "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ": f"{clock / 1e6:g}",
    }
    module = _module(modules, PS, "processing_system7", "xilinx.com:ip:processing_system7:5.5",
                     parameters)
    _bus(module, PORT, "MASTER")
    _add(_add(module, "MEMORYMAP"), "MEMRANGE", ADDRESSBLOCK="registers", BASENAME="C_BASEADDR",
         BASEVALUE=f"{BASE:#010x}", HIGHNAME="C_HIGHADDR",
         HIGHVALUE=f"{BASE + BOARD_BYTES - 1:#010x}", INSTANCE=INSTANCE, IS_DATA="TRUE",
         IS_INSTRUCTION="FALSE", MASTERBUSINTERFACE=PORT, MEMTYPE="REGISTER",
         SLAVEBUSINTERFACE="S_AXI")


def _substrate(modules: ElementTree.Element, image: Image) -> None:
    parameters = {name.upper(): value for name, value in asdict(image).items() if name != "kinds"}
    parameters |= {
        "KINDS": image.kinds_code,
        "SPEC_DIGEST": spec_digest(),
        "C_BASEADDR": f"{BASE:#010x}",
        "C_HIGHADDR": f"{BASE + BOARD_BYTES - 1:#010x}",
    }
    module = _module(modules, INSTANCE, "substrate", VLNV, parameters)
    _bus(module, "S_AXI", "SLAVE")
    block = _add(_add(module, "ADDRESSBLOCKS"), "ADDRESSBLOCK", ACCESS="read-write",
                 INTERFACE="S_AXI", NAME="registers", RANGE=str(BOARD_BYTES), USAGE="register")
    registers = _add(block, "REGISTERS")
    for register in REGISTERS:
        for word in range(register.words):
            # Words of a value apart: PYNQ knows registers of 32 bits, and of 64 at even words.
            name = register.name if register.words == 1 else f"{register.name}_{word}"
            entry = _add(registers, "REGISTER", NAME=name)
            for of, value in {
                "DESCRIPTION": register.text,
                "ADDRESS_OFFSET": f"{register.address + 4 * word:#x}",
                "ACCESS": {"r": "read-only", "w": "write-only"}.get(register.access, "read-write"),
                "IS_ENABLED": "true",
                "SIZE": "32",
            }.items():
                _add(entry, "PROPERTY", NAME=of, VALUE=value)


def _module(modules: ElementTree.Element, instance: str, kind: str, vlnv: str,
            parameters: Mapping[str, object]) -> ElementTree.Element:
    module = _add(modules, "MODULE", FULLNAME=f"/{instance}",
                  HWVERSION=vlnv.rpartition(":")[2], INSTANCE=instance, IPTYPE="PERIPHERAL",
                  IS_ENABLE="1", MODCLASS="PERIPHERAL", MODTYPE=kind, VLNV=vlnv)
    values = _add(module, "PARAMETERS")
    for name, value in sorted(parameters.items()):
        _add(values, "PARAMETER", NAME=name, VALUE=str(value))
    _add(module, "PORTS")
    return module


def _bus(module: ElementTree.Element, name: str, side: str) -> None:
    _add(_add(module, "BUSINTERFACES"), "BUSINTERFACE", BUSNAME=BUS, DATAWIDTH="32", NAME=name,
         TYPE=side, VLNV=AXI)


def _add(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)

"""The driver that PYNQ gives to the substrate in an overlay, found by the entry point `pynq.lib`.

::

    overlay = pynq.Overlay("pynq-z2.bit")      # with pynq-z2.hwh beside it
    with overlay.substrate.open() as device:
        device.load(program)
"""

from typing import Any

from pbitstream.devices.zynq.access import in_memory, mmio_transport
from pbitstream.devices.zynq.memory import Claim
from pbitstream.devices.zynq.urls import OnZynq
from pbitstream.spec.handoff import VLNV

__all__ = ["Substrate"]


def _driver() -> Any:
    """Return the driver's class, or None where there is no pynq to use it."""
    try:
        from pynq import Clocks, DefaultIP
    except ImportError:
        return None

    class Substrate(DefaultIP):
        """The substrate of an overlay; registers are `register_map`, the device is `open`."""

        bindto = (VLNV,)

        def open(self) -> OnZynq:
            """Return the substrate as a device (`pbitstream.devices.Device`).

            Not called `device`, which pynq has for the chip that the overlay is loaded on. Until it
            is closed no other program of pbitstream can use the board.

            Raises
            ------
            DeviceError
                If what answers is not our image, or was built for another spec, or if another
                program has the board.
            """
            clock = float(Clocks.fclk0_mhz) * 1e6
            # A chip elsewhere, whose memory is not this computer's, is not kept from others.
            claim = Claim() if in_memory(self.mmio) else None
            return OnZynq(mmio_transport(self.mmio, claim), access="pynq overlay", clock=clock)

    return Substrate


#: The class, made when pynq imports this module; None without pynq.
Substrate = _driver()

"""Which requests an image has something to say to; a server passes on no other."""

from pbitstream.devices.network.messages import WRITE, Request
from pbitstream.spec.image import Image
from pbitstream.spec.registers import OTHER_PAGE, REGISTERS, WINDOWS

__all__ = ["AddressMap"]

#: Bytes of the page that holds the registers.
REGISTER_BYTES = WINDOWS[0].address
_WRITABLE = frozenset(
    register.address + 4 * word for register in REGISTERS if register.access != "r"
    for word in range(register.words)
)


class AddressMap:
    """The registers and windows of an image, as far as they reach.

    A request must lie in the register page, in one window or in the other page of one, and write
    only registers that can be written.
    """

    def __init__(self, image: Image) -> None:
        words = image.window_words()
        places = [(w.address, w.name) for w in WINDOWS]
        places += [(w.address + OTHER_PAGE, w.name) for w in WINDOWS if w.access == "readout"]
        self._windows = [(first, first + 4 * words[name]) for first, name in places]

    def refusal(self, request: Request) -> str | None:
        """Return why a request is not passed on, or None if it is."""
        first, end = request.address, request.address + request.count
        if end <= REGISTER_BYTES:
            if request.operation == WRITE and not _WRITABLE.issuperset(range(first, end, 4)):
                return "not every register there can be written"
            return None
        if any(low <= first and end <= high for low, high in self._windows):
            return None
        return "this image has no window there that is so long"

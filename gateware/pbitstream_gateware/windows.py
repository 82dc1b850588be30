"""Which addresses of the map an image has memory for."""

from amaranth.hdl import Cat, Value
from amaranth.utils import exact_log2

from pbitstream.spec.image import Image
from pbitstream.spec.registers import OTHER_PAGE, WINDOWS

__all__ = ["in_other_page", "in_windows", "window_base", "window_ranges"]


def window_base(name: str) -> int:
    """Return the first word address of a window."""
    return next(window.address for window in WINDOWS if window.name == name) // 4


def window_ranges(image: Image, *access: str) -> list[range]:
    """Return the word addresses of the windows with such an access, in the order of the map.

    Each is a power of two long, and aligned to that.
    """
    words = image.window_words()
    return [range(window.address // 4, window.address // 4 + words[window.name])
            for window in WINDOWS if window.access in access]


def in_windows(address: Value, image: Image, *access: str) -> Value:
    """Return whether a word address lies in a window with such an access."""
    ranges = window_ranges(image, *access)
    bits = [exact_log2(len(words)) for words in ranges]
    return Cat(address[n:] == words.start >> n for words, n in zip(ranges, bits)).any()


def in_other_page(address: Value, image: Image) -> Value:
    """Return whether a word address lies in the other page of a readout window."""
    return in_windows((address ^ OTHER_PAGE // 4)[: len(address)], image, "readout")

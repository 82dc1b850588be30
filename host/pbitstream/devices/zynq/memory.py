"""A board's address map in the memory of the processor beside it.

What stands behind such addresses is no memory: a pulse of `control` or `commit` must be given once,
and the port takes whole words alone. NumPy leaves a copy between contiguous arrays to the C
library, which moves bytes in widths of its own choice and some of them twice; on a Zynq that has
been seen to double writes [1]. So every transfer goes through an array in which words have gaps:
those NumPy moves itself, each one once.

[1] https://github.com/vsergeev/python-periphery/issues/50
"""

import fcntl
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import DeviceError

__all__ = ["MEMORY", "Claim", "MemoryTransport"]

#: All physical addresses, as a file.
MEMORY = Path("/dev/mem")
WORD = 4


class MemoryTransport:
    """Reads and writes words of memory; see `Transport`.

    Parameters
    ----------
    words
        uint32 from the board's address 0 on, aligned to words.
    claim
        What keeps others away; it is let go of with the transport.
    """

    def __init__(self, words: NDArray[np.uint32], claim: "Claim | None" = None) -> None:
        self._words: Any = words
        self._claim = claim

    def read(self, address: int, count: int) -> bytes:
        """Return bytes; address and count are multiples of 4."""
        first, length = address // WORD, count // WORD
        spaced = _spaced(length)
        spaced[:] = self._words[first : first + length]
        return spaced.astype("<u4").tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Store bytes; address and length are multiples of 4."""
        first, length = address // WORD, len(data) // WORD
        spaced = _spaced(length)
        spaced[:] = np.frombuffer(data, "<u4")
        self._words[first : first + length] = spaced

    def close(self) -> None:
        """Let go of the memory."""
        self._words = None
        if self._claim is not None:
            self._claim.close()


class Claim:
    """The memory, kept from other programs that ask in this way.

    Raises
    ------
    DeviceError
        If there is none, it may not be opened, or another program has it.
    """

    def __init__(self) -> None:
        try:
            self._file = os.open(MEMORY, os.O_RDWR | os.O_SYNC)
        except PermissionError as error:
            raise DeviceError(f"{MEMORY} may not be opened by this user; run it with sudo, or as "
                              "root in the notebook server of a PYNQ board") from error
        except OSError as error:
            raise DeviceError(f"{MEMORY} cannot be opened: {error.strerror}; the kernel must have "
                              "it for the board's registers") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise DeviceError("another program of pbitstream uses the board; end it, or restart "
                              "the kernel of the notebook that has it") from error

    def map(self, base: int, size: int) -> NDArray[np.uint32]:
        """Return the words from a physical address on, both whole pages."""
        try:
            found = mmap.mmap(self._file, size, offset=base)
        except (OSError, ValueError) as error:
            raise DeviceError(f"{MEMORY} does not show {size:,} bytes at {base:#x}: {error}; the "
                              "kernel must allow it (CONFIG_STRICT_DEVMEM)") from error
        # The map lives as long as the array.
        return np.frombuffer(found, np.uint32)

    def close(self) -> None:
        """Let others have it."""
        if self._file >= 0:
            # A map keeps the file open.
            fcntl.flock(self._file, fcntl.LOCK_UN)
            os.close(self._file)
            self._file = -1


def _spaced(length: int) -> NDArray[np.uint32]:
    """Return an array of words with gaps between them."""
    return np.empty((length, 2), np.uint32)[:, 0]

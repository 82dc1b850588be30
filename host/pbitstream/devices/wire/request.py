"""What the transport keeps of a request until it is answered, and what an answer says of it."""

from dataclasses import dataclass, field

from pbitstream.devices.wire.codec import Frame
from pbitstream.spec.frames import DETAIL, FRAME_WORDS
from pbitstream.spec.registers import BOARD_BYTES

__all__ = ["Request", "detail"]

_NUMBER_BITS, _EXPECTED_BITS = (bits for _, bits in DETAIL)


@dataclass(eq=False)
class Request:
    """One frame's worth of work for the board: `operation` is ``read`` or ``write``."""

    operation: str
    address: int
    count: int
    data: bytes = b""
    seq: int = -1
    answer: bytes | None = field(default=None, repr=False)

    @property
    def cost(self) -> int:
        """Words in the board's buffer."""
        return FRAME_WORDS + len(self.data) // 4

    @property
    def wanted(self) -> int:
        """Bytes of payload in its answer."""
        return self.count if self.operation == "read" else 0

    def is_met(self, reply: Frame) -> bool:
        """Return whether a reply with the right seq and session is this request's."""
        return (reply.addr & BOARD_BYTES - 1, reply.count) == (self.address, self.wanted)

    def __str__(self) -> str:
        """Return what it asks for."""
        return f"a {self.operation} of {self.count} bytes at {self.address:#x}"


def detail(frame: Frame) -> tuple[int, int]:
    """Return the number in an answer's detail, and the seq that the board expects next."""
    word = int.from_bytes(frame.payload, "little")
    return word & (1 << _NUMBER_BITS) - 1, word >> _NUMBER_BITS & (1 << _EXPECTED_BITS) - 1

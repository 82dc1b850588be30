"""What an image of the gateware can hold: one parameter set that host and gateware share."""

from dataclasses import dataclass

from pbitstream.errors import SpecError
from pbitstream.spec.instructions import COMMON
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.registers import WINDOWS
from pbitstream.spec.words import MAX_BOARD_DIM

__all__ = ["IMAGE_KINDS", "Image"]

#: Bits of the register `kinds`.
IMAGE_KINDS = ("langevin", "pbit", "low-rank", "band")
#: Lanes that one update pipe serves: a unit needs some 85 multiplications per update.
LANES_PER_PIPE = 64


@dataclass(frozen=True)
class Image:
    """Parameters of an image.

    Parameters
    ----------
    lanes
        Multipliers that work in parallel: a power of two, 2 to 128.
    max_units
        Slots: units of a program, each module rounded up to whole rows of `lanes`; at most 1,024
        rows.
    max_rank_words
        Words of factors and weights per lane.
    max_modules, max_instructions, max_gains
        Modules, instructions, and gains S (ranks of all low-rank banks together).
    kinds
        What the image can compute, of `IMAGE_KINDS`.

    All counts are powers of two.
    """

    lanes: int
    max_units: int
    max_rank_words: int
    max_modules: int = 64
    max_instructions: int = 512
    max_gains: int = 512
    kinds: tuple[str, ...] = IMAGE_KINDS

    def __post_init__(self) -> None:
        rows, sizes = 1 << COMMON["row"], {window.name: window.size for window in WINDOWS}
        limits = {"lanes": (2, STREAMS),
                  "max_units": (2 * self.lanes, min(MAX_BOARD_DIM, rows * self.lanes)),
                  "max_rank_words": (2, min(1 << COMMON["table"],
                                            sizes["tables"] // 2 // max(2, self.lanes))),
                  "max_modules": (2, sizes["modules"] // 8),
                  "max_instructions": (2, sizes["instructions"] // 16),
                  "max_gains": (2, sizes["gains"] // 4)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high or value & (value - 1):
                raise SpecError(f"{name} must be a power of two between {low} and {high}, "
                                f"not {value}")
        unknown = set(self.kinds) - set(IMAGE_KINDS)
        if unknown or not set(self.kinds) & {"langevin", "pbit"}:
            raise SpecError(f"kinds must be some of {', '.join(IMAGE_KINDS)}, with langevin or "
                            f"pbit among them, not {self.kinds}")

    @property
    def pipes(self) -> int:
        """Update pipes; pipe p serves lanes p lanes / pipes and up."""
        return max(1, self.lanes // LANES_PER_PIPE)

    @property
    def rows(self) -> int:
        """Rows of slots."""
        return self.max_units // self.lanes

    @property
    def kinds_code(self) -> int:
        """The register `kinds`."""
        return sum(1 << bit for bit, kind in enumerate(IMAGE_KINDS) if kind in self.kinds)

    def window_words(self) -> dict[str, int]:
        """Return how many 32-bit words of each window the image has."""
        return {
            "noise": 2 * STREAMS,
            "gains": self.max_gains,
            "modules": 2 * self.max_modules,
            "biases": self.max_units // 2,
            "states": self.max_units,
            "stiffness": self.max_units,
            "sums": 2 * self.max_units,
            "squares": 2 * self.max_units,
            "instructions": 4 * self.max_instructions,
            "tables": self.max_rank_words * self.lanes // 2,
        }

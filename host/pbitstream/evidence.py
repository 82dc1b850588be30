"""What a figure rests on, and which ratios may be stated.

Every figure carries a grade, best first: ``counted`` (follows from a program and a recipe),
``metered``, ``measured by its author``, ``estimated``, ``assumed``, ``claimed`` (printed without
what it was computed from). A factor has the worst grade of its figures, and one with a term missing
cannot be stated: no part of a sum is shown as the sum.

References
----------
.. [1] ferrotherm on a KV260, 1,024 p-bits at 100 MHz: 10.85 pJ per flip above idle.
"""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["GRADES", "P_BIT_FLIP", "Entry", "Factor"]

GRADES = ("counted", "metered", "measured by its author", "estimated", "assumed", "claimed")
#: Energy per flip of [1]_, in joules.
P_BIT_FLIP = 10.85e-12


@dataclass(frozen=True)
class Entry:
    """One figure of the ledger; a value of None is a term that nobody has supplied."""

    name: str
    value: float | None
    unit: str
    grade: str | None
    source: str

    def __post_init__(self) -> None:
        assert self.grade in GRADES if self.value is not None else self.grade is None

    def over(self, other: "Entry") -> float:
        """Return the ratio of two figures that are known."""
        assert self.value is not None
        assert other.value is not None
        return self.value / other.value


@dataclass(frozen=True)
class Factor:
    """An advantage by one definition: the figures that go in, and `value` where all are known.

    `why` says what is missing, or what the value means.
    """

    definition: str
    entries: tuple[Entry, ...]
    value: float | None
    why: str

    def __post_init__(self) -> None:
        assert self.value is None or all(e.value is not None for e in self.entries)

    @property
    def grade(self) -> str | None:
        """The worst grade among the figures, or None where there is no factor."""
        if self.value is None:
            return None
        return max((e.grade for e in self.entries if e.grade), key=GRADES.index)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data for JSON; a factor of None cannot be stated."""
        return {"definition": self.definition, "entries": [asdict(e) for e in self.entries],
                "factor": self.value, "grade": self.grade, "why": self.why}

"""What is coupled to what: modules, banks and the phases of a step, as plain frozen data.

Module and bank fields are integers and strings only, so that a topology has one canonical JSON
form (`Topology.to_dict`) that programs, manifests and golden files can be hashed with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from pbitstream.errors import SpecError
from pbitstream.spec.words import (
    DT_SHIFTS,
    EXPOSED,
    FIELD_FRACTIONS,
    GAIN_SHIFTS,
    MAX_LOW_RANK_DIM,
    MAX_OFFSET,
    MAX_RANK,
    PROJECTION_SHIFTS,
)

__all__ = ["BandBank", "Bank", "Kind", "LowRankBank", "Module", "SparseBank", "Topology",
           "check_module"]

Kind: TypeAlias = Literal["langevin", "pbit"]


@dataclass(frozen=True)
class Module:
    """A group of `dim` units of one kind that is updated in one phase, or held if `clamped`."""

    name: str
    kind: Kind
    dim: int
    clamped: bool = False


@dataclass(frozen=True)
class LowRankBank:
    """Coupling ``J_ts = B diag(S) A^T`` of rank `rank`, with J_st its transpose.

    The five fraction counts fix the four shifts (numerics, section 2): `a_fraction`, `b_fraction`
    and `gain_fraction` of A, B and S, `z_fraction` of the forward projection (s to t) and
    `z_back_fraction` of the backward one.
    """

    source: int
    target: int
    rank: int
    a_fraction: int
    b_fraction: int
    gain_fraction: int
    z_fraction: int
    z_back_fraction: int

    def shifts(self, field_fraction: int) -> tuple[int, int, int, int]:
        """Return (r1, r2, r3, r4): forward z and u, backward z and u."""
        return (
            EXPOSED.fraction + self.a_fraction - self.z_fraction,
            self.z_fraction + self.gain_fraction - (field_fraction - self.b_fraction),
            EXPOSED.fraction + self.b_fraction - self.z_back_fraction,
            self.z_back_fraction + self.gain_fraction - (field_fraction - self.a_fraction),
        )


@dataclass(frozen=True)
class BandBank:
    """Coupling ``f_t[i] += sum_o w_o[i] x_s[i+o]`` and its transpose; offsets are distinct."""

    source: int
    target: int
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class SparseBank:
    """Coupling by `entries` stored weights, rows being units of t (CSR); emulator only."""

    source: int
    target: int
    entries: int


Bank: TypeAlias = LowRankBank | BandBank | SparseBank

BANK_KINDS: Mapping[str, type[Bank]] = {
    "low-rank": LowRankBank,
    "band": BandBank,
    "sparse": SparseBank,
}
BANK_NAMES = {kind: name for name, kind in BANK_KINDS.items()}


@dataclass(frozen=True)
class Topology:
    """Modules, banks, phases, the field's fraction bits F and the step dt = 2^-`dt_shift`.

    A phase updates the modules it names, all from the exposed states at its start. A step is the
    phases in order and updates every free module once.

    Raises
    ------
    SpecError
        If anything breaks a rule of the spec; the message names it.
    """

    modules: tuple[Module, ...]
    banks: tuple[Bank, ...]
    phases: tuple[tuple[int, ...], ...]
    field_fraction: int = 20
    dt_shift: int = 3

    def __post_init__(self) -> None:
        _check_scalars(self)
        _check_modules(self.modules)
        for index, bank in enumerate(self.banks):
            _check_bank(self, index, bank)
        _check_phases(self)

    @property
    def units(self) -> int:
        """Number of units, clamped ones included."""
        return sum(module.dim for module in self.modules)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Index of each module's first unit, and the number of units at the end."""
        starts = [0]
        for module in self.modules:
            starts.append(starts[-1] + module.dim)
        return tuple(starts)

    @property
    def max_rank(self) -> int:
        """Largest rank of a low-rank bank, 0 without one."""
        return max((b.rank for b in self.banks if isinstance(b, LowRankBank)), default=0)

    def index(self, name: str) -> int:
        """Return the index of the module called `name`."""
        for index, module in enumerate(self.modules):
            if module.name == name:
                return index
        known = ", ".join(module.name for module in self.modules)
        raise SpecError(f"module must be one of {known}, not {name}")

    def units_of(self, module: int) -> slice:
        """Return the units of a module as a slice of the unit axis."""
        starts = self.starts
        return slice(starts[module], starts[module + 1])

    def ends(self) -> Iterator[tuple[int, int, int, bool]]:
        """Yield (bank, source, target, forward) for both directions into every free module."""
        for index, bank in enumerate(self.banks):
            for source, target, forward in (
                (bank.source, bank.target, True),
                (bank.target, bank.source, False),
            ):
                if not self.modules[target].clamped:
                    yield index, source, target, forward

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical form: integers, strings and lists only."""
        return {
            "modules": [{**asdict(m), "clamped": int(m.clamped)} for m in self.modules],
            "banks": [
                {"kind": BANK_NAMES[type(bank)], **_listed(asdict(bank))} for bank in self.banks
            ],
            "phases": [list(phase) for phase in self.phases],
            "field_fraction": self.field_fraction,
            "dt_shift": self.dt_shift,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Topology":
        """Return the topology of a canonical form; SpecError if it is not one."""
        try:
            modules = [
                Module(str(m["name"]), m["kind"], int(m["dim"]), bool(m["clamped"]))
                for m in data["modules"]
            ]
            banks = []
            for bank in data["banks"]:
                values: dict[str, Any] = {
                    key: tuple(map(int, value)) if key == "offsets" else int(value)
                    for key, value in bank.items()
                    if key != "kind"
                }
                banks.append(BANK_KINDS[bank["kind"]](**values))
            phases = tuple(tuple(int(m) for m in phase) for phase in data["phases"])
            scalars = int(data["field_fraction"]), int(data["dt_shift"])
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise SpecError(f"topology is not in canonical form: {error!r}") from error
        return cls(tuple(modules), tuple(banks), phases, *scalars)


def _listed(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in fields.items()}


def _check_scalars(topology: Topology) -> None:
    for name in ("field_fraction", "dt_shift"):
        if type(getattr(topology, name)) is not int:
            raise SpecError(f"{name} must be an int, not {getattr(topology, name)!r}")
    if topology.field_fraction not in FIELD_FRACTIONS:
        raise SpecError(f"field_fraction must be one of {FIELD_FRACTIONS}, "
                        f"not {topology.field_fraction}")
    if topology.dt_shift not in DT_SHIFTS:
        raise SpecError(f"dt must be 2^-s with s between {DT_SHIFTS[0]} and {DT_SHIFTS[-1]}, "
                        f"not s = {topology.dt_shift}")


def _check_modules(modules: tuple[Module, ...]) -> None:
    if not any(not module.clamped for module in modules):
        raise SpecError("a program needs at least one free module")
    names = [module.name for module in modules]
    for module in modules:
        if names.count(module.name) > 1:
            raise SpecError(f"module names must be distinct and not empty, not {module.name!r}")
        check_module(module)


def check_module(module: Module) -> None:
    """Raise SpecError unless name, kind and dim of a module follow the rules."""
    if not module.name or not isinstance(module.name, str):
        raise SpecError(f"module names must be distinct and not empty, not {module.name!r}")
    if module.kind not in ("langevin", "pbit"):
        raise SpecError(f"kind of module {module.name} must be langevin or pbit, "
                        f"not {module.kind!r}")
    if not isinstance(module.dim, int) or module.dim < 1:
        raise SpecError(f"dim of module {module.name} must be a whole number of at least 1, "
                        f"not {module.dim}")


def _check_bank(topology: Topology, index: int, bank: Bank) -> None:
    modules = topology.modules
    for end in (bank.source, bank.target):
        if not 0 <= end < len(modules):
            raise SpecError(f"bank {index} must join modules 0 to {len(modules) - 1}, not {end}")
    source, target = modules[bank.source], modules[bank.target]
    name = f"bank {index} ({source.name}, {target.name})"
    if bank.source == bank.target and source.kind == "pbit":
        raise SpecError(f"{name} couples a p-bit module to itself; split it into colour classes")
    if isinstance(bank, LowRankBank):
        _check_low_rank(name, bank, topology)
    elif isinstance(bank, BandBank):
        if len(set(bank.offsets)) != len(bank.offsets) or not bank.offsets:
            raise SpecError(f"offsets of {name} must be distinct and not empty, "
                            f"not {bank.offsets}")
        for offset in bank.offsets:
            if abs(offset) >= MAX_OFFSET:
                raise SpecError(f"offsets of {name} must be between {1 - MAX_OFFSET} and "
                                f"{MAX_OFFSET - 1}, not {offset}")
    elif not 0 <= bank.entries <= source.dim * target.dim:
        raise SpecError(f"entries of {name} must be between 0 and {source.dim * target.dim}, "
                        f"not {bank.entries}")


def _check_low_rank(name: str, bank: LowRankBank, topology: Topology) -> None:
    if not 1 <= bank.rank <= MAX_RANK:
        raise SpecError(f"rank of {name} must be between 1 and {MAX_RANK}, not {bank.rank}")
    for end in (bank.source, bank.target):
        dim = topology.modules[end].dim
        if dim > MAX_LOW_RANK_DIM:
            raise SpecError(f"modules of {name} must have at most {MAX_LOW_RANK_DIM} units, "
                            f"not {dim}; split the wider one into several modules")
    r1, r2, r3, r4 = bank.shifts(topology.field_fraction)
    for label, shift, allowed in (
        ("r1", r1, PROJECTION_SHIFTS),
        ("r2", r2, GAIN_SHIFTS),
        ("r3", r3, PROJECTION_SHIFTS),
        ("r4", r4, GAIN_SHIFTS),
    ):
        if shift not in allowed:
            raise SpecError(f"shift {label} of {name} must be between {allowed[0]} and "
                            f"{allowed[-1]}, not {shift}; change the fraction bits of its tables")


def _check_phases(topology: Topology) -> None:
    modules = topology.modules
    free = [index for index, module in enumerate(modules) if not module.clamped]
    named = sorted(index for phase in topology.phases for index in phase)
    if named != free:
        raise SpecError(f"phases must name every free module once ({free}), not {named}")
    for number, phase in enumerate(topology.phases):
        if list(phase) != sorted(phase) or not phase:
            raise SpecError(f"phase {number} must list its modules in ascending order, "
                            f"not {phase}")
    phase_of = {index: n for n, phase in enumerate(topology.phases) for index in phase}
    for bank in topology.banks:
        s, t = bank.source, bank.target
        if s != t and phase_of.get(s, -1) == phase_of.get(t, -2):
            for end in (s, t):
                if modules[end].kind == "pbit":
                    raise SpecError(
                        f"p-bit module {modules[end].name} must not share phase {phase_of[s]} "
                        f"with {modules[s + t - end].name}, which it is coupled to; "
                        "give them different colour classes"
                    )

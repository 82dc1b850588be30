"""Functional coverage: which shapes of programs, schedules and calls have been put to the test.

A bin is a question about a program, a call and its expected readout; it counts the calls of which
the answer is yes. What a bin asks is what makes the gateware take another path: another kind of
instruction, another copy of the states, a row that is not full, a counter that moves.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pbitstream.devices.protocol import CLIP_NAMES, Readout
from pbitstream.program import Program
from pbitstream.spec.noise import FIELDS, STREAMS
from pbitstream.spec.topology import BandBank, Bank, LowRankBank, Module
from pbitstream.spec.words import DT_SHIFTS, FIELD_FRACTIONS, MAX_CHAINS

__all__ = ["BINS", "Case", "Coverage"]


@dataclass(frozen=True)
class Case:
    """A call of a program, its expected readout, and the lanes of the image it runs on."""

    program: Program
    call: dict[str, Any]
    readout: Readout
    lanes: int

    @property
    def free(self) -> list[Module]:
        """Modules that are updated."""
        return [module for module in self.program.topology.modules if not module.clamped]

    def banks(self, kind: type[Bank]) -> list[Any]:
        """Banks of a kind."""
        return [bank for bank in self.program.topology.banks if isinstance(bank, kind)]

    @property
    def reads(self) -> list[tuple[Bank, int, int]]:
        """Bank, source and target of every direction of a bank into a module that is updated."""
        topology = self.program.topology
        return [(topology.banks[bank], source, target)
                for bank, source, target, _ in topology.ends()
                if not topology.modules[target].clamped]

    def copies(self, kind: type[Bank]) -> set[str]:
        """Which copy of the states each bank of a kind reads, as the gateware calls them."""
        topology = self.program.topology
        phase = {module: n for n, part in enumerate(topology.phases) for module in part}
        return {"fixed" if topology.modules[source].clamped
                else "new" if phase[source] < phase[target] else "old"
                for bank, source, target in self.reads if isinstance(bank, kind)}

    def setting(self, name: str) -> bool:
        """Whether a setting replaces a module's own value."""
        values = getattr(self.call.get("settings"), name, None)
        return values is not None and not bool(np.isnan(values).all())

    @property
    def setting_rows(self) -> int:
        """How many rows of settings follow each other."""
        tables = vars(self.call["settings"]).values() if "settings" in self.call else ()
        return max((len(table) for table in tables if np.ndim(table) == 2), default=1)

    def rows(self, kind: str) -> int:
        """Most rows of lanes of an updated module of a kind."""
        return max((-(-module.dim // self.lanes) for module in self.free if module.kind == kind),
                   default=0)


Question = Callable[[Case], bool]


def _modules(case: Case, kind: str, clamped: bool) -> bool:
    return any(module.kind == kind and module.clamped == clamped
               for module in case.program.topology.modules)


def _kinds_joined(case: Case, kind: type[Bank]) -> bool:
    modules = case.program.topology.modules
    return any(modules[bank.source].kind != modules[bank.target].kind for bank in case.banks(kind))


def _pairs(case: Case) -> Counter[frozenset[int]]:
    return Counter(frozenset((bank.source, bank.target)) for bank in case.program.topology.banks)


def _offsets(case: Case) -> list[int]:
    return [offset for bank in case.banks(BandBank) for offset in bank.offsets]


def _clamped_end(case: Case, kind: type[Bank], end: str) -> bool:
    modules = case.program.topology.modules
    return any(modules[getattr(bank, end)].clamped for bank in case.banks(kind))


def _noise(case: Case, silent: bool) -> bool:
    temperature = case.readout.temperature
    return any(module.kind == "langevin" and not module.clamped
               and (temperature[n] == 0) == silent
               for n, module in enumerate(case.program.topology.modules))


def _shared_phase(case: Case) -> bool:
    return any(len(phase) > 1 for phase in case.program.topology.phases)


BINS: dict[str, tuple[str, Question]] = {
    "langevin": ("Langevin module", lambda c: _modules(c, "langevin", False)),
    "pbit": ("p-bit module", lambda c: _modules(c, "pbit", False)),
    "langevin held": ("clamped Langevin module", lambda c: _modules(c, "langevin", True)),
    "pbit held": ("clamped p-bit module", lambda c: _modules(c, "pbit", True)),
    "low-rank": ("low-rank bank", lambda c: bool(c.banks(LowRankBank))),
    "band": ("band bank", lambda c: bool(c.banks(BandBank))),
    "low-rank self": ("low-rank bank of a module with itself",
                      lambda c: any(b.source == b.target for b in c.banks(LowRankBank))),
    "band self": ("band bank of a module with itself",
                  lambda c: any(b.source == b.target for b in c.banks(BandBank))),
    "low-rank mixed": ("low-rank bank of both kinds",
                       lambda c: _kinds_joined(c, LowRankBank)),
    "band mixed": ("band bank of both kinds", lambda c: _kinds_joined(c, BandBank)),
    "parallel": ("two banks of the same modules", lambda c: max(_pairs(c).values(), default=0) > 1),
    "alone": ("updated module that no bank reaches",
              lambda c: len(c.free) > len({target for _, _, target in c.reads})),
    "low-rank from held": ("low-rank bank with a clamped source",
                           lambda c: _clamped_end(c, LowRankBank, "source")),
    "low-rank to held": ("low-rank bank with a clamped target",
                         lambda c: _clamped_end(c, LowRankBank, "target")),
    "band from held": ("band bank with a clamped source",
                       lambda c: _clamped_end(c, BandBank, "source")),
    "band to held": ("band bank with a clamped target",
                     lambda c: _clamped_end(c, BandBank, "target")),
    **{f"{name} {copy}": (f"{name} bank that reads the {copy} copy",
                          lambda c, kind=kind, copy=copy: copy in c.copies(kind))  # type: ignore[misc]
       for name, kind in (("low-rank", LowRankBank), ("band", BandBank))
       for copy in ("old", "new")},
    "one phase": ("one phase", lambda c: len(c.program.topology.phases) == 1),
    "phases": ("two phases or more", lambda c: len(c.program.topology.phases) > 1),
    "shared phase": ("two modules or more in a phase", _shared_phase),
    "rank 1": ("rank 1", lambda c: any(b.rank == 1 for b in c.banks(LowRankBank))),
    "rank 8": ("rank above 8", lambda c: any(b.rank > 8 for b in c.banks(LowRankBank))),
    "offset 0": ("offset 0", lambda c: 0 in _offsets(c)),
    "offset below": ("negative offset", lambda c: min(_offsets(c), default=0) < 0),
    "offset far": ("offset of a row of lanes or more",
                   lambda c: any(abs(offset) >= c.lanes for offset in _offsets(c))),
    "one unit": ("module of one unit", lambda c: any(m.dim == 1 for m in c.free)),
    "full row": ("module that fills its last row",
                 lambda c: any(m.dim % c.lanes == 0 for m in c.free)),
    "part row": ("module whose last row is not full",
                 lambda c: any(m.dim % c.lanes for m in c.free)),
    "langevin rows": ("Langevin module of several rows of lanes",
                      lambda c: c.rows("langevin") > 1),
    "pbit rows": ("p-bit module of several rows of lanes", lambda c: c.rows("pbit") > 1),
    "langevin streams": ("Langevin module that uses a stream twice in a step",
                         lambda c: any(m.kind == "langevin" and m.dim > STREAMS for m in c.free)),
    "pbit streams": ("p-bit module that uses a word twice",
                     lambda c: any(m.kind == "pbit" and m.dim > STREAMS for m in c.free)),
    "pbit words": ("p-bit module that needs a second word of a stream",
                   lambda c: any(m.kind == "pbit" and m.dim > FIELDS * STREAMS for m in c.free)),
    **{f"F {fraction}": (f"fields with {fraction} fraction bits",
                         lambda c, fraction=fraction:  # type: ignore[misc]
                         c.program.topology.field_fraction == fraction)
       for fraction in FIELD_FRACTIONS},
    "dt longest": (f"dt = 2^-{DT_SHIFTS[0]}",
                   lambda c: c.program.topology.dt_shift == DT_SHIFTS[0]),
    "dt middle": ("dt between the ends",
                  lambda c: DT_SHIFTS[0] < c.program.topology.dt_shift < DT_SHIFTS[-1]),
    "dt shortest": (f"dt = 2^-{DT_SHIFTS[-1]}",
                    lambda c: c.program.topology.dt_shift == DT_SHIFTS[-1]),
    "quartic": ("k4 above 0", lambda c: bool(c.program.tables["k4"].any())),
    "noise": ("Langevin module with noise", lambda c: _noise(c, False)),
    "silence": ("Langevin module without noise", lambda c: _noise(c, True)),
    "gains of a call": ("gains S for all inputs of a call",
                        lambda c: "gains" in c.call and len(c.call["gains"]) == 1),
    "gains of inputs": ("gains S that change from input to input",
                        lambda c: "gains" in c.call and len(c.call["gains"]) > 1),
    **{f"set {name}": (f"setting {name}", lambda c, name=name: c.setting(name))  # type: ignore[misc]
       for name in ("k2", "k4", "temperature", "beta")},
    "state in": ("a call that goes on from a state", lambda c: "state" in c.call),
    "moments": ("second moments", lambda c: bool(c.call["moments"])),
    "no moments": ("no second moments", lambda c: not c.call["moments"]),
    "setting rows": ("settings in rows, as for annealing", lambda c: c.setting_rows > 1),
    "burn-in": ("steps before the window", lambda c: c.call["burn_in"] > 0),
    "no burn-in": ("a window from the first step", lambda c: c.call["burn_in"] == 0),
    "inputs": ("several inputs", lambda c: len(c.call["h"]) > 1),
    "chains": ("several chains of an input", lambda c: c.call["chains"] > 1),
    "last chain": ("the highest chain index there is",
                   lambda c: c.call["first_chain"] + len(c.readout.state.units) == MAX_CHAINS),
    **{f"clips {name}": (f"saturation of {name}",
                         lambda c, n=n: bool(c.readout.clips[..., n].any()))  # type: ignore[misc]
       for n, name in enumerate(CLIP_NAMES)},
}


class Coverage:
    """Counts of `BINS` over the cases that were added."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, case: Case) -> None:
        """Count a case."""
        self.counts.update(_hits(case))

    def new(self, case: Case) -> int:
        """Return how many bins a case would be the first to hit."""
        return sum(1 for name in _hits(case) if not self.counts[name])

    @property
    def share(self) -> float:
        """Share of the bins that were hit."""
        return sum(1 for name in BINS if self.counts[name]) / len(BINS)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "share": self.share,
            "bins": {name: {"text": text, "count": self.counts[name]}
                     for name, (text, _) in BINS.items()},
        }


def _hits(case: Case) -> list[str]:
    return [name for name, (_, question) in BINS.items() if question(case)]

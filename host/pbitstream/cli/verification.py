"""What ``pbitstream verify`` computes: programs and calls drawn from a seed, on two devices."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pbitstream.cli.parser import UsageError
from pbitstream.devices.comparison import Difference, compare
from pbitstream.devices.protocol import CLIP_NAMES, Device
from pbitstream.devices.random_programs import has_cycle, is_alive, random_call, random_program
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.words import MAX_BURN_IN, MAX_STEPS

__all__ = ["CALLS", "Candidate", "Verification", "Verified", "drawn", "given", "verify"]

#: Calls per program: the second comes on what the first left in the device.
CALLS = 3
#: Draws in a row that a device may refuse.
PATIENCE = 5000


@dataclass(frozen=True)
class Candidate:
    """A program that the device has accepted, and where its calls are drawn from."""

    name: str
    program: Program
    rng: np.random.Generator


@dataclass(frozen=True)
class Verified:
    """A program that ran on both devices, and the first difference if there was one."""

    name: str
    program: Program
    calls: int
    steps: int
    updates: int
    saturated: dict[str, int]
    difference: Difference | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        topology = self.program.topology
        return {
            "name": self.name,
            "digest": self.program.digest,
            "units": topology.units,
            "modules": len(topology.modules),
            "banks": len(topology.banks),
            "calls": self.calls,
            "steps": self.steps,
            "updates": self.updates,
            "saturated": self.saturated,
            "difference": None if self.difference is None else asdict(self.difference),
        }


@dataclass
class Verification:
    """All programs of a run, those drawn again by reason, and those that do not fit."""

    programs: list[Verified] = field(default_factory=list)
    drawn_again: Counter[str] = field(default_factory=Counter)
    #: The device's words for the first program that did not fit.
    refusal: str | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def identical(self) -> bool:
        """Whether every readout agreed in every bit."""
        return all(each.difference is None for each in self.programs)

    @property
    def updates(self) -> int:
        """Unit updates compared."""
        return sum(each.updates for each in self.programs)

    @property
    def saturated(self) -> dict[str, int]:
        """Clips by counter, so that one sees which were put to the test."""
        return {name: sum(each.saturated[name] for each in self.programs) for name in CLIP_NAMES}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "identical": self.identical,
            "updates": self.updates,
            "saturated": self.saturated,
            "programs": [each.to_dict() for each in self.programs],
            "drawn_again": dict(self.drawn_again),
            "refusal": self.refusal,
            "skipped": self.skipped,
        }


def given(
    device: Device, programs: Sequence[tuple[str, Program]], seed: int, verification: Verification,
    *, skip: bool,
) -> Iterator[Candidate]:
    """Load programs one by one; those that do not fit are skipped, or raise SpecError."""
    for number, (name, program) in enumerate(programs):
        try:
            device.load(program, force=True)
        except SpecError as error:
            if not skip:
                raise
            verification.skipped[name] = str(error)
            continue
        yield Candidate(name, program, np.random.default_rng([seed, number]))


def drawn(device: Device, count: int, seed: int, verification: Verification) -> Iterator[Candidate]:
    """Draw programs and load them; what is too plain or does not fit is drawn again and counted.

    Program n of a seed is the same in every run on devices that hold the same programs.
    """
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        for _ in range(PATIENCE):
            program = random_program(rng, board=True)
            reason = too_plain(program)
            if reason is None:
                try:
                    device.load(program, force=True)
                except SpecError as error:
                    reason = "does not fit the device"
                    verification.refusal = verification.refusal or str(error)
                else:
                    break
            verification.drawn_again[reason] += 1
        else:
            raise UsageError(f"{PATIENCE} random programs in a row did not fit the device; "
                             f"the first: {verification.refusal}")
        yield Candidate(f"random {number}", program, rng)


def too_plain(program: Program) -> str | None:
    """Return why a random program tests too little, if it does."""
    topology = program.topology
    if len({module.kind for module in topology.modules}) < 2:
        return "one kind of module"
    if len({type(bank) for bank in topology.banks}) < 2:
        return "one kind of bank"
    if not has_cycle(topology):
        return "no cycle of modules"
    return None if is_alive(program) else "too few units that change"


def verify(
    device: Device,
    reference: Device,
    candidates: Iterator[Candidate],
    verification: Verification,
    *,
    share: int,
    total: int,
    report: Callable[[str, int, int], None],
) -> None:
    """Compare `CALLS` random calls of each candidate; stops at the first difference.

    Parameters
    ----------
    candidates
        Loaded on `device` when they come.
    verification
        What is found is added here.
    share
        Unit updates of a program, at least.
    total
        Unit updates of the whole run, for the report.
    """
    for candidate in candidates:
        program = candidate.program
        reference.load(program, force=True)
        free = sum(module.dim for module in program.topology.modules if not module.clamped)
        calls = steps = updates = 0
        saturated = Counter(dict.fromkeys(CLIP_NAMES, 0))
        difference = None
        while difference is None and calls < CALLS:
            report(candidate.name, verification.updates + updates, total)
            call = random_call(program, candidate.rng, max_rows=3)
            chains = free * len(call["h"]) * call["chains"]
            _lengthen(call, math.ceil(share / CALLS / chains))
            readout, difference = compare(
                device, reference, program, call,
                searching=lambda done, of: report("looking for the step", done, of),
            )
            calls += 1
            steps += call["steps"] + call["burn_in"]
            updates += chains * (call["steps"] + call["burn_in"])
            saturated.update(readout.saturated)
        verification.programs.append(Verified(candidate.name, program, calls, steps, updates,
                                              dict(saturated), difference))
        if difference is not None:
            return


def _lengthen(call: dict[str, Any], wanted: int) -> None:
    """Multiply steps and burn-in of a call so that it has as many as wanted, if it may."""
    factor = math.ceil(wanted / (call["steps"] + call["burn_in"]))
    call["steps"] = min(MAX_STEPS, call["steps"] * factor)
    call["burn_in"] = min(MAX_BURN_IN, call["burn_in"] * factor)

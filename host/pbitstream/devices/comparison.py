"""Two devices on the same call: whether they agree in every bit, and where they first do not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import CLIP_NAMES, Device, Readout, State
from pbitstream.program import Program

__all__ = ["Difference", "compare", "differences"]


@dataclass(frozen=True)
class Difference:
    """Where two readouts of a call first differ, and how.

    Attributes
    ----------
    quantity
        ``state``, ``noise``, ``clips``, ``sums`` or ``squares``.
    input, chain
        Of the call, counted from 0.
    place
        ``module.unit`` of a unit, ``stream n`` of a noise word, or the name of a clip counter.
    step
        The first step after which they differ, burn-in included, counted from 1; 0 if they agree
        when the call is run again; None if nobody looked.
    got, expected
        What the device and the reference hold there.
    count
        How many numbers of the quantity differ there: of the chain, if it differs alone as well.
    """

    quantity: str
    input: int
    chain: int
    place: str
    step: int | None
    got: int
    expected: int
    count: int

    def __str__(self) -> str:
        when = {None: "", 0: "; run again, the call agrees"}.get(
            self.step, f"; first after step {self.step}")
        got, expected = (f"{value:#018x}" if self.quantity == "noise" else f"{value}"
                         for value in (self.got, self.expected))
        others = f"; {self.count - 1:,} more differ" if self.count > 1 else ""
        return (f"{self.quantity} of {self.place}, input {self.input}, chain {self.chain}: "
                f"{got}, expected {expected}{when}{others}")


def compare(
    device: Device, reference: Device, program: Program, call: dict[str, Any],
    *, searching: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Readout, Difference | None]:
    """Run a call on two devices and return the reference's readout and the first difference.

    Where they differ, the call is run again with 1, 2, 4, 8 and so on of its steps until they
    differ, then the step is found by bisection: after the step before, state, noise words, counters
    and sums of all chains agreed.

    Parameters
    ----------
    device, reference
        Both with `program` loaded.
    call
        Arguments of `Device.relax`.
    searching
        Called before each of these runs with the steps it will have and those of the call.
    """
    expected = reference.relax(**call)
    found = differences(program, device.relax(**call), expected)
    if not found:
        return expected, None

    def probe(one: dict[str, Any], steps: int) -> list[Difference]:
        searching(steps, total)
        short = _shortened(one, steps)
        return [replace(difference, step=steps) for difference
                in differences(program, device.relax(**short), reference.relax(**short))]

    total = call["steps"] + call.get("burn_in", 0)
    first = found[0]
    # One chain is enough, and quicker, unless it takes the others to go wrong.
    for one, (i, c) in ((_one_chain(call, first.input, first.chain), (first.input, first.chain)),
                        (call, (0, 0))):
        again = _first_step(lambda steps, one=one: probe(one, steps), total)  # type: ignore[misc]
        if again:
            return expected, replace(again[0], input=again[0].input + i, chain=again[0].chain + c)
    return expected, replace(first, step=0)


def differences(program: Program, got: Readout, expected: Readout) -> list[Difference]:
    """Return the first place of each quantity that differs, in the order of their origin.

    A state that differs is named in the module that is updated first, since later ones follow it.
    """
    order = _update_order(program)
    units = program.topology.units
    shape = expected.sums.shape
    pairs: list[tuple[str, Any, Any]] = [
        ("state", got.state.units.reshape(shape)[..., order],
         expected.state.units.reshape(shape)[..., order]),
        ("noise", got.state.noise.reshape(*shape[:2], -1),
         expected.state.noise.reshape(*shape[:2], -1)),
        ("clips", got.clips, expected.clips),
        ("sums", got.sums[..., order], expected.sums[..., order]),
    ]
    if got.square_sums is not None and expected.square_sums is not None:
        pairs.append(("squares", got.square_sums[..., order], expected.square_sums[..., order]))
    found = []
    for quantity, one, other in pairs:
        where = np.argwhere(one != other)
        if len(where):
            i, c, n = where[0].tolist()
            if quantity == "clips":
                place = CLIP_NAMES[n]
            elif quantity == "noise":
                place = f"stream {n}"
            else:
                assert len(order) == units
                place = _unit_name(program, int(order[n]))
            found.append(Difference(quantity, i, c, place, None, int(one[i, c, n]),
                                    int(other[i, c, n]), len(where)))
    return found


def _first_step(probe: Callable[[int], list[Difference]], total: int) -> list[Difference]:
    """Return what differs after the first step that makes a difference; nothing if none does."""
    same, steps = 0, 1
    while not (found := probe(steps)):
        if steps == total:
            return []
        same, steps = steps, min(2 * steps, total)
    while steps - same > 1:
        middle = (same + steps) // 2
        if now := probe(middle):
            found, steps = now, middle
        else:
            same = middle
    return found


def _shortened(call: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return a call that ends after so many of its steps; the last of them is always averaged."""
    burn_in = min(call.get("burn_in", 0), steps - 1)
    short = {**call, "burn_in": burn_in, "steps": steps - burn_in}
    if call.get("settings") is not None:
        total = call.get("burn_in", 0) + call["steps"]
        rows = {name: np.asarray(value)[np.arange(steps) * len(value) // total]
                for name, value in vars(call["settings"]).items() if np.ndim(value) == 2}
        short["settings"] = replace(call["settings"], **rows)
    return short


def _one_chain(call: dict[str, Any], i: int, c: int) -> dict[str, Any]:
    """Return a call for one chain of one input."""
    chains = call.get("chains", 1)
    local = i * chains + c
    part = {**call, "chains": 1, "first_chain": call.get("first_chain", 0) + local}
    for name in ("h", "clamp", "gains"):
        if part.get(name) is not None and len(part[name]) > 1:
            part[name] = part[name][i : i + 1]
    if part.get("state") is not None:
        row = slice(local, local + 1)
        part["state"] = State(part["state"].units[row], part["state"].noise[row])
    return part


def _update_order(program: Program) -> NDArray[np.int64]:
    """Return the units in the order of their updates, clamped ones last."""
    topology = program.topology
    free = [module for phase in topology.phases for module in phase]
    held = [n for n, module in enumerate(topology.modules) if module.clamped]
    units = np.arange(topology.units)
    return np.concatenate([units[topology.units_of(module)] for module in (*free, *held)])


def _unit_name(program: Program, unit: int) -> str:
    topology = program.topology
    module = int(np.searchsorted(topology.starts, unit, side="right")) - 1
    return f"{topology.modules[module].name}.{unit - topology.starts[module]}"

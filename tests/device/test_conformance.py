"""The conformance suite fails every device that is wrong, and says where."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pbitstream.devices.conformance import CHECKS, Sizes, check_device
from pbitstream.devices.protocol import Readout, State
from pbitstream.devices.random_programs import random_program
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError, SpecError
from pbitstream.program import Program


def programs(count: int) -> list[Program]:
    return [random_program(np.random.default_rng([8, n]), alive=True, max_dim=20)
            for n in range(count)]


def bump(array: Any) -> Any:
    changed = array.copy()
    changed.reshape(-1)[-1] += 1
    return changed


class Wrong(Emulator):
    """An emulator whose readouts pass through `spoil`."""

    def __init__(self, spoil: Callable[[Readout, dict[str, Any]], Readout]) -> None:
        super().__init__(engine="numpy")
        self.spoil = spoil

    def relax(self, h: Any, **call: Any) -> Readout:
        return self.spoil(super().relax(h, **call), {**call, "h": h})


SPOILS: dict[str, Callable[[Readout, dict[str, Any]], Readout]] = {
    "sums": lambda r, _: replace(r, sums=bump(r.sums)),
    "square_sums": lambda r, _: r if r.square_sums is None else replace(
        r, square_sums=bump(r.square_sums)),
    "units": lambda r, _: replace(r, state=State(bump(r.state.units), r.state.noise)),
    "noise": lambda r, _: replace(r, state=State(r.state.units, bump(r.state.noise))),
    "clips": lambda r, _: replace(r, clips=bump(r.clips)),
    "mean": lambda r, _: replace(r, unit=bump(r.unit)),
    "temperature": lambda r, _: replace(r, temperature=np.where(
        np.isnan(r.temperature), r.temperature, r.temperature * 1.5 + 1)),
    "burn_in": lambda r, _: replace(r, burn_in=r.burn_in + 1),
    "dtype": lambda r, _: replace(r, sums=r.sums.astype(np.int32)),
    "moments unasked": lambda r, c: r if c.get("moments") else replace(r, square_sums=r.sums),
    "second input only": lambda r, _: r if len(r.sums) < 2 else replace(r, sums=bump(r.sums)),
}


@pytest.mark.parametrize("name", SPOILS)
def test_a_wrong_readout_is_found(name: str) -> None:
    with pytest.raises(AssertionError, match=r"^check_\w+, program [0-9a-f]{16}, call seed 1: "):
        check_device(lambda: Wrong(SPOILS[name]), programs(4))


class Remembers(Emulator):
    """An emulator that goes on from the state of the call before."""

    last: State | None = None

    def relax(self, h: Any, **call: Any) -> Readout:
        chains = len(h) * call.get("chains", 1) if np.ndim(h) == 2 else 0
        if call.get("state") is None and self.last is not None and len(self.last.units) == chains:
            call["state"] = self.last
        readout = super().relax(h, **call)
        self.last = readout.state
        return readout


class Careless(Emulator):
    """An emulator that never refuses a window."""

    def relax(self, h: Any, **call: Any) -> Readout:
        return super().relax(h, **{**call, "steps": min(max(1, call["steps"]), 9)})


class Bare(Emulator):
    """An emulator that answers without a program."""

    def reset(self) -> None:
        pass


class Scribbles(Emulator):
    """An emulator that changes its arguments."""

    def relax(self, h: Any, **call: Any) -> Readout:
        readout = super().relax(h, **call)
        if isinstance(h, np.ndarray) and h.size:
            h[...] = 0
        return readout


class LocalChains(Emulator):
    """An emulator that forgets the global chain index."""

    def relax(self, h: Any, **call: Any) -> Readout:
        first = call.get("first_chain", 0)
        return super().relax(h, **{**call, "first_chain": first if first < 1 else 1})


@pytest.mark.parametrize("kind", [Remembers, Careless, Bare, Scribbles, LocalChains])
def test_a_wrong_device_is_found(kind: type[Emulator]) -> None:
    with pytest.raises(AssertionError):
        check_device(lambda: kind(engine="numpy"), programs(4))


def test_sizes_and_checks_can_be_chosen() -> None:
    (program,) = programs(1)
    passed = check_device(lambda: Emulator(engine="numpy"), [program],
                          sizes=Sizes(steps=1, chains=1, seed=9), checks=CHECKS[:1])
    assert [p.check for p in passed] == ["check_life", "check_oracle"]
    with pytest.raises(SpecError, match=r"^programs must hold at least one program$"):
        check_device(lambda: Emulator(engine="numpy"), [])


def test_a_device_that_breaks_down_is_not_hidden() -> None:
    class Broken(Emulator):
        def relax(self, h: Any, **call: Any) -> Readout:
            if self.program is not None:
                raise DeviceError("cable out")
            return super().relax(h, **call)

    with pytest.raises(DeviceError, match=r"^cable out$"):
        check_device(lambda: Broken(engine="numpy"), programs(1))

"""One relaxation in parts, so that its progress and its error over time can be told."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import Device, Settings, State

__all__ = ["CHAINS", "Report", "Window", "checkpoints", "opened", "relax_parts"]

Values = NDArray[np.float64]
#: Called with (what is being done, steps done, of how many).
Report = Callable[[str, int, int], None]

#: Independent chains of an average; the burn-in of all of them is some per cent of the work.
CHAINS = 8
#: An average is told at this many equal parts, and where it was 2, 4, ... 2^10 times shorter.
PARTS, HALVINGS = 16, 10


@dataclass(frozen=True, eq=False)
class Window:
    """What a relaxation has come to.

    Attributes
    ----------
    steps
        Averaged so far.
    mean, square
        Moments over steps and chains, (units,).
    temperature
        What the noise codes stand for.
    saturated
        Clipped updates.
    """

    steps: int
    mean: Values
    square: Values | None
    state: State
    temperature: float
    saturated: int


def opened(device: Device | None) -> AbstractContextManager[Device]:
    """Return a device to use in a with statement: the caller's, left open, or an emulator."""
    if device is not None:
        return nullcontext(device)
    from pbitstream.emulator.device import Emulator

    return Emulator()


def checkpoints(steps: int) -> list[int]:
    """Return ascending step counts that end at `steps`."""
    equal = {steps * part // PARTS for part in range(1, PARTS + 1)}
    return sorted((equal | {steps >> halving for halving in range(HALVINGS + 1)}) - {0})


def relax_parts(
    device: Device, h: Values, ends: list[int], *, temperature: float, burn_in: int = 0,
    state: State | None = None, **call: Any,
) -> Iterator[Window]:
    """Relax the loaded module under one bias (units,) and yield the window up to every end.

    The bits of the last are those of one relaxation of ``burn_in + ends[-1]`` steps.
    """
    call["settings"] = Settings(temperature=[temperature])
    sums: NDArray[Any] = np.zeros(len(h), np.int64)
    squares: NDArray[Any] = np.zeros(len(h), np.int64)
    saturated, done = 0, 0
    for end in ends:
        out = device.relax(h[None], steps=end - done, burn_in=burn_in, state=state, **call)
        burn_in, state, done = 0, out.state, end
        count = end * out.sums.shape[1]
        sums = sums + out.sums[0].sum(axis=0)
        if out.square_sums is not None:
            squares = squares + out.square_sums[0].sum(axis=0)
        saturated += sum(out.saturated.values())
        square = None if out.square_sums is None else squares * out.unit**2 / count
        yield Window(end, sums * out.unit / count, square, out.state, float(out.temperature[0]),
                     saturated)

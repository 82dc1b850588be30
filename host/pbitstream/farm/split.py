"""A relaxation as independent parts, and their readouts as one, to the same bits.

A chain depends on nothing but its global index, so parts are runs of inputs or, of a single input,
of its chains.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pbitstream.devices.protocol import Readout, State

__all__ = ["join", "parts_of", "split"]


def parts_of(inputs: int, chains: int, group: int = 1) -> int:
    """Return into how many parts a call can be divided.

    Parts of a single input are whole groups of so many chains, which a device computes side by
    side in the time of one or a few.
    """
    return inputs if inputs > 1 else -(-chains // group)


def split(arguments: Mapping[str, Any], inputs: int, chains: int, count: int,
          group: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the keyword arguments of `Device.relax` of `count` parts, in order.

    `arguments` are those of the whole, arrays as arrays; `count` is at most `parts_of`.
    """
    pieces = parts_of(inputs, chains, group)
    group = 1 if inputs > 1 else group
    total = inputs if inputs > 1 else chains
    first = int(arguments.get("first_chain", 0))
    for number in range(count):
        low, high = (min(total, pieces * n // count * group) for n in (number, number + 1))
        part = dict(arguments)
        local = slice(low, high) if inputs == 1 else slice(low * chains, high * chains)
        part["first_chain"] = first + local.start
        if inputs == 1:
            part["chains"] = high - low
        else:
            for name in ("h", "clamp", "gains"):
                if part.get(name) is not None and len(part[name]) == inputs:
                    part[name] = part[name][low:high]
        if part.get("state") is not None:
            part["state"] = State(part["state"].units[local], part["state"].noise[local])
        yield part


def join(readouts: Sequence[Readout], inputs: int) -> Readout:
    """Return the readout of the whole from those of its parts, in order."""
    first = readouts[0]
    axis = 0 if inputs > 1 else 1

    def whole(name: str) -> Any:
        values = [getattr(readout, name) for readout in readouts]
        return None if values[0] is None else np.concatenate(values, axis=axis)

    return replace(
        first,
        **{name: whole(name) for name in ("sums", "square_sums", "clips")},
        state=State(np.concatenate([r.state.units for r in readouts]),
                    np.concatenate([r.state.noise for r in readouts])),
        held=np.concatenate([r.held for r in readouts]) if inputs > 1 else first.held,
        rounding=max(readout.rounding for readout in readouts),
    )

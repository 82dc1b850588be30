"""A relaxation as independent parts, and their readouts as one, to the same bits.

A chain depends on nothing but its global index, so parts are runs of inputs or, of a single input,
of its chains.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from pbitstream.devices.protocol import Readout, State

__all__ = ["join", "pieces_of", "sizes_of", "split"]


def pieces_of(inputs: int, chains: int, group: int = 1) -> int:
    """Return how many pieces a call has, which parts are made of.

    A piece is an input or, of a single one, a group of so many chains, which a device computes side
    by side in the time of one or a few.
    """
    return inputs if inputs > 1 else -(-chains // group)


def sizes_of(pieces: int, devices: int, least: int, most: int) -> list[int]:
    """Return sizes of parts, in pieces: long ones first, then ever shorter ones.

    None is longer than what is left for a device, so that all end together; save that none but the
    last is shorter than `least`.
    """
    sizes: list[int] = []
    while pieces:
        sizes.append(min(max(pieces // devices, least), most, pieces))
        pieces -= sizes[-1]
    return sizes


def split(arguments: Mapping[str, Any], inputs: int, chains: int, sizes: Sequence[int],
          group: int = 1) -> Iterator[dict[str, Any]]:
    """Yield the keyword arguments of `Device.relax` of parts of these sizes, in order.

    `arguments` are those of the whole, arrays as arrays; `sizes` add up to `pieces_of`.
    """
    group = 1 if inputs > 1 else group
    total = inputs if inputs > 1 else chains
    first = int(arguments.get("first_chain", 0))
    for low, high in pairwise(min(total, group * end) for end in accumulate(sizes, initial=0)):
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

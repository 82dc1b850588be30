"""In which order a board does the work of a step, so that its multipliers seldom wait.

Fixed is the order of the row updates: phases in program order, modules of a phase ascending, as the
noise demands. Free is when each projection is computed: early enough for its result to be there,
late enough for the states it reads. What a pass reads stays the same until the step ends, because
the exposed states have two copies.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from pbitstream.devices.board.layout import BandPass, Layout, LowRankPass
from pbitstream.spec.topology import Topology

__all__ = ["Group", "Order", "copy_read", "orders"]


@dataclass(frozen=True)
class Group:
    """The field of a module row by row, and the updates of its rows."""

    module: int
    passes: tuple[BandPass | LowRankPass, ...]


#: All work of a step: projections, and a group per module after the projections that it needs.
Order: TypeAlias = tuple[LowRankPass | Group, ...]


def copy_read(topology: Topology, item: LowRankPass | BandPass) -> str:
    """Return which copy of its source's states a pass reads, a name of `COPIES`."""
    if topology.modules[item.source].clamped:
        return "fixed"
    phase = _phases(topology)
    return "new" if phase[item.source] < phase[item.target] else "old"


def orders(topology: Topology, layout: Layout) -> Iterator[Order]:
    """Yield orders of which one should be fast, for images with few lanes and with many.

    Before each group stand its projections and those for the next 0, 1, 2, 4, ... of its phase.
    """
    # A band reads states that are mostly long there; results are the later the better.
    passes: list[BandPass | LowRankPass] = [*layout.bands, *layout.low_rank]
    groups = [Group(m, tuple(p for p in passes if p.target == m))
              for phase in topology.phases for m in phase]
    longest = max(map(len, topology.phases))
    for ahead in (0, *(1 << n for n in range(longest.bit_length()))):
        yield _running(topology, layout, groups, min(ahead, longest - 1))


def _running(topology: Topology, layout: Layout, groups: list[Group], ahead: int) -> Order:
    """Return the order in which projections run so many groups ahead."""
    phase = _phases(topology)
    position = {group.module: index for index, group in enumerate(groups)}
    age = {"fixed": 2 * len(groups), "old": len(groups), "new": 0}

    def updated(item: LowRankPass) -> int:
        return position.get(item.source, 0) - age[copy_read(topology, item)]

    left = list(layout.low_rank)
    order: list[LowRankPass | Group] = []
    for index, group in enumerate(groups):
        now = [p for p in left if position[p.target] <= index + ahead
               and phase[p.target] == phase[group.module]]
        # Sources that were updated last come last.
        now.sort(key=updated)
        order += [*now, group]
        left = [p for p in left if p not in now]
    return tuple(order)


def _phases(topology: Topology) -> dict[int, int]:
    """Return the number of each free module's phase."""
    return {m: number for number, phase in enumerate(topology.phases) for m in phase}

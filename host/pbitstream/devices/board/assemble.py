"""From the order of a step to the instructions of a board, with what each of them waits for."""

from pbitstream.devices.board.layout import Layout, LowRankPass
from pbitstream.devices.board.schedule import Group, Order, copy_read
from pbitstream.spec.image import Image
from pbitstream.spec.instructions import COMMON, COPIES, encode
from pbitstream.spec.topology import Topology

__all__ = ["NEVER", "assemble"]

#: A `wait` that is always reached: more rows than can be under way.
NEVER = -(1 << COMMON["wait"] - 1)


def assemble(topology: Topology, layout: Layout, image: Image, order: Order) -> tuple[int, ...]:
    """Return the words of the prologue and of a step.

    Counted from the start of a step, row update n is written when the count of written rows reaches
    n + 1; the one of the step before, when it reaches n + 1 less the rows of a step.
    """
    ends: dict[int, int] = {}
    total = 0
    for module in (work.module for work in order if isinstance(work, Group)):
        total += layout.rows[module].count
        ends[module] = total
    waits = {"fixed": {}, "old": {m: end - total for m, end in ends.items()}, "new": ends}

    words = _prologue(topology, layout)
    projected = 0
    results: dict[int, int] = {}
    for work in order:
        if isinstance(work, LowRankPass):
            rows, copy = layout.rows[work.source], copy_read(topology, work)
            words.append(encode(
                "project", copy=COPIES[copy], wait=waits[copy].get(work.source, NEVER),
                table=work.near, row=rows.first, rows=rows.count, count=work.rank, gain=work.gain,
                result=work.result, shift_z=work.shift_z, shift_u=work.shift_u))
            projected += work.rank
            results[work.result] = projected
            continue
        rows, first = layout.rows[work.module], len(words)
        for item in work.passes:
            clear = int(len(words) == first)
            if isinstance(item, LowRankPass):
                words.append(encode(
                    "expand", clear=clear, wait=NEVER, table=item.far, rows=rows.count,
                    count=item.rank, result=item.result, wait_results=results[item.result]))
            else:
                row, rotate = divmod(item.offset, image.lanes)
                copy = copy_read(topology, item)
                words.append(encode(
                    "band", copy=COPIES[copy], clear=clear,
                    wait=waits[copy].get(item.source, NEVER), table=item.table,
                    row=(layout.rows[item.source].first + row) % image.rows, rotate=rotate))
        words.append(_update(
            topology, layout, work.module, group=first, clear=int(not work.passes),
            wait=waits["old"][work.module], last=int(work is order[-1])))
    return tuple(words)


def _prologue(topology: Topology, layout: Layout) -> list[int]:
    """Return one update per module, clamped ones too, that gives it its first state."""
    count = len(topology.modules)
    return [_update(topology, layout, m, group=m, clear=1, wait=NEVER, init=1,
                    last=int(m == count - 1)) for m in range(count)]


def _update(topology: Topology, layout: Layout, module: int, **values: int) -> int:
    rows = layout.rows[module]
    return encode("update", module=module, dim=topology.modules[module].dim, row=rows.first,
                  rows=rows.count, **values)

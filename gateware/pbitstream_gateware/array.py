"""The lanes side by side: rotator before them, adder tree behind them, fields to the pipes."""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.timing import (
    CLEAR_STAGE,
    OPERAND_STAGE,
    RESULTS_STAGE,
    RING,
    ROTATE_STAGES,
    SUM_STAGE,
    TABLE_STAGE,
    TREE_STAGES,
)
from pbitstream.spec.words import EXPOSED, PROJECTION_BITS
from pbitstream_gateware.lane import ACCUMULATOR_BITS, Lane
from pbitstream_gateware.pipeline import delayed
from pbitstream_gateware.ports import WINDOW_LATENCY, WindowPort
from pbitstream_gateware.windows import window_base

__all__ = ["Issue", "LaneArray", "fold"]


class Issue(data.StructLayout):
    """What the sequencer says to the lanes in a cycle; a cycle without work has only `broadcast`.

    `broadcast` takes the operand from the results (at `result`, 0 unless `expand`), else from the
    exposed states at `copy` and `row`, rotated by `rotate`. `clear` starts a sum, `project` ends
    one that goes to the projection unit, `update` one that goes to the ring.
    """

    def __init__(self, image: Image) -> None:
        super().__init__({
            "broadcast": unsigned(1),
            "expand": unsigned(1),
            "clear": unsigned(1),
            "project": unsigned(1),
            "update": unsigned(1),
            "copy": unsigned(1),
            "row": unsigned(ceil_log2(image.rows)),
            "rotate": unsigned(ceil_log2(image.lanes)),
            "table": unsigned(ceil_log2(image.max_rank_words)),
        })


def fold(m: Module, values: Sequence[Value], stages: int, levels: int = 2) -> Value:
    """Return the sum of signed values, so many levels of adders per cycle, `stages` cycles late."""
    values = list(values)
    for stage in range(stages):
        for _ in range(levels):
            if len(values) > 1:
                values = [a + b for a, b in zip(values[::2], values[1::2])]
        registers = [Signal(v.shape(), name=f"tree_{stage}_{i}", reset_less=True)
                     for i, v in enumerate(values)]
        m.d.sync += [register.eq(v) for register, v in zip(registers, values)]
        values = list(registers)
    assert len(values) == 1, "too few stages"
    return values[0]


class LaneArray(wiring.Component):
    """All lanes of an image.

    An image without band banks has no rotator, one without low-rank banks no adder tree.

    Members
    -------
    issue
        What to do; see `Issue`. Stage 0 is the cycle in which it stands here.
    result
        The value to broadcast, at stage RESULTS_STAGE.
    page
        The active page of the tables.
    idle, host
        The window on the tables; the host reads while idle.
    total
        Sum over lanes and rows of a projection, at stage SUM_STAGE + TREE_STAGES.
    slot
        Ring slot of the row of an ``update``, at stage SUM_STAGE.
    take, take_lane, fields
        One field per pipe, of ring slot `take` and lane `take_lane` of the pipe's lanes; two cycles
        late. `take` holds still for a whole row.
    expose, expose_row, expose_lane, expose_data
        Per pipe: store an exposed state in a lane of the pipe; `expose_row` has the copy in its
        top bit. Written one cycle later.

    Timing
    ------
    Stages as in `pbitstream.spec.timing`: exposed states are read at stage 1, rotated in stages 2
    to 5, multiplied in 6 and 7, summed at 8. A new issue every cycle.

    Numerics
    --------
    Exact; see `Lane`. A total fits s32 because a projection does.
    """

    def __init__(self, image: Image) -> None:
        self.image = image
        per_pipe = image.lanes // image.pipes
        rows = ceil_log2(image.rows)
        super().__init__({
            "issue": In(Issue(image)),
            "result": In(signed(PROJECTION_BITS)),
            "page": In(1),
            "idle": In(1),
            "host": In(WindowPort()),
            "total": Out(signed(ACCUMULATOR_BITS)),
            "slot": In(ceil_log2(RING)),
            "take": In(ceil_log2(RING)),
            "take_lane": In(ceil_log2(per_pipe)),
            "fields": Out(signed(ACCUMULATOR_BITS)).array(image.pipes),
            "expose": In(1).array(image.pipes),
            "expose_row": In(rows + 1),
            "expose_lane": In(ceil_log2(per_pipe)),
            "expose_data": In(signed(EXPOSED.bits)).array(image.pipes),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        image = self.image
        lanes = [Lane(image, index) for index in range(image.lanes)]
        for index, lane in enumerate(lanes):
            m.submodules[f"lane{index}"] = lane

        issue = self.issue
        row = Cat(issue.row, issue.copy)
        operands = self._rotate(m, [lane.exposed for lane in lanes], delayed(m, issue.rotate, 2))
        broadcast = delayed(m, issue.broadcast, OPERAND_STAGE - 1, "broadcast")
        expand = delayed(m, issue.expand, RESULTS_STAGE, "expand")
        result = Signal(signed(PROJECTION_BITS), reset_less=True)
        m.d.sync += result.eq(Mux(expand, self.result, 0))
        table = delayed(m, Cat(issue.table, self.page), TABLE_STAGE, "table")
        clear = delayed(m, issue.clear, CLEAR_STAGE, "clear")
        push = delayed(m, issue.update, SUM_STAGE, "push")
        for lane, operand in zip(lanes, operands):
            m.d.comb += [
                lane.row.eq(row),
                lane.rotate.eq(issue.rotate),
                lane.rotated.eq(operand),
                lane.results.eq(result),
                lane.broadcast.eq(broadcast),
                lane.clear.eq(clear),
                lane.push.eq(push),
                lane.slot.eq(self.slot),
                lane.take.eq(self.take),
            ]
        if "low-rank" in image.kinds:
            m.d.comb += self.total.eq(fold(m, [lane.sum for lane in lanes], TREE_STAGES))
        self._window(m, lanes, table)
        self._pipes(m, lanes)
        return m

    def _rotate(self, m: Module, values: list[Value], amount: Value) -> list[Value]:
        """Return the values moved down by `amount` lanes, two bits of it per cycle.

        The bits of the last stage are applied without a register: the operand's register follows.
        """
        count, bits = len(values), len(amount)
        for stage in range(ROTATE_STAGES):
            part = amount[2 * stage : 2 * stage + 2]
            if len(part) and "band" in self.image.kinds:
                choices = [Array(values[(i + (step << 2 * stage)) % count]
                                 for step in range(1 << len(part))) for i in range(count)]
                values = [choice[part] for choice in choices]
            if stage == ROTATE_STAGES - 1:
                break
            registers = [Signal(signed(EXPOSED.bits), name=f"rotated_{stage}_{i}", reset_less=True)
                         for i in range(count)]
            m.d.sync += [register.eq(v) for register, v in zip(registers, values)]
            values, amount = list(registers), delayed(m, amount, 1, f"rotate_{stage}")
        assert bits <= 2 * ROTATE_STAGES
        return values

    def _window(self, m: Module, lanes: list[Lane], table: Value) -> None:
        """Let the host store table words, two lanes per word, and read them back while idle."""
        image, host = self.image, self.host
        pair_bits = ceil_log2(image.lanes // 2)
        offset = Signal(range(image.max_rank_words * image.lanes // 2))
        hit, store, word = Signal(), Signal(), Signal(32)
        base, span = window_base("tables"), len(offset)
        m.d.sync += [
            offset.eq(host.address),
            hit.eq(host.address[span:] == base >> span),
            store.eq(host.write),
            word.eq(host.data),
        ]
        pair = offset[:pair_bits]
        address = Cat(offset[pair_bits:], ~self.page)
        for index, lane in enumerate(lanes):
            m.d.comb += [
                lane.table.eq(Mux(self.idle, address, table)),
                lane.look.eq(self.idle),
                lane.store.eq(hit & store & (pair == index // 2)),
                lane.store_address.eq(address),
                lane.store_data.eq(word.word_select(index % 2, 16)),
            ]
        # Three cycles from the broadcast to the words, two more to choose among lanes.
        assert WINDOW_LATENCY == 5
        pair_late, hit_late = delayed(m, pair, 2, "pair"), delayed(m, hit, 4, "hit")
        halves = [_choose(m, [lane.word for lane in lanes[parity::2]], pair_late)
                  for parity in (0, 1)]
        m.d.comb += host.read.eq(Mux(hit_late, Cat(*halves), 0))

    def _pipes(self, m: Module, lanes: list[Lane]) -> None:
        image = self.image
        per_pipe = image.lanes // image.pipes
        row, lane_number = delayed(m, self.expose_row, 1), delayed(m, self.expose_lane, 1)
        for pipe in range(image.pipes):
            own = lanes[pipe * per_pipe : (pipe + 1) * per_pipe]
            enable = Signal()
            m.d.sync += enable.eq(self.expose[pipe])
            exposed = delayed(m, self.expose_data[pipe], 1)
            m.d.comb += self.fields[pipe].eq(
                _choose(m, [lane.field for lane in own], self.take_lane))
            for index, lane in enumerate(own):
                m.d.comb += [
                    lane.expose.eq(enable & (lane_number == index)),
                    lane.expose_row.eq(row),
                    lane.expose_data.eq(exposed),
                ]


def _choose(m: Module, values: list[Value], index: Value) -> Value:
    """Return one of up to 64 values two cycles later: eight groups first, then among them."""
    low, high = index[:3], delayed(m, index[3:], 1) if len(index) > 3 else Const(0, 1)
    groups = []
    for start in range(0, len(values), 8):
        register = Signal.like(values[start], reset_less=True, name=f"group{start // 8}")
        m.d.sync += register.eq(Array(values[start : start + 8])[low])
        groups.append(register)
    chosen = Signal.like(values[0], reset_less=True, name="chosen")
    m.d.sync += chosen.eq(Array(groups)[high] if len(groups) > 1 else groups[0])
    return chosen

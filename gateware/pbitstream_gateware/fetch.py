"""The fetch: keeps the next instruction at hand, so that one can follow another without a gap."""

from typing import Any

from amaranth.hdl import Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.image import Image
from pbitstream.spec.instructions import COMMON, KIND_FIELDS, SIGNED
from pbitstream_gateware.memory import WindowMemory
from pbitstream_gateware.ports import WindowPort

__all__ = ["INSTRUCTION_BITS", "Fetch", "Instruction"]

INSTRUCTION_BITS = 128


def _layout(fields: dict[str, int]) -> data.StructLayout:
    return data.StructLayout({name: Shape(bits, signed=name in SIGNED)
                              for name, bits in fields.items()})


class Instruction(data.StructLayout):
    """An instruction word: the common fields, then the fields of its kind."""

    def __init__(self) -> None:
        common = _layout(COMMON)
        super().__init__({
            "common": common,
            "spare": unsigned(INSTRUCTION_BITS // 2 - common.size),
            "of": data.UnionLayout({kind: _layout(fields)
                                    for kind, fields in KIND_FIELDS.items()}),
        })


class Fetch(wiring.Component):
    """Instruction memory, the instruction at hand and the one after it.

    Parameters
    ----------
    image
        What the design holds.
    store
        The memory; a proof puts one without contents in its place.

    Members
    -------
    held, word, address
        Whether an instruction is at hand, which one, and where it stands.
    take, upcoming
        What `upcoming` shows is at hand in the next cycle.
    fresh
        High while the instruction at hand has not been stepped.
    step, done
        The instruction at hand issues; it does so for the last time.
    jump, target
        Drop it and go on from `target`; wins over `done`.
    page, idle, host
        The window on the instructions. The caller holds `jump` while idle.

    Timing
    ------
    After `done` the next instruction is at hand in the next cycle, after `jump` two cycles later.
    Held `jump` keeps nothing at hand. `done` and `jump` come late in the cycle, and only choose
    among addresses that are known before.
    """

    def __init__(self, image: Image, store: WindowMemory | None = None) -> None:
        self.store = store or WindowMemory(
            "instructions", unsigned(INSTRUCTION_BITS), image.max_instructions, pages=2, lends=True)
        address = ceil_log2(image.max_instructions)
        super().__init__({
            "held": Out(1),
            "word": Out(Instruction()),
            "address": Out(address),
            "take": Out(1),
            "upcoming": Out(Instruction()),
            "fresh": Out(1),
            "step": In(1),
            "done": In(1),
            "jump": In(1),
            "target": In(address),
            "page": In(1),
            "idle": In(1),
            "host": In(WindowPort()),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.store = store = self.store
        wiring.connect(m, wiring.flipped(self.host), store.host)
        # `shown_address` is that of the instruction which the memory shows, after which come the
        # one that is upcoming and the one at hand.
        shown_address, shown = Signal.like(self.address), Signal()
        upcoming, word = (Signal(Instruction(), reset_less=True) for _ in range(2))
        upcoming_address, follows, advance = Signal.like(self.address), Signal(), Signal()
        take, stepped = self.take, Signal()
        following = shown_address + 1
        unless_done = Mux(shown & (~follows | ~self.held), following, shown_address)
        if_done = Mux(shown, following, shown_address)
        m.d.comb += [
            store.page.eq(self.page),
            store.idle.eq(self.idle),
            take.eq(follows & (~self.held | self.done)),
            advance.eq(shown & (~follows | take)),
            store.address.eq(Mux(self.jump, Mux(self.idle, store.index, self.target),
                                 Mux(self.done, if_done, unless_done))),
            self.word.eq(word),
            self.upcoming.eq(upcoming),
            self.fresh.eq(~stepped),
        ]
        m.d.sync += [
            shown_address.eq(store.address),
            shown.eq(1),
            stepped.eq((stepped | self.step) & ~take),
        ]
        with m.If(advance):
            m.d.sync += [upcoming.eq(store.data), upcoming_address.eq(shown_address),
                         follows.eq(1)]
        with m.Elif(take):
            m.d.sync += follows.eq(0)
        with m.If(take):
            m.d.sync += [word.eq(upcoming), self.address.eq(upcoming_address), self.held.eq(1)]
        with m.Elif(self.done):
            m.d.sync += self.held.eq(0)
        with m.If(self.jump):
            m.d.sync += [self.held.eq(0), follows.eq(0)]
        return m

"""Memories that the design works on and the host sees through a window."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from pbitstream.spec.registers import OTHER_PAGE
from pbitstream_gateware.pipeline import delayed
from pbitstream_gateware.ports import WINDOW_LATENCY, WindowPort
from pbitstream_gateware.windows import window_base

__all__ = ["ReadoutMemory", "WindowMemory"]


class WindowMemory(wiring.Component):
    """One read port and one write port, both shared with the host.

    Parameters
    ----------
    window
        Name of the window it shows.
    shape
        Shape of an entry, at most 128 bits; the host sees whole words, sign-extended.
    depth
        Entries of a page.
    pages
        1: the host reads and writes it while the design is `idle`. 2: the host reads and writes the
        page that is not `page`, and may write at any time.
    part, parts, lane_bits
        This memory holds the entries of one update pipe of several: bits `lane_bits` and up of an
        entry's index in the window number the pipe.
    lends
        Two pages: while `idle`, the design gives `index` as its address, so that nothing stands
        between an address that comes late in the cycle and the memory.

    Members
    -------
    host
        The window port.
    idle
        The read port is the host's.
    index
        The entry that the host looks at.
    page
        The page that the design reads, if there are two.
    address, data
        The design's read port.
    write, write_address, write_data
        The design's write port, if there is one page; it may write while not `idle`.

    Timing
    ------
    `data` follows `address` by one cycle. A write is seen by reads of later cycles.
    """

    def __init__(
        self, window: str, shape: Shape, depth: int, *, pages: int = 1, part: int = 0,
        parts: int = 1, lane_bits: int = 0, lends: bool = False,
    ) -> None:
        self.window, self.shape, self.depth, self.pages = window, shape, depth, pages
        self.part, self.parts, self.lane_bits, self.lends = part, parts, lane_bits, lends
        ports: dict[str, Any] = {
            "host": In(WindowPort()),
            "idle": In(1),
            "index": Out(ceil_log2(depth)),
            "address": In(ceil_log2(depth)),
            "data": Out(shape),
        }
        if pages == 2:
            ports["page"] = In(1)
        else:
            ports |= {"write": In(1), "write_address": In(ceil_log2(depth)),
                      "write_data": In(shape)}
        super().__init__(ports)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        width, depth = self.shape.width, self.depth
        words = -(-width // 32)
        word_bits, part_bits, depth_bits = ceil_log2(words), ceil_log2(self.parts), ceil_log2(depth)
        base = window_base(self.window)

        # The host's side, a cycle after the broadcast.
        offset = Signal(range(depth * words * self.parts))
        hit, store = Signal(), Signal()
        data = Signal(32)
        entry = offset[word_bits:]
        index = Cat(entry[: self.lane_bits], entry[self.lane_bits + part_bits :])
        own = entry[self.lane_bits :][:part_bits] == self.part if part_bits else Const(1)
        span = len(offset)
        m.d.sync += [
            offset.eq(self.host.address),
            hit.eq(self.host.address[span:] == base >> span),
            store.eq(self.host.write),
            data.eq(self.host.data),
        ]
        mine = Signal()
        m.d.comb += [mine.eq(hit & own), self.index.eq(index)]
        if self.pages == 2:
            index = Cat(index, ~self.page)

        granularity = 32 if words > 1 and width % 32 == 0 else None
        store_shape = unsigned(width) if granularity else self.shape
        m.submodules.memory = cells = memory.Memory(
            shape=store_shape, depth=depth * self.pages, init=[])
        read = cells.read_port()
        write = cells.write_port(granularity=granularity)
        address = Cat(self.address, self.page) if self.pages == 2 else self.address
        if self.lends:
            m.d.comb += read.addr.eq(Cat(self.address, self.page ^ self.idle))
        else:
            m.d.comb += read.addr.eq(Mux(self.idle, index, address))
        m.d.comb += self.data.eq(read.data)
        enable = mine & store
        if granularity:
            select = offset[:word_bits]
            m.d.comb += write.en.eq(Mux(enable, 1 << select, 0))
            m.d.comb += [write.addr.eq(index), write.data.eq(data.replicate(words))]
        elif self.pages == 2:
            m.d.comb += [write.en.eq(enable), write.addr.eq(index), write.data.eq(data)]
        else:
            m.d.comb += [
                write.en.eq(Mux(self.idle, enable & (words == 1), self.write)),
                write.addr.eq(Mux(self.idle, index, self.write_address)),
                write.data.eq(Mux(self.idle, data, self.write_data)),
            ]
        assert len(write.addr) == depth_bits + self.pages - 1

        # The answer: three cycles from the broadcast to the entry in a register, then its word.
        whole = Signal(signed(32 * words) if self.shape.signed else 32 * words)
        answer = Signal(32, reset_less=True)
        m.d.comb += whole.eq(delayed(m, read.data, 1, "entry"))
        chosen = whole.as_unsigned()
        if words > 1:
            chosen = chosen.word_select(delayed(m, offset[:word_bits], 2), 32)
        m.d.sync += answer.eq(Mux(delayed(m, mine, 2), chosen, 0))
        m.d.comb += self.host.read.eq(delayed(m, answer, WINDOW_LATENCY - 4))
        return m


class ReadoutMemory(wiring.Component):
    """A readout window: two memories that are pages, of which a relaxation works in one.

    Parameters
    ----------
    window, shape, depth, part
        See `WindowMemory`; `depth` entries a page.

    Members
    -------
    host
        The window port. The host reads and writes the page that is not `page` at any time, at
        OTHER_PAGE, and the page that is while the design is `idle`.
    idle, page
        Whether the design is at rest, and where it works otherwise.
    address, data, write, write_address, write_data
        As of a `WindowMemory`.
    """

    def __init__(self, window: str, shape: Shape, depth: int, **part: Any) -> None:
        self.pages = [WindowMemory(window, shape, depth, **part) for _ in range(2)]
        self.shape = shape
        super().__init__({
            "host": In(WindowPort()),
            "idle": In(1),
            "page": In(1),
            "address": In(ceil_log2(depth)),
            "data": Out(shape),
            "write": In(1),
            "write_address": In(ceil_log2(depth)),
            "write_data": In(shape),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        for number, page in enumerate(self.pages):
            m.submodules[f"page{number}"] = page
            works = self.page == number
            m.d.comb += [
                page.idle.eq(self.idle | ~works),
                # What the host means by an address is a page's own at one of two places.
                page.host.address.eq(self.host.address ^ Mux(works, 0, OTHER_PAGE // 4)),
                page.host.write.eq(self.host.write),
                page.host.data.eq(self.host.data),
                page.address.eq(self.address),
                page.write.eq(self.write),
                page.write_address.eq(self.write_address),
                page.write_data.eq(self.write_data),
            ]
        m.d.comb += [
            self.data.eq(Mux(self.page, self.pages[1].data, self.pages[0].data)),
            self.host.read.eq(self.pages[0].host.read | self.pages[1].host.read),
        ]
        return m

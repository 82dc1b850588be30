"""The registers of a board: what the host's bus reaches, generated from the spec's map."""

from dataclasses import asdict
from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.image import Image
from pbitstream.spec.registers import MAGIC, REGISTERS, RESPONSE_CYCLES, UNMAPPED, Register
from pbitstream_gateware.ports import WINDOW_LATENCY, Bus, WindowPort
from pbitstream_gateware.windows import in_other_page, in_windows

__all__ = ["RegisterBank", "Strobe"]

WORD_BITS = 32


class Strobe(wiring.Signature):
    """What a register with access w gives: `data`, in the cycles with `strobe`."""

    def __init__(self) -> None:
        super().__init__({"strobe": Out(1), "data": Out(WORD_BITS)})


class RegisterBank(wiring.Component):
    """Answer the host: registers here, windows through the window port.

    Parameters
    ----------
    image
        What the design holds; fills the registers that describe it.
    digest
        The register `spec_digest`.

    Attributes
    ----------
    counters
        What the registers with access rs hold, by name.

    Members
    -------
    bus
        The host's requests.
    window
        The window port. Its address is the bus's, at all times.
    busy, checking
        A relaxation or a table check runs; a table check is pending or runs. While busy, windows
        read as UNMAPPED and writes to readout windows are ignored, but not so their other pages;
        while checking those read as UNMAPPED too. High no later than in the cycle after the strobe
        that begins it.
    steps, seed, ... (access rw)
        Out, 32 bits per word of the register; 0 at reset.
    control, commit (access w)
        Out `Strobe`: what was written, once.
    status, clips, ... (access r, unless the image or the spec knows the value)
        In, 32 bits per word. A value of several words is read word by word: its source holds it
        still while the board is idle.
    link_errors (access rs)
        In, one bit per word: each cycle with it is counted, up to 2^32 - 1; a write clears the bits
        that it sets, and loses no event of its cycle.

    Timing
    ------
    `ack` comes two cycles after `valid`, and WINDOW_LATENCY + 1 cycles after it for a word of a
    window, whatever else goes on; a new request may follow `ack` at once. A write takes effect with
    `ack`: registers change, strobes and the window port's `write` are high, in that cycle.
    """

    def __init__(self, image: Image, digest: int) -> None:
        self.image = image
        self.constants = asdict(image) | {
            "magic": MAGIC, "spec_digest": digest, "kinds": image.kinds_code}
        ports: dict[str, Any] = {"bus": In(Bus()), "window": Out(WindowPort()), "busy": In(1),
                                 "checking": In(1)}
        for register in REGISTERS:
            if register.name not in self.constants:
                ports[register.name] = {
                    "r": In(WORD_BITS * register.words),
                    "rw": Out(WORD_BITS * register.words),
                    "w": Out(Strobe()),
                    "rs": In(register.words),
                }[register.access]
        super().__init__(ports)
        self.counters = {register.name: Signal(WORD_BITS * register.words, name=register.name)
                         for register in REGISTERS if register.access == "rs"}

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        assert WINDOW_LATENCY + 2 < RESPONSE_CYCLES
        bus, window, image = self.bus, self.window, self.image
        words = [(register, word) for register in REGISTERS for word in range(register.words)]
        # A cycle to decode, since the address may come from afar; then cycles until the answer, the
        # last of which is `ack`.
        decoded, left = Signal(), Signal(range(WINDOW_LATENCY + 2))
        selected = Signal(len(words))
        table, readout, other = Signal(), Signal(), Signal()
        readable, store = Signal(), Signal()
        m.d.sync += [
            decoded.eq(bus.valid & ~decoded & (left == 0)),
            selected.eq(Cat(bus.address == register.address // 4 + word
                            for register, word in words)),
            table.eq(in_windows(bus.address, image, "shadow", "page")),
            readout.eq(in_windows(bus.address, image, "readout")),
            other.eq(in_other_page(bus.address, image)),
        ]
        m.d.comb += [
            readable.eq((table | readout) & ~self.busy | other & ~self.checking),
            bus.ack.eq(left == 1),
            store.eq(bus.ack & bus.write),
            window.address.eq(bus.address),
            window.data.eq(bus.data),
            window.write.eq(store & (table | other | readout & ~self.busy)),
        ]
        values = []
        for register in REGISTERS:
            bits = [hit for hit, (of, _) in zip(selected, words) if of is register]
            value = self._value(m, register, [store & hit for hit in bits])
            values += [value.word_select(word, WORD_BITS) for word in range(register.words)]
        here = reduce(or_, (Mux(hit, value, 0) for hit, value in zip(selected, values)))
        with m.If(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif(decoded):
            m.d.sync += [
                left.eq(Mux(~bus.write & readable, WINDOW_LATENCY, 1)),
                bus.read.eq(Mux(selected.any(), here, UNMAPPED)),
            ]
        with m.If(left == 2):
            m.d.sync += bus.read.eq(window.read)
        return m

    def _value(self, m: Module, register: Register, written: list[Value]) -> Value:
        """Return what a register reads as, and let writes of its words through to it."""
        bits = WORD_BITS * register.words
        if register.name in self.constants:
            return Const(self.constants[register.name], bits)
        port = getattr(self, register.name)
        if register.access == "r":
            return port
        if register.access == "w":
            m.d.comb += [port.strobe.eq(written[0]), port.data.eq(self.bus.data)]
            return Const(0, bits)
        if register.access == "rw":
            for word, write in enumerate(written):
                with m.If(write):
                    m.d.sync += port.word_select(word, WORD_BITS).eq(self.bus.data)
            return port
        counts = self.counters[register.name]
        for word, (write, event) in enumerate(zip(written, port)):
            count = counts.word_select(word, WORD_BITS)
            kept = count & ~Mux(write, self.bus.data, 0)
            m.d.sync += count.eq(kept + (event & ~kept.all()))
        return counts

"""The p-bit unit: a field becomes a probability, and a random number decides."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.instructions import MODULE
from pbitstream.spec.noise import FIELD_BITS
from pbitstream.spec.sigmoid import THRESHOLD_BITS, THRESHOLD_STEP_BITS, THRESHOLDS, sigmoid_table
from pbitstream.spec.timing import UNIT_STAGES, WORD_STAGE
from pbitstream.spec.words import BETA, FIELD_FRACTIONS, PBIT_INPUT
from pbitstream_gateware.fixed import rhu, sat, shifts
from pbitstream_gateware.lane import ACCUMULATOR_BITS
from pbitstream_gateware.pipeline import delayed, register

__all__ = ["PbitUnit"]


class PbitUnit(wiring.Component):
    """m' = +1 if w < U(beta y) else -1, y the field rounded and clipped to 18 bits.

    Members
    -------
    field, fraction, beta
        The field with its bias, (F - 16) / 2 and beta of the module.
    number
        The random number w, WORD_STAGE cycles later.
    after
        1 for m' = +1, UNIT_STAGES cycles later.
    clip
        Whether y was clipped; together with `after`.

    Timing
    ------
    One unit per cycle, no stalls. The threshold table is a block RAM.

    Numerics
    --------
    Section 6 of numerics. Twin: `Chain.pbit` of the oracle.
    """

    def __init__(self) -> None:
        super().__init__({
            "field": In(signed(ACCUMULATOR_BITS)),
            "fraction": In(MODULE["fraction"]),
            "beta": In(BETA.bits),
            "number": In(FIELD_BITS),
            "after": Out(1),
            "clip": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()

        rounded = register(m,
            shifts(self.field, self.fraction, [f - PBIT_INPUT.fraction for f in FIELD_FRACTIONS]),
            "rounded", signed(ACCUMULATOR_BITS))
        narrow, clipped = sat(rounded, PBIT_INPUT.bits)
        y = register(m, narrow, "y", signed(PBIT_INPUT.bits))
        clip = register(m, clipped, "clipped")
        beta = delayed(m, self.beta, 2, "beta")
        p = delayed(m, register(m, y * beta, "p", signed(PBIT_INPUT.bits + BETA.bits)), 1, "p")

        # The fold at 0: P(+ | f) + P(+ | -f) = 1 exactly.
        negative = Signal()
        m.d.comb += negative.eq(p < 0)
        size = register(m, Mux(negative, -p, p), "size", unsigned(PBIT_INPUT.bits + BETA.bits - 1))
        step = PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS
        index = rhu(size, step)
        j = register(m, Mux(index >= THRESHOLDS, THRESHOLDS - 1, index), "j", range(THRESHOLDS))
        m.submodules.table = table = memory.Memory(
            shape=unsigned(THRESHOLD_BITS), depth=THRESHOLDS, init=sigmoid_table())
        read = table.read_port()
        m.d.comb += read.addr.eq(j)
        entry = delayed(m, read.data, 1, "entry")
        lower = delayed(m, negative, 4, "negative")
        threshold = register(m, Mux(lower, (1 << THRESHOLD_BITS) - entry, entry), "threshold",
                             unsigned(THRESHOLD_BITS + 1))
        # Stage 9 has the threshold.
        spin = register(m, delayed(m, self.number, 9 - WORD_STAGE, "number") < threshold, "spin")
        m.d.comb += [
            self.after.eq(delayed(m, spin, UNIT_STAGES - 10, "spin")),
            self.clip.eq(delayed(m, clip, UNIT_STAGES - 2, "clip")),
        ]
        return m

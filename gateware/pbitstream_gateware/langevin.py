"""The Langevin unit: one Euler-Maruyama step of the overdamped equation, in integers."""

from typing import Any

from amaranth.hdl import Array, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from pbitstream.spec.instructions import MODULE
from pbitstream.spec.noise import FIELD_BITS, FIELDS, NOISE_GAINS, NOISE_MEAN, NOISE_SHIFTS
from pbitstream.spec.timing import UNIT_STAGES, WORD_STAGE
from pbitstream.spec.words import (
    DT_SHIFTS,
    EXPOSED,
    FIELD_FRACTIONS,
    K2,
    K4,
    STATE,
    X2,
)
from pbitstream_gateware.fixed import exposed, rhu, sat
from pbitstream_gateware.lane import ACCUMULATOR_BITS
from pbitstream_gateware.pipeline import delayed, register, rounded_shift

__all__ = ["LangevinUnit"]

#: Fraction bits of the drift: those of kappa times those of the state.
DRIFT_FRACTION = K2.fraction + STATE.fraction
#: A drift fits a 48-bit accumulator (numerics, section 5).
DRIFT_BITS = 48
#: Bits of a state that the second of its two products takes.
LOW_BITS = STATE.fraction - EXPOSED.fraction
GAIN_BITS = NOISE_GAINS[-1].bit_length()


class LangevinUnit(wiring.Component):
    """x24' = sat(x24 + rhu(D, 10 + s) + rhu(n G, q)), D = (f << (30 - F)) - kappa x24.

    Members
    -------
    state, field, k2, k4
        x24, the field with its bias, the two stiffnesses.
    fraction, dt_shift, noise_gain, noise_shift
        (F - 16) / 2, s, G and q of the module.
    word
        The noise word of the unit, WORD_STAGE cycles later.
    after
        x24', UNIT_STAGES cycles later.
    stiffness_clip, state_clip
        Whether kappa and x24' were clipped; together with `after`.

    Timing
    ------
    One unit per cycle, no stalls.

    Numerics
    --------
    Section 5 of numerics. Twin: `Chain.langevin` of the oracle.
    """

    def __init__(self) -> None:
        super().__init__({
            "state": In(signed(STATE.bits)),
            "field": In(signed(ACCUMULATOR_BITS)),
            "k2": In(K2.bits),
            "k4": In(K4.bits),
            "fraction": In(MODULE["fraction"]),
            "dt_shift": In(MODULE["dt_shift"]),
            "noise_gain": In(GAIN_BITS),
            "noise_shift": In(MODULE["noise_shift"]),
            "word": In(FIELDS * FIELD_BITS),
            "after": Out(signed(STATE.bits)),
            "stiffness_clip": Out(1),
            "state_clip": Out(1),
        })

    def elaborate(self, platform: Any) -> Module:
        m = Module()

        # Stiffness: kappa at stage 7.
        x = register(m, exposed(self.state), "x")
        square = delayed(m, register(m, x * x, "xx", unsigned(2 * EXPOSED.bits)), 1, "xx")
        x2 = register(m, rhu(square, 2 * EXPOSED.fraction - X2.fraction), "x2", unsigned(X2.bits))
        cubic = delayed(m, register(m, x2 * delayed(m, self.k4, 4, "k4"), "k4x2"), 1, "k4x2")
        stiff = delayed(m, self.k2, 6, "k2") + rhu(cubic, K4.fraction + X2.fraction - K2.fraction)
        clipped = Signal()
        m.d.comb += clipped.eq(stiff > K2.highest)
        kappa = register(m, Mux(clipped, K2.highest, stiff), "kappa", unsigned(K2.bits))
        stiffness_clip = register(m, clipped, "stiffness_clipped")

        # Drift: D at stage 10, with half a unit of its last place; shifted at stage 11.
        # kappa x24 as two products that fit multipliers of 18 x 18 bits.
        x24 = delayed(m, self.state, 7, "x24")
        high = register(m, kappa * x24[LOW_BITS:].as_signed(), "pull_high")
        low = register(m, kappa * x24[:LOW_BITS], "pull_low")
        pull = register(m, (high << LOW_BITS) + low, "pull")
        fraction, dt = delayed(m, self.fraction, 8, "fraction"), delayed(m, self.dt_shift, 8, "dt")
        push = Array((delayed(m, self.field, 8, "field") << (DRIFT_FRACTION - f)).as_signed()
                     for f in FIELD_FRACTIONS)[fraction]
        half = Const(1 << K2.fraction - 1, K2.fraction + DT_SHIFTS[-1]) << dt
        half = half[: K2.fraction + DT_SHIFTS[-1]]
        lifted = register(m, push + half, "lifted", signed(DRIFT_BITS))
        drift = register(m, lifted - pull, "drift", signed(DRIFT_BITS))
        moved = register(m, drift >> K2.fraction >> delayed(m, dt, 2, "dt_late"), "moved",
                         signed(DRIFT_BITS - K2.fraction))

        # Noise: n at stage 6, the kick at stage 10.
        words = [self.word.word_select(i, FIELD_BITS) for i in range(FIELDS)]
        n = register(m, (words[0] + words[1]) + (words[2] + words[3]) - NOISE_MEAN, "n", signed(18))
        gain = delayed(m, self.noise_gain, WORD_STAGE + 1, "gain")
        scaled = delayed(m, register(m, n * gain, "kick"), 1, "kick")
        shift = delayed(m, self.noise_shift, WORD_STAGE + 3, "q")
        kick = delayed(m, rounded_shift(m, scaled, shift, NOISE_SHIFTS, "noise"), 1, "kick_late")

        total = register(m, delayed(m, self.state, 11, "x24_late") + moved + kick, "total")
        narrow, clipped_state = sat(total, STATE.bits)
        m.d.sync += [
            self.after.eq(narrow),
            self.state_clip.eq(clipped_state),
            self.stiffness_clip.eq(delayed(m, stiffness_clip, UNIT_STAGES - 8, "stiffness")),
        ]
        return m

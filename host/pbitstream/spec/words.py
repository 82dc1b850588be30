"""The words of the substrate and the limits of a program: each width is written here, once."""

from pbitstream.spec.fixed import Format

__all__ = [
    "BETA",
    "BIAS",
    "CLAMP",
    "COUNTER_BITS",
    "DT_SHIFTS",
    "EXPOSED",
    "FACTOR",
    "FACTOR_LIMIT",
    "FIELD_FRACTIONS",
    "FIELD_LIMIT",
    "GAIN",
    "GAIN_SHIFTS",
    "K2",
    "K4",
    "MAX_BOARD_DIM",
    "MAX_BURN_IN",
    "MAX_CHAINS",
    "MAX_INPUTS",
    "MAX_LOW_RANK_DIM",
    "MAX_OFFSET",
    "MAX_QUAD",
    "MAX_RANK",
    "MAX_STEPS",
    "MAX_WEIGHT_FRACTION",
    "PBIT_INPUT",
    "PROJECTION_BITS",
    "PROJECTION_SHIFTS",
    "SPIN",
    "SQUARE_BITS",
    "STATE",
    "SUM_BITS",
    "WEIGHT_BITS",
    "X2",
    "X_MAX",
]

#: Langevin state x24 as stored; banks and readouts see it as an `EXPOSED` word.
STATE = Format("state", 24, 20)
#: What every bank and every readout sees of a unit.
EXPOSED = Format("exposed state", 16, 12)
#: The exposed magnitude of a p-bit: m = +1 is +SPIN, m = -1 is -SPIN.
SPIN = 1 << EXPOSED.fraction
BIAS = Format("h", 16, 12)
CLAMP = Format("clamp", 16, 12)
K2 = Format("k2", 15, 10, signed=False)
K4 = Format("k4", 15, 12, signed=False)
BETA = Format("beta", 16, 12, signed=False)

#: Largest exposed |x| of a calibration run; 8 is the rail.
X_MAX = Format("x_max", 16, 12, signed=False)
#: The square of an exposed state, as the cubic term sees it.
X2 = Format("x squared", 17, 10, signed=False)
#: The field as a p-bit sees it, before beta.
PBIT_INPUT = Format("p-bit input", 18, 10)

#: Low-rank factors; their fraction bits belong to the bank, and -512 is not a code.
FACTOR = Format("factor", 10, 9)
FACTOR_LIMIT = FACTOR.highest
#: Gain of one rank component; its fraction bits belong to the bank.
GAIN = Format("gain", 16, 13)
#: Band and sparse weights carry F - 12 fraction bits.
WEIGHT_BITS = 16

#: Width of a projection z and of its product u with the gain.
PROJECTION_BITS = 16

#: Fraction bits F of every field; the field itself is an int32 that never overflows.
FIELD_FRACTIONS = (16, 18, 20, 22)
FIELD_LIMIT = (1 << 31) - 1
#: dt = 2^-s for s in this range.
DT_SHIFTS = range(0, 9)
#: r1 and r3 of a low-rank bank, then r2 and r4.
PROJECTION_SHIFTS = range(0, 23)
GAIN_SHIFTS = range(0, 31)

MAX_RANK = 64
MAX_LOW_RANK_DIM = 128
MAX_BOARD_DIM = 4096
MAX_OFFSET = 4096
MAX_CHAINS = 1 << 32
MAX_STEPS = (1 << 24) - 1
MAX_BURN_IN = (1 << 24) - 1

#: Conditioning net: fraction bits of a weight, inputs of a linear and of a quadratic layer. So
#: every sum stays within 2^53: 2^24 (a product of four values) times 2^15 times 2^14.
MAX_WEIGHT_FRACTION = 15
MAX_INPUTS = 1 << 14
MAX_QUAD = 4

SUM_BITS = 40
SQUARE_BITS = 56
COUNTER_BITS = 32

"""From float couplings to the integer tables of a bank."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes, half_up
from pbitstream.errors import SpecError
from pbitstream.spec.fixed import Format
from pbitstream.spec.topology import LowRankBank
from pbitstream.spec.words import (
    EXPOSED,
    FACTOR,
    FACTOR_LIMIT,
    GAIN,
    GAIN_SHIFTS,
    PROJECTION_SHIFTS,
    WEIGHT_BITS,
)

__all__ = ["LowRankTables", "quantise_low_rank", "quantise_weights"]

Values = NDArray[np.float64]

#: A projection is given room for this many of its standard deviations at unit rms states.
PROJECTION_DEVIATIONS = 16.0
#: A column no larger than this is one of zeros: its scale would leave the range of a float64.
NOTHING = 2.0**-1000


@dataclass(frozen=True, eq=False)
class LowRankTables:
    """A quantised low-rank bank: its description, its codes, and its gain schedule's codes.

    `scale` (rank,) is what columns of A and B have lost to gains.
    """

    bank: LowRankBank
    a: NDArray[np.int16]
    b: NDArray[np.int16]
    gain: NDArray[np.int16]
    schedule: NDArray[np.int16] | None
    scale: Values


def quantise_low_rank(
    a: Values,
    b: Values,
    gain: Values,
    *,
    source: int,
    target: int,
    field_fraction: int,
    limits: tuple[float, float],
    schedule: Values | None = None,
    projections: tuple[float, float] | None = None,
) -> LowRankTables:
    """Quantise ``J_ts = B diag(S) A^T`` to int10 factors and int16 gains.

    Columns of A and B are scaled to the full range of a factor and their norms moved into the
    gains, S' = S |a| |b|. The projections z = A^T x get as many fraction bits as their largest
    magnitude allows: `projections` (forward, backward) if given, else the smaller of the worst
    case at `limits` (largest |x| of source and target) and 16 standard deviations of unit states.

    Parameters
    ----------
    a, b, gain
        (dim_s, rank), (dim_t, rank), (rank,).
    schedule
        Gains of every schedule row, (rows, rank), or None.

    Raises
    ------
    SpecError
        If shapes disagree, a value is not finite, or no shifts within the spec represent S.
    """
    a, b, gain = (np.asarray(v, np.float64) for v in (a, b, gain))
    if a.ndim != 2 or b.ndim != 2 or gain.shape != (a.shape[1],) or a.shape[1] != b.shape[1]:
        raise SpecError(f"a, b and gain must have shapes (dim_s, rank), (dim_t, rank), (rank,), "
                        f"not {a.shape}, {b.shape}, {gain.shape}")
    if schedule is not None and (schedule.ndim != 2 or schedule.shape[1] != len(gain)):
        raise SpecError(f"schedule must have shape (rows, {len(gain)}), not {schedule.shape}")
    a_raw, a_norm = _full_range(a)
    b_raw, b_norm = _full_range(b)
    rows = gain[None] if schedule is None else np.concatenate([gain[None], schedule])
    scale = a_norm * b_norm
    rows = rows * scale
    fractions = [
        _projection_fraction(raw, limit, None if projections is None else projections[i])
        for i, (raw, limit) in enumerate(((a_raw, limits[0]), (b_raw, limits[1])))
    ]
    bank = LowRankBank(
        source, target, a.shape[1], FACTOR.fraction, FACTOR.fraction,
        _gain_fraction(rows, fractions, field_fraction), *fractions,
    )
    raw = codes(rows, Format("gain", GAIN.bits, bank.gain_fraction), np.int16)
    return LowRankTables(bank, a_raw, b_raw, raw[0], None if schedule is None else raw[1:],
                         scale)


def quantise_weights(weights: Values, field_fraction: int, name: str) -> NDArray[np.int16]:
    """Return band or sparse weights as int16 codes with F - 12 fraction bits."""
    word = Format(name, WEIGHT_BITS, field_fraction - EXPOSED.fraction)
    return codes(weights, word, np.int16)


def _full_range(factor: Values) -> tuple[NDArray[np.int16], Values]:
    """Return int10 codes with every column at full range, and the columns' scales."""
    largest = np.abs(factor).max(axis=0, initial=0.0)
    if not np.isfinite(largest).all():
        raise SpecError("factors must be finite")
    scale = np.where(largest > NOTHING, largest, 1.0) * 2.0**FACTOR.fraction / FACTOR_LIMIT
    # A column's largest is FACTOR_LIMIT but for the last bits of a float64, so no code is larger.
    return half_up(factor / (scale * 2.0**-FACTOR.fraction)).astype(np.int16), scale


def _projection_fraction(raw: NDArray[np.int16], limit: float, largest: float | None) -> int:
    """Return the fraction bits of a projection whose factor codes are `raw`."""
    values = raw * 2.0**-FACTOR.fraction
    if largest is None:
        worst = float(np.abs(values).sum(axis=0).max()) * limit
        usual = PROJECTION_DEVIATIONS * float(np.sqrt((values**2).sum(axis=0)).max())
        largest = min(worst, usual)
    room = EXPOSED.highest / max(largest, 2.0**-10)
    fraction = math.floor(math.log2(room))
    highest = EXPOSED.fraction + FACTOR.fraction
    return max(highest - PROJECTION_SHIFTS[-1], min(highest - PROJECTION_SHIFTS[0], fraction))


def _gain_fraction(rows: Values, fractions: list[int], field_fraction: int) -> int:
    """Return the finest fraction of the gains that int16 and both gain shifts allow."""
    largest = float(np.abs(rows).max(initial=0.0))
    back = field_fraction - FACTOR.fraction
    for g in range(back + GAIN_SHIFTS[-1] - max(fractions), back - min(fractions) - 1, -1):
        if largest * 2.0**g + 0.5 < GAIN.highest:
            return g
    raise SpecError(f"gain times column norms reaches {largest:g}, too large for any shift; scale "
                    "the couplings down or use fewer fraction bits F")

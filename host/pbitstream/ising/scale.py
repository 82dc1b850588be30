"""Couplings and biases of a problem as integers: the fraction bits F, the scale, and the loss.

A program's field is ``scale`` times the problem's, with a power of two as scale, so that what is
whole stays whole. Weights have F - 12 fraction bits; biases are kept on the 10 fraction bits that a
p-bit sees of its field, so that nothing is rounded while a program runs.
"""

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import half_up
from pbitstream.errors import SpecError
from pbitstream.ising.problem import Problem
from pbitstream.spec.words import BIAS, EXPOSED, FIELD_LIMIT, PBIT_INPUT, WEIGHT_BITS

__all__ = ["Codes", "Loss", "quantise", "two_adic"]

Values = NDArray[np.float64]

#: F = 18 and 16 reach no further than 20, whose weights already fill the range of a p-bit's field.
FRACTIONS = (20, 22)
WEIGHT_LIMIT = (1 << (WEIGHT_BITS - 1)) - 1
#: A bias on the grid of a p-bit's field that fits its word.
BIAS_LIMIT = BIAS.highest >> (BIAS.fraction - PBIT_INPUT.fraction)
#: Scales and numbers beyond 2^+-this are not asked for: they would overflow on the way.
EXPONENTS = 960
#: What the loader allows of ``2^(F-12) + sum |W|``.
WORST_SUM = FIELD_LIMIT // -EXPOSED.lowest


@dataclass(frozen=True)
class Loss:
    """What rounding took from couplings and biases.

    Attributes
    ----------
    largest
        Largest |error| of a coupling or bias, in units of the problem; 0 if all are exact.
    relative
        The same as a share of the largest |coupling| or, without couplings, |bias|.
    """

    largest: float
    relative: float


@dataclass(frozen=True, eq=False)
class Codes:
    """A problem in integers.

    Attributes
    ----------
    field_fraction, scale
        F, and field of the program per field of the problem.
    weight
        Values of the couplings in the program, multiples of 2^(12-F), (edges,).
    h, carried
        Values of the biases in the program, (n,): what the bias of a call carries, and what a
        coupling to a constant p-bit must, since it is out of the range of a bias.
    loss
        What rounding took.
    """

    field_fraction: int
    scale: float
    weight: Values
    h: Values
    carried: Values
    loss: Loss


def quantise(problem: Problem, tolerance: float) -> Codes:
    """Return a problem in integers.

    The scale is wanted at which the couplings have an rms value of 1 up to 2: then the program's
    beta, 0 to 15.9998 in steps of 2^-12, is fine enough where p-bits are hot and large enough to
    freeze them. Of the scales at which all numbers are exact and no field can clip, with F = 20 or
    22, the one next to it is taken. Where there is none, F = 22 and the largest scale up to the
    wanted one at which no field can clip.

    Raises
    ------
    SpecError
        If the loss, as a share of the largest coupling, exceeds `tolerance`.
    """
    if not 0 <= tolerance < math.inf:
        raise SpecError(f"tolerance must be at least 0, not {tolerance}")
    largest = max(np.abs(problem.weight).max(initial=0.0), np.abs(problem.h).max())
    if largest > 2.0**EXPONENTS:
        raise SpecError(f"couplings and biases must be at most 2^{EXPONENTS}, not {largest:g}")
    wanted = _wanted(problem)
    highest = {f: _highest(problem, f) for f in FRACTIONS}
    exact = []
    for fraction in FRACTIONS:
        low, high = _lowest_exact(problem, fraction), highest[fraction]
        if low <= high:
            exponent = min(max(wanted, low), high)
            exact.append((abs(exponent - wanted), fraction, exponent))
    finest = FRACTIONS[-1]
    _, fraction, exponent = min(exact, default=(0, finest, min(wanted, highest[finest])))
    codes = _rounded(problem, fraction, exponent)
    if codes.loss.relative > tolerance:
        # Rounded up, so that it is enough.
        least = Context(3, ROUND_CEILING).create_decimal_from_float(codes.loss.relative)
        raise SpecError(
            f"tolerance must be at least {float(least):g} here, not {tolerance:g}: 16-bit weights "
            f"change a coupling or bias by {codes.loss.largest:.3g}, {codes.loss.relative:.2%} of "
            "the largest coupling; allow more, or split the p-bits with the largest fields"
        )
    return codes


def two_adic(values: Values) -> int | None:
    """Return the largest e such that all values are whole multiples of 2^e; None if all are 0."""
    values = values[values != 0]
    if len(values) == 0:
        return None
    mantissa, exponent = np.frexp(values)
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    zeros = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    return int((exponent - 53 + zeros).min())


def _wanted(problem: Problem) -> int:
    """Return the exponent of the scale that brings the rms coupling, or bias, to 1 up to 2."""
    values = problem.weight if problem.edges else problem.h[problem.h != 0]
    if len(values) == 0:
        return 0
    largest = float(np.abs(values).max())
    rms = largest * math.sqrt(float(((values / largest) ** 2).mean()))
    return min(EXPONENTS, -math.floor(math.log2(rms)))


def _lowest_exact(problem: Problem, fraction: int) -> int:
    """Return the least exponent of a scale at which rounding takes nothing."""
    weights, biases = two_adic(problem.weight), two_adic(problem.h)
    bounds = [EXPOSED.fraction - fraction - weights] if weights is not None else []
    bounds += [-PBIT_INPUT.fraction - biases] if biases is not None else []
    return max(bounds, default=-(1 << 16))


def _highest(problem: Problem, fraction: int) -> int:
    """Return the largest exponent of a scale at which no field can clip."""
    total = np.abs(problem.h)
    for end in (problem.first, problem.second):
        np.add.at(total, end, np.abs(problem.weight))
    largest = float(total.max())
    if largest == 0:
        return 0
    limit = PBIT_INPUT.value(PBIT_INPUT.highest + 1)
    exponent = min(EXPONENTS, math.floor(math.log2(limit) - math.log2(largest)) + 1)
    while not _fits(problem, _rounded(problem, fraction, exponent)):
        exponent -= 1
    return exponent


def _rounded(problem: Problem, fraction: int, exponent: int) -> Codes:
    """Return a problem in integers at this F and scale."""
    scale = 2.0**exponent
    unit = 2.0 ** (EXPOSED.fraction - fraction)
    step = PBIT_INPUT.value(1)
    weight = half_up(problem.weight * scale / unit) * unit
    bias = half_up(problem.h * scale / step) * step
    carried = np.where(np.abs(bias) > BIAS_LIMIT * step, half_up(bias / unit) * unit, 0.0)
    errors = np.concatenate([np.abs(weight / scale - problem.weight),
                             np.abs(bias / scale - problem.h)])
    largest = float(errors.max())
    of = float(np.abs(problem.weight if problem.edges else problem.h).max())
    loss = Loss(largest, largest / of if largest else 0.0)
    return Codes(fraction, scale, weight, bias - carried, carried, loss)


def _fits(problem: Problem, codes: Codes) -> bool:
    """Whether all words are in range and no field can clip or overflow."""
    unit = 2.0 ** (EXPOSED.fraction - codes.field_fraction)
    words = np.concatenate([codes.weight, codes.carried])
    coupled = np.abs(codes.carried)
    for end in (problem.first, problem.second):
        np.add.at(coupled, end, np.abs(codes.weight))
    return bool(
        np.abs(words).max(initial=0.0) <= WEIGHT_LIMIT * unit
        and (coupled / unit).max() + 1 / unit <= WORST_SUM
        and (coupled + np.abs(codes.h)).max() <= PBIT_INPUT.value(PBIT_INPUT.highest)
    )

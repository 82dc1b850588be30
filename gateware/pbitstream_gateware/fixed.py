"""Rounding and saturation of Amaranth values: the twin of `pbitstream.spec.fixed`.

The functions build combinational logic, and results are wide enough for every value: nothing wraps.
A rounding costs one increment of the shortened word, for ``rhu(v, n) = (v >> n) + bit n-1 of v``.
"""

from collections.abc import Sequence
from math import gcd

from amaranth.hdl import Array, Cat, Const, Mux, Value, ValueLike

from pbitstream.spec.words import EXPOSED, STATE

__all__ = ["exposed", "rhu", "sat", "shifts"]


def rhu(value: ValueLike, shift: int) -> Value:
    """Round half up after a division by 2^shift.

    The result is as signed as `value`, and ``shift - 1`` bits narrower if `shift` is not 0.
    """
    value = Value.cast(value)
    return value if shift == 0 else _rounded(_shifted(value, shift - 1))


def shifts(value: ValueLike, select: ValueLike, amounts: Sequence[int]) -> Value:
    """Return ``rhu(value, amounts[select])``, as signed as `value`.

    Parameters
    ----------
    select
        Index into `amounts`; the result is not defined beyond their end.
    amounts
        A range or a list. If they rise evenly from the first one on, `select` drives the shifter as
        it is; else a table translates it. An index that never occurs may hold any of the others.

    Numerics
    --------
    Exact: a barrel shifter that keeps the bit below the point, then one increment.
    """
    value = Value.cast(value)
    low = min(amounts)
    step = gcd(*(amount - low for amount in amounts)) or 1
    codes = [(amount - low) // step for amount in amounts]
    bits = max(codes).bit_length()
    even = codes == list(range(len(codes)))
    code = Value.cast(select if even else Array(Const(code, bits) for code in codes)[select])
    # A bit below the point, which rounds, even where nothing is shifted out.
    shifted = _shifted(value, low - 1) if low else _like(value, Cat(Const(0, 1), value))
    for position in range(bits):
        shifted = Mux(code[position], _shifted(shifted, step << position), shifted)
    rounded = _rounded(shifted)
    return rounded if low else _like(value, rounded[: len(value)])


def sat(value: ValueLike, bits: int) -> tuple[Value, Value]:
    """Clip to the two's complement range ``[-2^(bits-1), 2^(bits-1) - 1]``.

    Returns
    -------
    tuple
        The clipped value, signed and at most `bits` wide, and one bit: whether it was clipped.
    """
    value = Value.cast(value)
    if not value.shape().signed:
        value = Cat(value, Const(0, 1)).as_signed()
    if len(value) <= bits:
        return value, Const(0, 1)
    sign, above = value[-1], value[bits - 1 : -1]
    clipped = above != sign.replicate(len(above))
    limit = Cat((~sign).replicate(bits - 1), sign)
    return Mux(clipped, limit, value[:bits]).as_signed(), clipped


def exposed(state: ValueLike) -> Value:
    """Return what banks and readouts see of a Langevin state x24: ``X = sat(rhu(x24, 8), 16)``."""
    return sat(rhu(state, STATE.fraction - EXPOSED.fraction), EXPOSED.bits)[0]


def _like(value: Value, bits: Value) -> Value:
    """Read bits as a number, as signed as `value`."""
    return bits.as_signed() if value.shape().signed else bits.as_unsigned()


def _shifted(value: Value, amount: int) -> Value:
    """Shift right; at least two bits are left, for the one below the point and the sign."""
    missing = max(0, amount + 2 - len(value))
    sign = value[-1] if value.shape().signed else Const(0, 1)
    return _like(value, Cat(value, sign.replicate(missing))[amount:])


def _rounded(value: Value) -> Value:
    """Round a number with one bit below the point: a bit is lost there, one is gained above."""
    whole = _like(value, value[1:])
    return _like(value, (whole + value[0])[: len(value)])

"""Registers between stages, and the arithmetic that takes more than one of them."""

from typing import Any

from amaranth.hdl import Const, Module, Signal, Value, signed

__all__ = ["delayed", "register", "rounded_shift"]


def delayed(m: Module, value: Any, cycles: int, name: str = "late") -> Any:
    """Return a value as it was some cycles before; its registers have no reset."""
    for stage in range(cycles):
        register = Signal.like(value, name=f"{name}_{stage + 1}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def register(m: Module, value: Any, name: str, shape: Any = None) -> Signal:
    """Return a value as it was a cycle before, in a register without reset, cut to `shape`."""
    made = Signal(value.shape() if shape is None else shape, name=name, reset_less=True)
    m.d.sync += made.eq(value)
    return made


def rounded_shift(m: Module, value: Value, amount: Value, amounts: range, name: str) -> Value:
    """Return ``rhu(value, amount)`` two cycles late; `amount` comes with the value.

    Half a unit of the last place kept is added in the first cycle, the second shifts; `amount`
    must be one of `amounts`.
    """
    width = value.shape().width
    half = Const(1, amounts[-1] + 1) << amount >> 1
    sum_width = max(width, amounts[-1]) + 1
    summed = Signal(signed(sum_width), name=f"{name}_summed", reset_less=True)
    m.d.sync += summed.eq(value + half[: amounts[-1]])
    late = delayed(m, amount, 1, f"{name}_amount")
    shifted = Signal(signed(sum_width - amounts[0]), name=f"{name}_shifted", reset_less=True)
    m.d.sync += shifted.eq(summed >> late)
    return shifted

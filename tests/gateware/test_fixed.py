"""Rounding and saturation in gateware against the spec's, every code of narrow words."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from amaranth.hdl import Module, Signal, Value, signed, unsigned

from pbitstream.spec import fixed as twin
from pbitstream.spec.words import STATE
from pbitstream_gateware.fixed import exposed, rhu, sat, shifts
from simulation import evaluate

SHAPES = [signed(1), signed(2), signed(7), unsigned(1), unsigned(6)]


def codes(shape: Any) -> range:
    """Return every code of a shape."""
    half = 1 << shape.width - 1
    return range(-half, half) if shape.signed else range(2 * half)


def compare(
    inputs: Sequence[Signal], result: Value, expected: Callable[..., int],
    draws: Iterable[Sequence[int]],
) -> None:
    """Compare a value with its twin; the message of a failure holds the inputs."""
    m = Module()
    out = Signal(Value.cast(result).shape())
    m.d.comb += out.eq(result)

    async def bench(ctx: Any) -> None:
        for values in draws:
            for signal, value in zip(inputs, values):
                ctx.set(signal, value)
            assert ctx.get(out) == expected(*values), values

    evaluate(m, bench)


@pytest.mark.parametrize("shift", [0, 1, 2, 3, 5, 6, 7, 8, 11])
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_rhu(shape: Any, shift: int) -> None:
    value = Signal(shape)
    result = rhu(value, shift)
    compare([value], result, lambda v: twin.rhu(v, shift), ((v,) for v in codes(shape)))
    assert result.shape().signed == shape.signed
    assert len(result) == (max(2, shape.width - shift + 1) if shift else shape.width)


@pytest.mark.parametrize("amounts", [
    range(0, 6), range(3, 7), [6, 8, 10, 12], [4, 4, 4, 4, 4, 5, 6, 7], [5, 0, 3, 1], [0], [4],
], ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_shifts(shape: Any, amounts: Sequence[int]) -> None:
    value, select = Signal(shape), Signal(range(len(amounts)), init=0)
    result = shifts(value, select, amounts)
    draws = [(v, s) for v in codes(shape) for s in range(len(amounts))]
    # The signal of a single amount has no bits to set.
    inputs = [value, select] if len(select) else [value]
    compare(inputs, result, lambda v, s: twin.rhu(v, amounts[s]), draws)
    assert result.shape().signed == shape.signed
    assert len(result) <= max(2, shape.width)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 7, 9])
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_sat(shape: Any, bits: int) -> None:
    value = Signal(shape)
    result, clipped = sat(value, bits)
    draws = [(v,) for v in codes(shape)]
    compare([value], result, lambda v: twin.sat(v, bits), draws)
    compare([value], clipped, lambda v: int(twin.sat(v, bits) != v), draws)
    assert result.shape().signed
    assert len(result) <= bits


def test_exposed() -> None:
    value = Signal(signed(STATE.bits))
    top = [(STATE.highest - n,) for n in range(300)]
    draws = [*top, *((v,) for v in range(STATE.lowest, STATE.highest, 4097))]
    compare([value], exposed(value), lambda v: twin.sat(twin.rhu(v, 8), 16), draws)

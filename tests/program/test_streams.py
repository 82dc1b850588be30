"""Streams and the error of their means, on a program with a conditioning net of its own."""

import numpy as np
import pytest

from pbitstream import Conditioning, Emulator, Program, ProgramBuilder
from pbitstream.conditioning import Stage
from pbitstream.errors import SpecError
from pbitstream.layers import Linear
from pbitstream.spec.words import MAX_STEPS
from pbitstream.statistics import SegmentErrors, relax_in_segments
from pbitstream.stream import Input, Stream

DIM = 16


def program(rho: float = 0.0, temperature: float = 0.1) -> Program:
    builder = ProgramBuilder(dt_shift=3)
    first = builder.langevin("first", DIM, temperature=temperature, scale=2.0, offset=0.5)
    second = builder.langevin("second", DIM, temperature=temperature)
    builder.band(first, second, {0: rho})
    net = Conditioning(3, (Stage((Linear.quantise(np.full((DIM, 3), 0.25)),), "first"),))
    return builder.build(conditioning=net, steps=64, burn_in=16)


def inputs(count: int) -> list[Input]:
    rng = np.random.default_rng(5)
    return [Input(rng.normal(size=3)) for _ in range(count)]


def test_results_do_not_depend_on_batches_or_calls() -> None:
    items = inputs(7)
    with Emulator() as device:
        whole = Stream(program(), device, seed=3, chains=2)
        expected = np.concatenate([r.values for r in whole.run(items)])
        parts = Stream(program(), device, seed=3, chains=2, batch=2)
        first = [r for r in parts.run(items[:3])]
        second = [r for r in parts.run(items[3:])]
    got = np.concatenate([r.values for r in first + second])
    np.testing.assert_array_equal(got, expected)
    assert [r.first for r in first + second] == [0, 2, 3, 5]


def test_two_streams_share_a_device() -> None:
    items = inputs(2)
    with Emulator() as device:
        one, two = Stream(program(), device, seed=1), Stream(program(0.5), device, seed=1)
        alone = next(iter(Stream(program(), Emulator(), seed=1).run(items)))
        list(two.run(items))
        np.testing.assert_array_equal(next(iter(one.run(items))).values, alone.values)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_error_and_autocorrelation_time_are_those_predicted(rho: float) -> None:
    made = program(rho)
    with Emulator() as device:
        stream = Stream(made, device, seed=11, steps=4096, burn_in=256)
        for _ in stream.run(inputs(60)):
            pass
    error = stream.error()
    assert error is not None
    # rms over outputs: half of them are scaled by 2.
    predicted = made.margins().error_scale / 64 * np.sqrt((2.0**2 + 1) / 2)
    assert error.standard_error == pytest.approx(predicted, rel=0.1)
    if rho == 0.0:
        assert error.tau == pytest.approx(made.margins().tau, rel=0.1)
    assert error.steps_for(error.standard_error / 2) == pytest.approx(4 * 4096, abs=1)


@pytest.mark.parametrize("steps", [15, 16, 32])
def test_a_window_too_short_to_tell_has_no_error(steps: int) -> None:
    with Emulator() as device:
        stream = Stream(program(), device, steps=steps)
        for _ in stream.run(inputs(20)):
            pass
    assert stream.error() is None


def test_segments_join_without_a_seam() -> None:
    made = program(0.3)
    h = np.random.default_rng(2).normal(size=(3, 2 * DIM))
    with Emulator() as device:
        device.load(made)
        whole = device.relax(h, steps=50, burn_in=4, seed=9, chains=2, moments=True)
        joined, means = relax_in_segments(device, h, steps=50, segments=16, burn_in=4, seed=9,
                                          chains=2, moments=True)
    for name in ("sums", "square_sums", "clips", "mean", "square"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    np.testing.assert_array_equal(joined.state.units, whole.state.units)
    assert means.shape == (16, 3, 2 * DIM)


def test_refusals() -> None:
    made = program()
    bare = Program(made.topology, made.tables)
    with pytest.raises(SpecError, match="has no conditioning net"):
        Stream(bare, Emulator())
    with pytest.raises(SpecError, match="batch must be at least 1, not 0"):
        Stream(made, Emulator(), batch=0)
    with pytest.raises(SpecError, match="segments must be at least 16, not 4"):
        SegmentErrors(4)
    with Emulator() as device:
        device.load(made)
        with pytest.raises(SpecError, match=f"steps must be between 1 and {MAX_STEPS}"):
            relax_in_segments(device, np.zeros((1, 2 * DIM)), steps=MAX_STEPS + 1, seed=0)
        with pytest.raises(SpecError, match=r"input must have shape \(n, 3\)"):
            next(iter(Stream(made, device).run([Input(np.zeros(4))])))

"""The conditioning net: its integers against plain Python, and against its float twin."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import seeded
from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import (
    Conditioning,
    Linear,
    Quad,
    Silu,
    Stage,
    paper_interface,
    quad_interface,
)
from pbitstream.errors import SpecError
from pbitstream.spec.sigmoid import sigmoid_table
from pbitstream.spec.topology import Module, Topology

ONE = 4096


def slow_round(numerator: int, bits: int) -> int:
    return math.floor(Fraction(numerator, 1 << bits) + Fraction(1, 2))


def slow_layer(layer: Any, x: list[int]) -> tuple[list[int], int]:
    if isinstance(layer, Linear):
        after, clipped = [], 0
        for row, weights in enumerate(layer.weight.tolist()):
            total = sum(w * value for w, value in zip(weights, x))
            if layer.bias is not None:
                total += int(layer.bias[row]) << layer.fraction
            y = slow_round(total, layer.fraction)
            after.append(max(-32768, min(32767, y)))
            clipped += after[-1] != y
        return after, clipped
    if isinstance(layer, Silu):
        after = []
        for value in x:
            j = min(slow_round(abs(value), 6), 1023)
            u = sigmoid_table()[j]
            after.append(slow_round(value * (u if value >= 0 else 65536 - u), 16))
        return after, 0
    assert isinstance(layer, Quad)
    product = x[0]
    for value in x[1:]:
        product = slow_round(product * value, 12)
    pairs = [slow_round(x[i] * x[j], 12) for i in range(len(x)) for j in range(i, len(x))]
    return [ONE, *x, *pairs, product], 0


def slow_biases(net: Conditioning, codes: list[int], topology: Topology) -> tuple[list[int], int]:
    h, clipped = [0] * topology.units, 0
    first = codes
    for stage in net.stages:
        if stage.source == "input":
            codes = first
        for layer in stage.layers:
            codes, count = slow_layer(layer, codes)
            clipped += count
        if stage.target is not None:
            h[topology.units_of(topology.index(stage.target))] = codes
    return h, clipped


def topology(**dims: int) -> Topology:
    modules = tuple(Module(name, "langevin", dim) for name, dim in dims.items())
    return Topology(modules, (), (tuple(range(len(modules))),))


def paper(rng: np.random.Generator, size: float = 1.0, *, biases: bool = True, d: int = 64,
          r: int = 4, q: int = 16) -> Conditioning:
    shapes = ((r, d), (d, r), (q, d), (d, q))
    weights = [size * rng.standard_normal(s) / math.sqrt(s[1]) for s in shapes]
    offsets = [0.2 * rng.standard_normal(s[0]) for s in shapes]
    return paper_interface(weights, offsets if biases else None, "enc", "dec")


def quad(rng: np.random.Generator, size: float = 1.0, features: Any = None) -> Conditioning:
    width = 3 + (0 if features is None else features.shape[1])
    return quad_interface(size * rng.standard_normal((4, width)) / 2,
                          size * rng.standard_normal((16, 7)) / 4, "out", features)


def test_parameter_counts_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    assert paper(rng, biases=False).parameters == paper(rng, biases=False).weights == 2560
    assert paper(rng).parameters == 2708
    assert paper(rng).weights == 2560
    assert quad(rng).parameters == 4 * 3 + 16 * 7


@seeded(60)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 30.0), st.booleans())
def test_paper_interface_against_plain_integers(seed: int, size: float, biases: bool) -> None:
    rng = np.random.default_rng(seed)
    net = paper(rng, size, biases=biases, d=6, r=2, q=5)
    t = topology(enc=6, other=2, dec=6)
    net.check(t)
    codes = net.codes(rng.uniform(-8, 7.99, (3, 6)))
    h, clipped = net.biases(codes, t)
    expected = [slow_biases(net, row, t) for row in codes.tolist()]
    assert h.tolist() == [row for row, _ in expected]
    assert clipped == sum(count for _, count in expected)
    assert not h[:, 6:8].any()


@seeded(60)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20.0))
def test_quad_interface_against_plain_integers(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    features = rng.integers(-ONE, ONE, (5, 2)).astype(np.int16)
    net = quad(rng, size, features)
    t = topology(out=7)
    net.check(t)
    rows = rng.integers(0, 5, 4)
    codes = net.codes(rng.uniform(-8, 7.99, (4, 3)), rows)
    np.testing.assert_array_equal(codes[:, 3:], features[rows])
    h, clipped = net.biases(codes, t)
    expected = [slow_biases(net, row, t) for row in codes.tolist()]
    assert h.tolist() == [row for row, _ in expected]
    assert clipped == sum(count for _, count in expected)


@seeded(40)
@given(st.integers(0, 2**32 - 1))
def test_stages_that_run_on_the_input_or_on_the_stage_before(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, stages = 3, []
    for name, source in zip("abcd", rng.choice(["previous", "input"], 4)):
        width = 3 if source == "input" else width
        outputs = int(rng.integers(1, 6))
        layer = Linear.quantise(3 * rng.standard_normal((outputs, width)))
        stages.append(Stage((layer, Silu()), name, source))
        width = outputs
    net = Conditioning(3, tuple(stages))
    t = topology(**{stage.target: stage.layers[0].outputs(stage.layers[0].weight.shape[1])
                    for stage in stages})
    net.check(t)
    codes = net.codes(rng.uniform(-8, 7.99, (3, 3)))
    h, clipped = net.biases(codes, t)
    expected = [slow_biases(net, row, t) for row in codes.tolist()]
    assert h.tolist() == [row for row, _ in expected]
    assert clipped == sum(count for _, count in expected)
    # Without clips the float twin differs by roundings and the table of silu alone, which the
    # weights of at most three further stages enlarge.
    if not clipped:
        norm = max(np.abs(s.layers[0].weight * 2.0**-s.layers[0].fraction).sum(axis=1).max()
                   for s in stages)
        bound = 4 * (1 + 1.1 * norm) ** 4 * 2.0**-8
        assert np.abs(h / ONE - net.biases_float(codes, t)).max() <= bound
    again = Conditioning.from_parts(net.to_dict(), net.tensors())
    assert [stage.source for stage in again.stages] == [stage.source for stage in stages]


def test_the_usual_source_goes_unsaid() -> None:
    layers = (Linear.quantise(np.eye(2)),)
    net = Conditioning(2, (Stage(layers, "a"), Stage(layers, "b", "input")))
    first, second = net.to_dict()["stages"]
    assert sorted(first) == ["layers", "target"]
    assert second["source"] == "input"
    assert [stage.source for stage in net.frozen().stages] == ["previous", "input"]


def test_extreme_codes_stay_exact() -> None:
    # 64 inputs at the rail with the largest weights: sums near 2^36 before the clip.
    layer = Linear(np.full((2, 64), 32767, np.int16), 0, np.array([32767, -32768], np.int16))
    x = np.full((1, 64), -32768, np.int64)
    got, clipped = layer.apply(x)
    assert (got[0].tolist(), clipped) == slow_layer(layer, x[0].tolist())
    assert clipped == 2
    x = np.array([[-32768, 32767, -1, 0]])
    for plain in (Silu(), Quad()):
        got, clipped = plain.apply(x)
        assert (got[0].tolist(), clipped) == slow_layer(plain, x[0].tolist())


def test_silu_of_every_code() -> None:
    x = np.arange(-32768, 32768)
    got = Silu().apply(x[:, None])[0][:, 0]
    exact = Silu().apply_float(x / ONE)
    # sigma is a table of steps 1/64 in x, floored to 2^-16: half a step of slope |x| / 4 at most
    # (x sigma'(x) <= 0.2239), the floor times |x|, and half a code.
    bound = 0.2239 / 128 + 8 * 2.0**-16 + 2.0**-13
    assert np.abs(got / ONE - exact).max() <= bound
    # x sigma(x) - x sigma(-x) = x: exact up to the two roundings.
    mirrored = got - got[::-1]
    assert np.abs(mirrored[1:] - x[1:][::1]).max() <= ONE
    assert got[32768] == 0


@seeded(40)
@given(st.integers(0, 2**32 - 1))
def test_float_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = paper(rng, 0.5)
    t = topology(enc=64, dec=64)
    codes = net.codes(rng.uniform(-1, 1, (2, 64)))
    h, clipped = net.biases(codes, t)
    assert clipped == 0
    error = np.abs(h / ONE - net.biases_float(codes, t))
    # Each layer passes on an error times the largest absolute row sum of its weights and adds half
    # a code; silu passes on at most 1.1 of it and adds its table's error.
    bounds, bound = [], 0.0
    for stage in net.stages:
        for layer in stage.layers:
            if isinstance(layer, Linear):
                norm = np.abs(layer.weight * 2.0**-layer.fraction).sum(axis=1).max()
                bound = bound * norm + 2.0**-13
            else:
                bound = 1.1 * bound + 0.2239 / 128 + 8 * 2.0**-16 + 2.0**-13
        bounds.append(bound)
    assert error[:, :64].max() <= bounds[0]
    assert error[:, 64:].max() <= bounds[1]
    assert bounds[0] < 0.01
    assert error.max() < 0.02


@seeded(40)
@given(st.integers(0, 2**32 - 1))
def test_float_twin_of_the_quadratic_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = quad(rng, 0.5)
    t = topology(out=7)
    codes = net.codes(rng.uniform(-1, 1, (5, 3)))
    h, clipped = net.biases(codes, t)
    assert clipped == 0
    assert np.abs(h / ONE - net.biases_float(codes, t)).max() < 0.01


@seeded(80)
@given(st.integers(0, 2**32 - 1), st.floats(-12, 14))
def test_weights_are_as_fine_as_int16_allows(seed: int, size: float) -> None:
    weight = np.random.default_rng(seed).standard_normal((3, 4)) * 2.0**size
    layer = Linear.quantise(weight)
    assert layer.weight.dtype == np.int16
    half = 2.0 ** (-layer.fraction - 1)
    assert np.abs(layer.weight * (2 * half) - weight).max() <= half
    assert layer.fraction == 15 or np.abs(weight).max() * 2 ** (layer.fraction + 1) > 32766


def test_structure_comes_back_from_its_parts() -> None:
    rng = np.random.default_rng(2)
    features = rng.integers(-9, 9, (3, 2)).astype(np.int16)
    for net in (paper(rng), paper(rng, biases=False), quad(rng, 1.0, features)):
        again = Conditioning.from_parts(net.to_dict(), net.tensors())
        assert again.to_dict() == net.to_dict()
        assert sorted(again.tensors()) == sorted(net.tensors())
        for name, tensor in net.tensors().items():
            np.testing.assert_array_equal(again.tensors()[name], tensor)
        assert again.parameters == net.parameters


def test_refusals() -> None:
    rng = np.random.default_rng(3)
    net = paper(rng, d=6, r=2, q=5)
    message = "conditioning gives 6 biases to module enc, which needs"
    with pytest.raises(SpecError, match=f"^{message} 5$"):
        net.check(topology(enc=5, dec=6))
    with pytest.raises(SpecError, match=r"^module must be one of enc, out, not dec$"):
        net.check(topology(enc=6, out=6))
    builder = ProgramBuilder()
    builder.clamped("enc", 6)
    builder.langevin("dec", 6)
    with pytest.raises(SpecError, match=f"^{message} 0$"):
        builder.build(conditioning=net)
    with pytest.raises(SpecError, match=r"^linear layer must take 3 inputs, not shape \(2, 4\)$"):
        Conditioning(3, (Stage((Linear(np.zeros((2, 4), np.int16), 3),)),)).check(topology(x=1))
    with pytest.raises(SpecError, match=r"^weights must be below 32767, not 40000$"):
        Linear.quantise(np.array([[40000.0]]))
    for bad, rule in (
        (np.nan, "finite"),
        (np.inf, "finite"),
        (8.0, "between -8 and 7.99976, not 8"),
        (-8.001, "between -8 and 7.99976, not -8.001"),
    ):
        with pytest.raises(SpecError, match=f"^input must be {rule}$"):
            net.codes(np.full((1, 6), bad))
    for shape in ((6,), (1, 5), (1, 7), (1, 1, 6)):
        with pytest.raises(SpecError, match=r"^input must have shape \(n, 6\), not"):
            net.codes(np.zeros(shape))
    with pytest.raises(SpecError, match=r"^source of a stage must be previous or input, not 'x'$"):
        Conditioning(1, (Stage((), None, "x"),)).check(topology(x=1))
    layers = [(Linear.quantise(np.ones((1, n))),) for n in (2, 1)]
    with pytest.raises(SpecError, match=r"^linear layer must take 2 inputs, not shape \(1, 1\)$"):
        Conditioning(2, (Stage(layers[0]), Stage(layers[1], None, "input"))).check(topology(x=1))
    timed = quad(rng, 1.0, np.zeros((4, 2), np.int16))
    assert timed.inputs == 3
    for rows in (None, np.array([4]), np.array([-1])):
        with pytest.raises(SpecError, match=r"^rows must be between 0 and 3, not"):
            timed.codes(np.zeros((1, 3)), rows)


def test_weights_that_are_not_finite_are_refused() -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(SpecError):
            Linear.quantise(np.array([[bad]]))
        with pytest.raises(SpecError):
            Linear.quantise(np.zeros((1, 1)), np.array([bad]))

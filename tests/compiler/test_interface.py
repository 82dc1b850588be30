"""Interfaces: gradients against differences, planted nets found, integers near the float twin."""

import numpy as np
import pytest

from pbitstream.compiler import interface as interface_module
from pbitstream.compiler.activations import Batch, Skip
from pbitstream.compiler.evaluation import biases, evaluate
from pbitstream.compiler.interface import (
    Form,
    attach_interface,
    check_interface,
    missing_bias,
    parse_interface,
)
from pbitstream.compiler.lower import lower
from pbitstream.compiler.minimise import minimise
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.layers import Quad
from small_unet import array_source, fitted_of

ROWS, INPUTS = 1500, 12


def planted(seed=0):
    """A skip whose target is a rank-2 map of the source plus a quadratic net of other inputs."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-1.5, 1.5, (ROWS, INPUTS))
    e = rng.standard_normal((ROWS, 16))
    y = z @ rng.standard_normal((4, INPUTS)).T / 2
    bias = Quad().apply_float(y) @ rng.standard_normal((16, 20)) * 0.2
    bias -= bias.mean(axis=0)
    d = e @ rng.standard_normal((16, 2)) @ rng.standard_normal((2, 20)) / 4 + bias
    return {"e": e, "d": d}, {"e": (16,), "d": (20,)}, z


def lowered(layers, shapes):
    return lower(fitted_of(layers, shapes, [Skip("e", "d")], rank=2), layers)


@pytest.mark.parametrize(("text", "form"), [
    ("none", None), ("quad", Form("quad")), ("paper", Form("paper", 4, 16)),
    ("8x32", Form("silu", 8, 32)),
])
def test_names_of_forms(text, form):
    assert parse_interface(text) == form


@pytest.mark.parametrize("text", ["quadratic", "8", "0x32", "8x0", "8x32x4", ""])
def test_unknown_forms_are_refused(text):
    with pytest.raises(SpecError, match="interface must be none, quad, paper or RxH such as 8x32"):
        parse_interface(text)


@pytest.mark.parametrize("kind", ["quad", "silu", "paper"])
def test_gradients_are_those_of_differences(kind, monkeypatch):
    layers, shapes, z = planted()
    checked = []

    def check(self, starts, report, iterations):
        rng = np.random.default_rng(1)
        point = starts[0] + 0.1 * rng.standard_normal(len(starts[0]))
        _, slope = self(point)
        for _ in range(6):
            way = rng.standard_normal(len(point))
            step = 1e-5
            numeric = (self(point + step * way)[0] - self(point - step * way)[0]) / (2 * step)
            checked.append((numeric, float(slope @ way)))
        return point

    monkeypatch.setattr(interface_module._Search, "best", check)
    # A penalty that is at work.
    monkeypatch.setattr(interface_module, "HIDDEN_LIMIT", 0.5)
    form = {"quad": Form("quad"), "silu": Form("silu", 3, 7), "paper": Form("paper", 4, 16)}[kind]
    attach_interface(lowered(layers, shapes), array_source(layers, shapes, z), form,
                     Batch(layers, z))
    numeric, slope = np.array(checked).T
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-7 * np.abs(slope).max())


def test_the_missing_bias_is_what_the_banks_leave():
    layers, shapes, z = planted()
    system = lowered(layers, shapes)
    found = missing_bias(system, Batch(layers, z))
    x = {name: system.fitted.layers[name].normalised(values) for name, values in layers.items()}
    wanted = x["d"] - system.fitted.banks["e", "d"].predict(x["e"])
    np.testing.assert_allclose(found[:, system.places["d"]], wanted, atol=0.02)
    assert not found[:, system.places["e"]].any()


@pytest.mark.parametrize(("text", "weights", "parameters", "least"), [
    ("quad", 4 * INPUTS + 16 * 20, 4 * INPUTS + 16 * 20, 0.95),
    ("4x24", 4 * INPUTS + 4 * 24 + 24 * 20, 4 * INPUTS + 4 * 24 + 24 * 20 + 24, 0.8),
    # Its encoder is made for the source layer, which knows nothing of these inputs.
    ("paper", 4 * INPUTS + 4 * 16 + 16 * 16 + 16 * 20, 720 + 32 - 48, -1.0),
])
def test_a_planted_net_is_found(text, weights, parameters, least):
    layers, shapes, z = planted()
    system = lowered(layers, shapes)
    source = array_source({name: values[:200] for name, values in layers.items()}, shapes, z[:200])
    whole = attach_interface(system, source, parse_interface(text), Batch(layers, z))
    net = whole.program.conditioning
    assert net.weights == weights
    if text != "paper":
        assert net.parameters == parameters
    with Emulator(threads=1) as device:
        before = evaluate(system, source, device).layers["d"]["substrate"].r2
        judged = evaluate(whole, source, device)
    after = judged.layers["d"]
    assert after["substrate"].r2 > max(least, before - 0.02)
    assert judged.saturated["conditioning"] == 0
    assert after["substrate"].r2 == pytest.approx(after["equilibrium"].r2, abs=0.02)
    # The integer net is near its float twin.
    batch = Batch({name: values[:200] for name, values in layers.items()}, z[:200])
    h, _ = biases(whole, batch)
    twin = net.biases_float(net.codes(z[:200]), whole.program.topology)
    assert np.abs(h - twin).max() < 0.05
    assert np.abs(h - twin).std() < 0.03 * twin.std()


def test_an_interface_beside_a_hub():
    layers, shapes, z = planted()
    rng = np.random.default_rng(2)
    layers["e"] = layers["e"] @ rng.standard_normal((16, 150))
    shapes["e"] = (150,)
    system = lowered(layers, shapes)
    assert system.program.topology.modules[-1].name == "d.hub"
    source = array_source({name: values[:200] for name, values in layers.items()}, shapes, z[:200])
    whole = attach_interface(system, source, Form("quad"), Batch(layers, z))
    with Emulator(threads=1) as device:
        after = evaluate(whole, source, device).layers["d"]
    # The hub answers a bias too; what is missing was asked with it in place.
    assert after["equilibrium"].r2 > 0.95
    assert after["substrate"].r2 == pytest.approx(after["equilibrium"].r2, abs=0.02)
    assert after["float"].r2 == pytest.approx(after["equilibrium"].r2, abs=0.01)


def test_inputs_are_needed():
    layers, shapes, _ = planted()
    with pytest.raises(SpecError, match="an interface needs inputs of every row"):
        attach_interface(lowered(layers, shapes), array_source(layers, shapes), Form("quad"),
                         Batch(layers))


@pytest.mark.parametrize(("skips", "message"), [
    ([Skip("e", "d"), Skip("e", "c")], "drives one module, one --skip to a layer of at most 128"),
    ([Skip("e", "w")], "units, not w"),
    ([Skip("e", "s")], "needs a layer of as many units, not s with 3"),
])
def test_layers_without_an_interface_are_refused_before_the_fit(skips, message):
    shapes = {"e": (20,), "d": (20,), "c": (20,), "w": (129,), "s": (3,)}
    with pytest.raises(SpecError, match=message):
        check_interface(Form("quad"), skips, shapes)


def test_the_minimum_of_a_curved_valley():
    def valley(x):
        value = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
        slope = np.zeros_like(x)
        slope[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
        slope[1:] += 200 * (x[1:] - x[:-1] ** 2)
        return float(value), slope

    point, value = minimise(valley, np.full(8, -0.5), iterations=400, tolerance=1e-14)
    assert value < 1e-10
    np.testing.assert_allclose(point, 1.0, atol=1e-4)
    # Where it starts at the minimum, it stays.
    still, value = minimise(lambda x: (0.0, np.zeros_like(x)), np.ones(3), iterations=5)
    assert value == 0
    np.testing.assert_array_equal(still, 1)

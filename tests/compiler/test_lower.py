"""Programs hold what was fitted: split layers, hubs, local banks, and stability proven."""

from dataclasses import replace

import numpy as np
import pytest

from pbitstream import Emulator
from pbitstream.compiler.activations import Skip
from pbitstream.compiler.equilibrium import equilibrium
from pbitstream.compiler.evaluation import evaluate
from pbitstream.compiler.lower import HUB_COUPLING, lower
from pbitstream.compiler.synthetic import SyntheticSource
from pbitstream.errors import SpecError, UnstableError
from pbitstream.spec.topology import BandBank, LowRankBank
from small_unet import array_source, fitted_of, linear_pair


def wide(dim, shape=None, seed=0):
    source = SyntheticSource(dim, rows=600, batch=600, seed=seed, shape=shape)
    batch = next(iter(source.batches([], "fit")))
    return {name: np.asarray(values, np.float64) for name, values in batch.layers.items()}


def settled(lowered, layers):
    clamp, clipped = lowered.clamp(layers)
    assert clipped == 0
    x = equilibrium(lowered.program, clamp)
    return {name: x[:, lowered.places[name]] for name in lowered.fitted.targets}


@pytest.mark.parametrize("shape", [(96,), (128,), (200,), (2, 10, 10), (3, 9, 11)])
def test_the_quantised_equilibrium_is_the_fit(shape):
    dim = int(np.prod(shape))
    layers = wide(dim, shape)
    fitted = fitted_of(layers, {"e0": shape, "d0": shape}, [Skip("e0", "d0")], rank=8)
    lowered = lower(fitted, layers)
    topology = lowered.program.topology
    assert max(module.dim for module in topology.modules) <= 128
    hubs = [m for m in topology.modules if m.name.endswith(".hub")]
    assert len(hubs) == (dim > 128)
    own = lowered.fitted.layers["e0"].normalised(layers["e0"])
    wanted = lowered.fitted.banks["e0", "d0"].predict(own)
    error = settled(lowered, layers)["d0"] - wanted
    # Factors of 10 bits, weights of band banks of 8 to 10 fraction bits.
    assert (error**2).mean() < 1e-4 * (wanted**2).mean()
    # In activations the fit before any rescaling for a hub says the same.
    plain = fitted.banks["e0", "d0"].predict(fitted.layers["e0"].normalised(layers["e0"]))
    np.testing.assert_allclose(lowered.fitted.layers["d0"].scale * wanted,
                               fitted.layers["d0"].scale * plain, rtol=1e-9, atol=1e-9)


def test_a_hub_keeps_the_connections_linear_in_the_units():
    words = {}
    for dim in (256, 512, 1024):
        layers = wide(dim)
        fitted = fitted_of(layers, {"e0": (dim,), "d0": (dim,)}, [Skip("e0", "d0")], rank=8)
        topology = lower(fitted, layers).program.topology
        words[dim] = sum(b.rank * (topology.modules[b.source].dim + topology.modules[b.target].dim)
                         for b in topology.banks if isinstance(b, LowRankBank))
    assert words[1024] == pytest.approx(4 * words[256], rel=0.05)


def test_a_wide_program_under_langevin_dynamics():
    layers = wide(300)
    shapes = {"e0": (300,), "d0": (300,)}
    lowered = lower(fitted_of(layers, shapes, [Skip("e0", "d0")], rank=8), layers)
    source = array_source({name: values[:60] for name, values in layers.items()}, shapes)
    with Emulator(threads=1) as device:
        judged = evaluate(lowered, source, device, seed=1)
    found = judged.layers["d0"]
    assert sum(judged.saturated.values()) == 0
    assert found["substrate"].r2 > 0.8
    assert found["substrate"].r2 == pytest.approx(found["equilibrium"].r2, rel=0.02)
    assert found["equilibrium"].r2 == pytest.approx(found["float"].r2, rel=0.005)
    assert found["shuffled"].r2 < 0
    assert abs(found["constant"].r2) < 0.1
    margins = lowered.program.margins()
    assert margins.lambda_max == pytest.approx(HUB_COUPLING, abs=0.01)


def test_two_wide_sources_share_one_hub():
    layers = wide(144, (2, 8, 9))
    layers["e1"] = np.roll(layers["e0"], 7, axis=1) + wide(144, seed=1)["e0"]
    shapes = dict.fromkeys(layers, (2, 8, 9))
    fitted = fitted_of(layers, shapes, [Skip("e0", "d0"), Skip("e1", "d0")], rank=6)
    lowered = lower(fitted, layers)
    hubs = [m for m in lowered.program.topology.modules if m.name.endswith(".hub")]
    assert [m.dim for m in hubs] == [12]
    wanted = sum(fit.predict(lowered.fitted.layers[skip.source].normalised(layers[skip.source]))
                 for skip, fit in lowered.fitted.banks.items())
    error = settled(lowered, layers)["d0"] - wanted
    assert (error**2).mean() < 2e-4 * (wanted**2).mean()


def test_local_wires_do_not_cross_an_edge():
    layers = wide(32, (2, 4, 4))
    lowered = lower(fitted_of(layers, {"e0": (2, 4, 4), "d0": (2, 4, 4)}, [Skip("e0", "d0")],
                              rank=4), layers)
    index, bank = next((i, b) for i, b in enumerate(lowered.program.topology.banks)
                       if isinstance(b, BandBank))
    weights = lowered.program.tables[f"bank{index}.w"]
    column = np.arange(32) % 4
    for offset, row in zip(bank.offsets, weights):
        across = (offset % 4 == 1) & (column == 3) | (offset % 4 == 3) & (column == 0)
        # Offset 1 from the last column would be the first of the next row.
        assert not row[across].any()


def test_a_chain_of_free_layers_through_a_program():
    rng = np.random.default_rng(5)
    e, low = linear_pair(rng, rows=1500, dim_s=20, dim_t=16, rank=16, noise=0.05)
    high = low @ rng.standard_normal((16, 18)) + 0.05 * rng.standard_normal((1500, 18))
    layers = {"e": e, "d2": low, "d1": high}
    shapes = {name: (values.shape[1],) for name, values in layers.items()}
    fitted = fitted_of(layers, shapes, [Skip("e", "d2"), Skip("d2", "d1")], rank=8)
    lowered = lower(fitted, layers)
    source = array_source({name: values[:100] for name, values in layers.items()}, shapes)
    with Emulator(threads=1) as device:
        judged = evaluate(lowered, source, device)
    for name in ("d1", "d2"):
        found = judged.layers[name]
        assert found["equilibrium"].r2 == pytest.approx(found["float"].r2, rel=0.01)
        assert found["substrate"].r2 == pytest.approx(found["equilibrium"].r2, rel=0.02)


def chain(strength):
    rng = np.random.default_rng(6)
    e, low = linear_pair(rng, dim_s=20, dim_t=16, rank=8)
    high = low @ rng.standard_normal((16, 18))
    layers = {"e": e, "d2": low, "d1": high}
    shapes = {name: (values.shape[1],) for name, values in layers.items()}
    fitted = fitted_of(layers, shapes, [Skip("e", "d2"), Skip("d2", "d1")], rank=8)
    banks = dict(fitted.banks)
    fit = banks["d2", "d1"]
    factors = replace(fit.factors, gain=fit.factors.gain * strength)
    banks["d2", "d1"] = replace(fit, factors=factors)
    return replace(fitted, banks=banks), layers


def test_an_unstable_program_is_refused_with_margin_and_cure():
    with pytest.raises(UnstableError) as error:
        lower(*chain(20.0))
    text = str(error.value)
    assert "the smallest eigenvalue of K - J over units with k4 = 0 is -" in text
    assert "the strongest bank between free modules is d2:d1, norm " in text
    assert text.endswith("leave it out of --skip")


def test_free_layers_above_128_units_are_refused():
    layers = wide(200)
    layers["d1"] = layers["d0"] + 0.0
    shapes = dict.fromkeys(layers, (200,))
    fitted = fitted_of(layers, shapes, [Skip("e0", "d0"), Skip("d0", "d1")], rank=4)
    with pytest.raises(SpecError, match="skip d0:d1 joins two free layers, which must have at most "
                                        "128 units"):
        lower(fitted, layers)


def test_a_hub_has_at_most_64_units():
    layers = wide(200)
    layers["e1"] = np.roll(layers["e0"], 7, axis=1)
    shapes = dict.fromkeys(layers, (200,))
    fitted = fitted_of(layers, shapes, [Skip("e0", "d0"), Skip("e1", "d0")], rank=40)
    with pytest.raises(SpecError, match="the banks into layer d0 must have at most 64 factors"):
        lower(fitted, layers)

"""Modules with several banks, and banks between free modules."""

import numpy as np
import pytest

from pbitstream.compiler.activations import Skip
from pbitstream.compiler.fit import FREE_RIDGE, LARGEST_EIGENVALUE
from pbitstream.errors import SpecError
from small_unet import fitted_of, linear_pair


def two_inputs(rng, rows=3000):
    one, two = rng.standard_normal((rows, 12)), rng.standard_normal((rows, 10))
    two[:, :3] += one[:, :3]
    y = one @ rng.standard_normal((12, 8)) + two @ rng.standard_normal((10, 8))
    return {"e1": one, "e2": two, "d": y + 0.1 * rng.standard_normal(y.shape)}


def test_backfitting_ends_at_the_joint_regression():
    layers = two_inputs(np.random.default_rng(0))
    shapes = {name: (values.shape[1],) for name, values in layers.items()}
    fitted = fitted_of(layers, shapes, [Skip("e1", "d"), Skip("e2", "d")], rank=8)
    x = {name: fitted.layers[name].normalised(values) for name, values in layers.items()}
    found = sum(fit.predict(x[skip.source]) for skip, fit in fitted.banks.items())
    both = np.concatenate([x["e1"], x["e2"]], axis=1)
    best = both @ np.linalg.lstsq(both, x["d"], rcond=None)[0]
    # Four passes leave a little of what the inputs share, one bank alone leaves much.
    total = (x["d"] ** 2).sum()
    assert ((found - best) ** 2).sum() < 0.01 * total
    once = fitted_of({n: layers[n] for n in ("e1", "d")}, shapes, [Skip("e1", "d")], rank=8)
    alone = once.banks["e1", "d"].predict(x["e1"])
    assert ((alone - best) ** 2).sum() > 0.2 * total


def test_a_decoder_chain_is_stable_and_settles_near_the_activations():
    rng = np.random.default_rng(1)
    e, low = linear_pair(rng, rows=4000, dim_s=20, dim_t=16, rank=16, noise=0.05)
    high = low @ rng.standard_normal((16, 18)) + 0.05 * rng.standard_normal((4000, 18))
    layers = {"e": e, "d2": low, "d1": high}
    shapes = {name: (values.shape[1],) for name, values in layers.items()}
    skips = [Skip("e", "d2"), Skip("d2", "d1")]
    fitted = fitted_of(layers, shapes, skips, rank=16)
    j = fitted.banks["d2", "d1"].factors.matrix()
    assert np.linalg.norm(j, 2) <= LARGEST_EIGENVALUE
    # An unshrunk regression would diverge: this is what the ridge is for.
    x = {name: fitted.layers[name].normalised(values) for name, values in layers.items()}
    assert np.linalg.norm(np.linalg.lstsq(x["d2"], x["d1"], rcond=None)[0], 2) > 1
    drive = fitted.banks["e", "d2"].predict(x["e"])
    k = np.eye(34) - np.block([[np.zeros((16, 16)), j], [j.T, np.zeros((18, 18))]])
    settled = np.linalg.solve(k, np.concatenate([drive, np.zeros((4000, 18))], axis=1).T).T
    for name, part in (("d2", settled[:, :16]), ("d1", settled[:, 16:])):
        assert 1 - ((part - x[name]) ** 2).sum() / (x[name] ** 2).sum() > 0.4
    assert FREE_RIDGE == 0.1


def test_scales_keep_states_off_the_rail():
    rng = np.random.default_rng(2)
    x, y = linear_pair(rng)
    x[0, 0] += 50
    fitted = fitted_of({"e": x, "d": y}, {"e": (24,), "d": (20,)}, [Skip("e", "d")], rank=4)
    assert np.abs(fitted.layers["e"].normalised(x)).max() == pytest.approx(7.0)
    assert fitted.layers["e"].clamped
    assert fitted.targets == ["d"]


@pytest.mark.parametrize(("rank", "rows", "constant", "message"), [
    (65, 100, False, "rank must be between 1 and 64, not 65"),
    (16, 16, False, "rows must be more than the rank, 16, not 16"),
    (21, 100, False, "skip e:d: rank must be between 1 and 20"),
    (4, 100, True, "layer e must vary; all of its activations are constant"),
])
def test_refusals(rank, rows, constant, message):
    x, y = linear_pair(np.random.default_rng(3), rows=rows)
    with pytest.raises(SpecError) as error:
        fitted_of({"e": 0 * x if constant else x, "d": y}, {"e": (24,), "d": (20,)},
                  [Skip("e", "d")], rank=rank)
    assert message in str(error.value)

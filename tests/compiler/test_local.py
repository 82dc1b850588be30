"""Local banks: wires, edges, recovery of known stencils, and the joint fit."""

import numpy as np
import pytest

from pbitstream.compiler.factors import Moments, compute_factors
from pbitstream.compiler.local import JointFit, fit_joint, local_between
from pbitstream.errors import SpecError


def naive(x, shape_s, shape_t, weight):
    """y of rows x by loops; weight(c_t, y, x, c_s, down, right)."""
    maps = x.reshape(len(x), *shape_s)
    out = np.zeros((len(x), *shape_t))
    for c in range(shape_t[0]):
        for i in range(shape_t[1]):
            for j in range(shape_t[2]):
                for d in range(shape_s[0]):
                    for down in (-1, 0, 1):
                        for right in (-1, 0, 1):
                            row, column = i + down, j + right
                            if 0 <= row < shape_s[1] and 0 <= column < shape_s[2]:
                                out[:, c, i, j] += (weight(c, i, j, d, down, right)
                                                    * maps[:, d, row, column])
    return out.reshape(len(x), -1)


def moments(x, y):
    n = len(x)
    return Moments(x.T @ x / n, x.T @ y / n, None, float((y**2).sum() / n))


@pytest.mark.parametrize(("shape_s", "shape_t"), [((2, 5, 4), (2, 5, 4)), ((2, 4, 5), (1, 4, 5)),
                                                  ((1, 6, 4), (2, 6, 4))])
@pytest.mark.parametrize("weights", ["shared", "free"])
def test_a_true_stencil_is_found(shape_s, shape_t, weights):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, int(np.prod(shape_s))))
    taps = rng.standard_normal((*shape_t, shape_s[0], 3, 3))
    if weights == "shared":
        taps[:] = taps[:, :1, :1]
    y = naive(x, shape_s, shape_t, lambda c, i, j, d, down, right:
              taps[c, i, j, d, down + 1, right + 1])
    stencil = local_between(shape_s, shape_t, weights)
    m = moments(x, y)
    found = stencil.fit(m.source, m.cross, 1e-12)
    np.testing.assert_allclose(found.predict(x[:50]), y[:50], atol=1e-6)
    # No wire wraps around an edge: band weights must be zero there.
    wires = sum(shape_s[0] * shape_t[0] * (shape_t[1] - abs(d)) * (shape_t[2] - abs(r))
                for d in (-1, 0, 1) for r in (-1, 0, 1))
    assert found.wires <= wires
    assert stencil.exists.sum() >= wires


def test_numbers_of_the_digits_map():
    stencil = local_between((2, 8, 8), (2, 8, 8))
    assert stencil.count == 36 + 128
    assert local_between((2, 8, 8), (2, 8, 8), "free").count == 4 * (22 * 22)
    assert len(set((stencil.source - np.arange(128)[:, None])[stencil.exists])) == 27
    # Many channels: each with its own counterpart only.
    assert local_between((16, 4, 4), (16, 4, 4)).count == 9 * 16 + 256


@pytest.mark.parametrize(("shape_s", "shape_t"), [((128,), (128,)), ((2, 8, 8), (8, 4, 4)),
                                                  ((8, 2, 2), (8, 2, 2)), ((8, 4, 4), (4, 4, 4))])
def test_layers_without_a_stencil(shape_s, shape_t):
    assert local_between(shape_s, shape_t) is None


def test_moments_of_neighbours_are_those_of_the_gram_matrices():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((2, 200, 32))
    stencil = local_between((2, 4, 4), (2, 4, 4))
    own, right = stencil.moments(x, y)
    m = moments(x, y)
    one, two = stencil.fit(m.source, m.cross, 0.01), stencil.solve(own / 200, right / 200, 0.01)
    for offset, row in one.weights.items():
        np.testing.assert_allclose(two.weights[offset], row, atol=1e-12)


@pytest.mark.parametrize("weights", ["shared", "free"])
def test_the_joint_fit_beats_either_part(weights):
    rng = np.random.default_rng(2)
    shape = (2, 5, 5)
    x = rng.standard_normal((1500, 50)) @ (0.4 * rng.standard_normal((50, 50)))
    far = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 50)) / 10
    y = naive(x, shape, shape, lambda c, i, j, d, down, right: 0.2 + 0.1 * c * d + 0.05 * down)
    y = y + x @ far + 0.2 * rng.standard_normal(x.shape)
    m = moments(x, y)
    stencil = local_between(shape, shape, weights)
    joint = fit_joint("hbc", m, 3, stencil, ridge=1e-6)
    error = {"joint": y - joint.predict(x),
             "factors": y - compute_factors("hbc", m, 3, ridge=1e-6).predict(x),
             "local": y - stencil.fit(m.source, m.cross, 1e-6).predict(x)}
    size = {name: (left**2).mean() for name, left in error.items()}
    assert size["joint"] < 0.3 * min(size["factors"], size["local"])
    assert size["joint"] < 1.3 * 0.2**2


def test_back_is_the_transpose():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((300, 32)), rng.standard_normal((300, 32))
    fit = fit_joint("hbc", moments(x, y), 2, local_between((2, 4, 4), (2, 4, 4)), ridge=1e-4)
    np.testing.assert_allclose(fit.back(np.eye(32)), fit.predict(np.eye(32)).T, atol=1e-14)
    alone = JointFit(fit.factors, None)
    np.testing.assert_allclose(alone.back(np.eye(32)), alone.predict(np.eye(32)).T, atol=1e-14)


def test_an_unknown_stencil_is_refused():
    with pytest.raises(SpecError, match="stencil must be shared or free, not tied"):
        local_between((2, 8, 8), (2, 8, 8), "tied")

"""Factors against slow oracles: ridge regression of full and of reduced rank."""

import numpy as np
import pytest

from pbitstream.compiler import factors as factors_module
from pbitstream.compiler.curve import RankCurve
from pbitstream.compiler.factors import METHODS, Factors, Moments, compute_factors, leading_svd
from pbitstream.errors import SpecError
from small_unet import linear_pair


@pytest.fixture(scope="module")
def data():
    x, y = linear_pair(np.random.default_rng(0), noise=0.5)
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    n = len(x)
    return x, y, Moments(x.T @ x / n, x.T @ y / n, y.T @ y / n, float((y**2).sum() / n))


def objective(x, y, w, added):
    return ((y - x @ w) ** 2).sum() / len(x) + added * (w**2).sum()


@pytest.mark.parametrize("ridge", [1e-4, 1e-1])
@pytest.mark.parametrize("rank", [1, 3, 20])
def test_hbc_is_the_best_map_of_its_rank(data, rank, ridge):
    x, y, moments = data
    added = ridge * np.linalg.eigvalsh(moments.source)[-1]
    # The oracle: with the ridge as further rows, ridge regression projected on the leading right
    # singular vectors of its own prediction (Eckart and Young).
    tall = np.concatenate([x / np.sqrt(len(x)), np.sqrt(added) * np.eye(x.shape[1])])
    goal = np.concatenate([y / np.sqrt(len(x)), np.zeros((x.shape[1], y.shape[1]))])
    full = np.linalg.lstsq(tall, goal, rcond=None)[0]
    right = np.linalg.svd(tall @ full)[2][:rank]
    best = full @ right.T @ right
    found = compute_factors("hbc", moments, rank, ridge=ridge)
    np.testing.assert_allclose(found.matrix(), best, atol=1e-10)
    rng = np.random.default_rng(1)
    for _ in range(20):  # and no neighbour of its rank is better
        other = (found.a + 0.01 * rng.standard_normal(found.a.shape)) * found.gain @ found.b.T
        assert objective(x, y, other, added) > objective(x, y, found.matrix(), added)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_factors_that_repeat(data, method):
    x, y, moments = data
    one = compute_factors(method, moments, 4, ridge=1e-4, seed=3)
    two = compute_factors(method, moments, 4, ridge=1e-4, seed=3)
    assert (one.a.shape, one.b.shape, one.gain.shape) == ((24, 4), (20, 4), (4,))
    np.testing.assert_array_equal(one.matrix(), two.matrix())
    np.testing.assert_allclose(one.predict(x), x @ one.matrix(), atol=1e-12)
    np.testing.assert_array_equal(one.truncated(2).a, one.a[:, :2])
    best = compute_factors("hbc", moments, 4, ridge=1e-4)
    assert ((y - one.predict(x)) ** 2).sum() >= 0.999 * ((y - best.predict(x)) ** 2).sum()


def test_what_the_methods_are_made_of(data):
    _, _, moments = data
    paper = compute_factors("paper", moments, 4, ridge=1e-4)
    # |J|_F = 1 / (4 kT) at stiffness 2 J2 = 0.2.
    assert np.linalg.norm(paper.matrix()) == pytest.approx(0.25 / 0.2)
    np.testing.assert_allclose(paper.a.T @ paper.a, np.eye(4), atol=1e-12)
    assert compute_factors("cca", moments, 4, ridge=1e-6).gain.max() <= 1
    control = compute_factors("random", moments, 4, ridge=1e-4, seed=1)
    w = control.matrix()
    assert np.trace(w.T @ moments.source @ w) == pytest.approx(moments.variance)
    cross = compute_factors("cross", moments, 4, ridge=1e-4).matrix()
    # One global gain cannot be improved.
    slope = np.trace(cross.T @ moments.cross) - np.trace(cross.T @ moments.source @ cross)
    assert slope == pytest.approx(0, abs=1e-12)


def test_an_iterated_svd_is_the_whole_one(monkeypatch):
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((90, 80)) @ np.diag(0.8 ** np.arange(80))
    values = np.linalg.svd(matrix)[1]
    monkeypatch.setattr(factors_module, "WHOLE_SVD", 10)
    left, found, right = leading_svd(matrix, 8, rng)
    np.testing.assert_allclose(found[:8], values[:8], rtol=1e-8)
    np.testing.assert_allclose((left[:, :8] * found[:8]) @ right[:, :8].T @ right[:, :8],
                               matrix @ right[:, :8], atol=1e-8)


def test_the_curve_is_the_error_of_every_rank(data):
    x, y, moments = data
    found = compute_factors("hbc", moments, 6, ridge=1e-4)
    curve = RankCurve(found)
    for first in range(0, len(x), 300):
        curve.add(x[first : first + 300], y[first : first + 300])
    for rank in range(1, 7):
        error = ((y - found.truncated(rank).predict(x)) ** 2).sum() / (y**2).sum()
        assert curve.r2()[rank - 1] == pytest.approx(1 - error)


@pytest.mark.parametrize(("method", "rank", "message"), [
    ("svd", 4, "method must be one of hbc, paper, gram"),
    ("hbc", 21, "rank must be between 1 and 20, the units of the smaller layer, not 21"),
    ("hbc", 0, "rank must be between 1 and 20"),
])
def test_refusals(data, method, rank, message):
    with pytest.raises(SpecError) as error:
        compute_factors(method, data[2], rank, ridge=1e-4)
    assert message in str(error.value)


def test_a_layer_that_does_not_move_is_refused():
    nothing = Moments(np.zeros((3, 3)), np.zeros((3, 3)), None, 1.0)
    with pytest.raises(SpecError, match="every unit of the source layer is constant"):
        compute_factors("hbc", nothing, 1, ridge=1e-4)


def test_factors_know_their_rank():
    assert Factors(np.ones((3, 2)), np.ones((4, 2)), np.ones(2), np.ones(2)).rank == 2

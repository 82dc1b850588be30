"""Distances against closed forms and scipy, intervals against repeated draws, controls."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from pbitstream.diffusion.controls import independent_pixels, k_means, replayed, replayed_classes
from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.distances import (
    Moments,
    frechet_distance,
    mean_discrepancies,
    moments,
    nearest_distances,
)
from pbitstream.diffusion.generation import (
    CLASS_SIZE,
    Reference,
    generation_metrics,
    judged_metrics,
)
from pbitstream.diffusion.judge import Judge, Judged
from pbitstream.errors import SpecError

Values = NDArray[np.float64]


@pytest.fixture(scope="module")
def grey() -> Judge:
    return Judge.open("grey")


@pytest.fixture(scope="module")
def reference(grey: Judge) -> Reference:
    return Reference.of(grey)


def law(seed: int, size: int = 12, rank: int = 12) -> Moments:
    draw = np.random.default_rng(seed)
    factor = draw.standard_normal((size, rank))
    return Moments(draw.standard_normal(size), factor @ factor.T)


def test_frechet_distance_of_gaussians_whose_covariances_commute() -> None:
    mean, spread = np.array([1.0, -2.0]), np.diag([4.0, 9.0])
    other = Moments(np.array([0.0, 0.0]), np.diag([1.0, 25.0]))
    # |m1 - m2|^2 + sum (s1 - s2)^2 = 5 + 1 + 4
    assert frechet_distance(Moments(mean, spread), other) == pytest.approx(10.0)


def test_frechet_distance_agrees_with_the_root_of_a_product() -> None:
    for seed in range(5):
        a, b = law(seed), law(seed + 100)
        root = np.trace(sqrtm(a.covariance @ b.covariance).real)
        wanted = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance) - 2 * root
        assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6)


def test_frechet_distance_is_symmetric_and_keeps_under_rotation_and_shift() -> None:
    a, b = law(1), law(2, rank=5)
    turn = np.linalg.qr(law(3).covariance)[0]
    moved = [Moments(turn @ m.mean + 7.0, turn @ m.covariance @ turn.T) for m in (a, b)]
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-6)
    assert frechet_distance(*moved) == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_moments_count_rows_by_weight() -> None:
    features = np.random.default_rng(0).standard_normal((6, 3))
    weights = np.array([0.0, 2.0, 1.0, 1.0, 0.0, 2.0])
    rows = np.repeat(features, weights.astype(int), axis=0)
    for got, wanted in zip(moments(features, weights), (rows.mean(axis=0), np.cov(rows.T))):
        np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_the_test_images_are_at_no_distance_from_themselves(
    grey: Judge, reference: Reference
) -> None:
    images = held_out_digits()[0]
    metrics = generation_metrics(grey, images[::-1], training=images, reference=reference,
                                 resamples=20)
    assert metrics.frechet.value < 1e-3
    assert metrics.mmd.value == pytest.approx(0.0, abs=0.01)
    assert metrics.nearest == (0.0, 0.0, 0.0)
    assert metrics.copies == (1.0, 1.0, 1.0)
    assert metrics.entropy.value > 0.99


def test_discrepancy_is_the_mean_over_pairs_and_ignores_copies() -> None:
    draw = np.random.default_rng(1)
    x, y = draw.standard_normal((5, 3)), draw.standard_normal((7, 3)) + 0.5
    pairs = [((y[i] - y[j]) ** 2).sum() for i in range(7) for j in range(i)]
    width = np.median(pairs)

    def kernel(a: Values, b: Values) -> float:
        return float(np.exp(-((a - b) ** 2).sum() / (2 * width)))

    own = np.mean([kernel(x[i], x[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    wanted = own + np.mean(np.exp(-np.array(pairs) / (2 * width))) - 2 * across
    twice = mean_discrepancies(np.repeat(x, 2, axis=0), y, np.tile([1.0, 0.0], 5)[None])
    assert mean_discrepancies(x, y, np.ones((1, 5)))[0] == pytest.approx(wanted)
    assert twice.shape == (1,)
    with pytest.raises(SpecError, match="must differ"):
        mean_discrepancies(x, np.ones((4, 3)), np.ones((1, 5)))


def test_nearest_distances_are_the_smallest_of_all() -> None:
    images = held_out_digits()[0]
    apart, copies = nearest_distances(images[:5], images[5:])
    wanted = [min(np.linalg.norm(images[5:] - image, axis=1)) for image in images[:5]]
    np.testing.assert_allclose(apart, wanted)
    assert not copies.any()


def test_an_interval_is_as_wide_as_the_spread_over_draws(reference: Reference) -> None:
    """A 95 per cent interval is 3.9 standard deviations wide; 12 draws know it to a fifth."""
    whole = reference.within
    draws = []
    for seed in range(12):
        rows = np.random.default_rng(seed).integers(len(whole), size=200)
        draws.append(judged_metrics(whole.take(rows), reference, resamples=60))
    for name in ("frechet", "mmd", "confidence", "inception", "entropy"):
        figures = [getattr(metrics, name) for metrics in draws]
        assert all(figure.low <= figure.value <= figure.high for figure in figures)
        width = np.mean([figure.high - figure.low for figure in figures])
        spread = np.std([figure.value for figure in figures], ddof=1)
        assert 1.5 < width / spread < 9.0, name


def test_figures_repeat_and_the_seed_moves_the_interval_alone(
    grey: Judge, reference: Reference
) -> None:
    images, labels = held_out_digits()
    runs = [generation_metrics(grey, images[:80], labels=labels[:80], reference=reference,
                               resamples=5, seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1]
    assert runs[0].frechet.value == runs[2].frechet.value
    assert runs[0].frechet != runs[2].frechet
    assert runs[0].frechet_within is not None
    assert runs[0].to_dict()["frechet_within"]["value"] == runs[0].frechet_within.value
    assert runs[0].to_dict()["nearest"] is None
    assert str(runs[0].f90).startswith("0.975 [0.9")
    assert runs[0].entropy.high <= 1.0


def test_real_images_beat_independent_pixels_and_those_beat_noise(
    grey: Judge, reference: Reference
) -> None:
    images, labels = held_out_digits()
    training, true = grey.training
    real = judged_metrics(replayed(training, 600, 3), reference, resamples=2)
    mixed, drawn = independent_pixels(images, labels, 600, 3)
    table = generation_metrics(grey, mixed, labels=drawn, reference=reference, resamples=2)
    noise = np.random.default_rng(3).uniform(-1, 1, (600, 64))
    worst = generation_metrics(grey, noise, reference=reference, resamples=2)
    assert real.frechet.value < table.frechet.value < worst.frechet.value / 5
    assert real.f90.value > 0.99
    judged, asked = replayed_classes(training, true, CLASS_SIZE, 3)
    inside = judged_metrics(judged, reference, labels=asked, resamples=2)
    assert inside.frechet_within is not None
    assert table.frechet_within is not None
    assert inside.frechet_within.value < table.frechet_within.value / 2
    assert inside.accuracy is not None
    assert inside.accuracy.value > 0.99


def test_k_means_finds_groups_and_the_mixture_keeps_their_pixels() -> None:
    draw = np.random.default_rng(0)
    groups = np.repeat([0, 1, 2], 40)
    images = np.array([[-5.0, 0.0], [5.0, 0.0], [0.0, 9.0]])[groups]
    images += 0.1 * draw.standard_normal(images.shape)
    found = [k_means(images, 3, seed) for seed in range(8)]
    best = min(found, key=lambda f: sum(images[f == g].var(axis=0).sum() for g in set(f)))
    assert len({(int(a), int(b)) for a, b in zip(groups, best)}) == 3
    mixed, drawn = independent_pixels(images, groups, 3000, 1)
    for group in range(3):
        mine, theirs = mixed[drawn == group], images[groups == group]
        assert set(mine[:, 0]) <= set(theirs[:, 0])
        assert abs(np.corrcoef(mine.T)[0, 1]) < 5 / np.sqrt(len(mine))
    share = (drawn == 0).mean()
    assert abs(share - 1 / 3) < 5 * np.sqrt(2 / 9 / 3000)


def test_replayed_classes_are_not_the_reference() -> None:
    features = np.arange(40.0)[:, None]
    labels = np.tile(np.arange(2), 20)
    judged, asked = replayed_classes(Judged(features, features), labels, 8, 0)
    assert np.bincount(asked).tolist() == [8, 8]
    assert judged.features.min() >= 16
    with pytest.raises(SpecError, match="at most half of the 20 images of class 0, not 11"):
        replayed_classes(Judged(features, features), labels, 11, 0)


def test_bad_arguments_are_refused(grey: Judge, reference: Reference) -> None:
    judged = reference.judged.take(np.arange(10))
    with pytest.raises(SpecError, match="at least 2 samples, not 1"):
        judged_metrics(judged.take(np.array([0])), reference)
    with pytest.raises(SpecError, match="resamples must be at least 2"):
        judged_metrics(judged, reference, resamples=1)
    with pytest.raises(SpecError, match=r"whole numbers of shape \(10,\)"):
        judged_metrics(judged, reference, labels=np.zeros(9, int))
    with pytest.raises(SpecError, match="labels must be 0 to 9, not 0 to 11"):
        judged_metrics(judged, reference, labels=[11] + [0] * 9)
    with pytest.raises(SpecError, match="inside class 7 needs 2 images of it, not 1"):
        judged_metrics(judged, reference, labels=[7] + [0] * 9)
    with pytest.raises(SpecError, match="clusters must be between 1 and 3, not 4"):
        k_means(np.zeros((3, 2)), 4)
    with pytest.raises(SpecError, match=r"groups must have shape \(3,\)"):
        independent_pixels(np.zeros((3, 2)), [0, 1], 5, 0)
    with pytest.raises(SpecError, match="count must be at least 1, not 0"):
        independent_pixels(np.zeros((3, 2)), [0, 1, 1], 0, 0)
    with pytest.raises(SpecError, match="count must be between 1 and 10, not 11"):
        replayed(judged, 11, 0)

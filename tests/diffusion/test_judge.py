"""The judges: their accuracy, what they see, and their layers against plain correlations."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import correlate2d

from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.judge import KINDS, Judge
from pbitstream.errors import SpecError


@pytest.fixture(scope="module", params=KINDS)
def judge(request: pytest.FixtureRequest) -> Judge:
    return Judge.open(request.param)


@pytest.mark.parametrize(("kind", "right"), [("grey", 357), ("binary", 348)])
def test_it_knows_this_many_of_the_360_test_images(kind: str, right: int) -> None:
    images, labels = held_out_digits()
    judged = Judge.open(kind)(images)
    assert (judged.labels == labels).sum() == right
    np.testing.assert_allclose(judged.probabilities.sum(axis=1), 1.0)
    assert judged.features.shape == (360, 64)
    assert judged.features.min() == 0.0


def test_layers_are_plain_correlations(judge: Judge) -> None:
    image = judge.seen(held_out_digits()[0][:1]).reshape(8, 8)
    planes: list[NDArray[np.float64]] = [image]
    for layer in ("first", "second"):
        weight, bias = judge.model[f"{layer}.weight"], judge.model[f"{layer}.bias"]
        planes = [np.maximum(b + sum(correlate2d(plane, k, "same") for plane, k in zip(planes, w)),
                             0.0) for w, b in zip(weight, bias)]
    tops = [max(p[2 * r : 2 * r + 2, 2 * c : 2 * c + 2].ravel())
            for p in planes for r in range(4) for c in range(4)]
    features = judge.model["features.weight"] @ tops + judge.model["features.bias"]
    np.testing.assert_allclose(judge(image.reshape(1, 64)).features[0], np.maximum(features, 0.0),
                               atol=1e-9)


def test_an_image_is_judged_the_same_in_any_batch(judge: Judge) -> None:
    images = held_out_digits()[0]
    together = judge(images)
    np.testing.assert_allclose(judge(images[200:203]).features, together.features[200:203])
    some = np.array([5, 3])
    assert (together.take(some).features == together.features[some]).all()
    assert len(judge(images[:0])) == 0


def test_the_binary_judge_sees_signs_and_the_grey_one_levels() -> None:
    images = held_out_digits()[0]
    signs = np.where(images > 0, 1.0, -1.0)
    binary, grey = Judge.open("binary"), Judge.open("grey")
    assert (binary(images).features == binary(signs).features).all()
    assert (grey(images).features != grey(signs).features).any()
    assert (binary.kind, grey.kind) == ("binary", "grey")


def test_it_carries_the_features_of_its_training_images(judge: Judge) -> None:
    judged, labels = judge.training
    assert judged.features.shape == (1437, 64)
    assert np.bincount(labels, minlength=10).min() >= 132  # twice what a class distance takes
    assert (judged.labels == labels).mean() > 0.98


def test_bad_arguments_are_refused(judge: Judge) -> None:
    with pytest.raises(SpecError, match="kind must be one of grey, binary, not colour"):
        Judge.open("colour")
    with pytest.raises(SpecError, match=r"images must have shape \(n, 64\), not \(3, 8, 8\)"):
        judge(np.zeros((3, 8, 8)))
    with pytest.raises(SpecError, match="images must be finite"):
        judge(np.full((1, 64), np.nan))

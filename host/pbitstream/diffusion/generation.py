"""Quality figures of generated digits, in the features of a judge, each with its interval.

The Frechet distance and MMD^2 are those of `pbitstream.diffusion.distances`; the inception score is
exp <KL(p(label | x), p(label))> [1]_.

A Frechet distance of finite sets is larger than that of their laws, by an amount that falls as
1 / n: compare equal counts only (600 images here), beside real images replayed and independent
pixels (`pbitstream.diffusion.controls`). Confidence alone shows nothing: a denoiser that returns 0
has .76.

References
----------
.. [1] T. Salimans et al., "Improved techniques for training GANs", 2016, section 4.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.distances import (
    frechet_distance,
    mean_discrepancies,
    moments,
    nearest_distances,
)
from pbitstream.diffusion.judge import LABELS, Judge, Judged
from pbitstream.errors import SpecError

__all__ = [
    "CLASS_SIZE",
    "Figure",
    "GenerationMetrics",
    "Reference",
    "generation_metrics",
    "judged_metrics",
]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Images on either side of the distance inside a class, at most; training has 135 of each or more.
CLASS_SIZE = 66
CONFIDENT = 0.9
#: Share of bootstrap resamples inside an interval.
COVERAGE = 0.95


class Figure(NamedTuple):
    """A figure, and the interval that it would vary in with other samples of the same count."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class GenerationMetrics:
    """Figures of generated images; see `generation_metrics`.

    Attributes
    ----------
    count
        Number of samples.
    frechet, frechet_within
        Distance to the reference, pooled; and inside each class, the mean over the classes asked
        for, where labels are given.
    mmd
        Unbiased MMD^2 to the reference; it can be negative.
    f90, confidence
        Share of samples with a largest probability above .9; mean largest probability.
    inception
        Inception score, 1 to 10.
    entropy
        Entropy of the judged labels / ln 10; 1 if all ten are equally frequent.
    accuracy
        Share of samples judged as the label that was asked for.
    nearest, copies
        Mean distance to the nearest training image (Hamming for the binary judge, else Euclidean in
        [-1, 1]) and share of samples that equal one once rounded to the data's 17 grey levels,
        where training images are given. Too small a distance is memorising; the test images' own
        are 3.04 and .044 binary, 2.08 and 0 grey.
    """

    count: int
    frechet: Figure
    frechet_within: Figure | None
    mmd: Figure
    f90: Figure
    confidence: Figure
    inception: Figure
    entropy: Figure
    accuracy: Figure | None
    nearest: Figure | None
    copies: Figure | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data for JSON."""
        return {name: value._asdict() if isinstance(value, Figure) else value
                for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Reference:
    """Real images that samples are compared with, as a judge sees them.

    Attributes
    ----------
    judged
        The reference of all pooled figures.
    within, labels
        Images and their true labels, the reference of the distance inside each class; at most
        `CLASS_SIZE` of a class are used, the first.
    """

    judged: Judged
    within: Judged
    labels: Labels

    @classmethod
    def of(cls, judge: Judge) -> "Reference":
        """Return the usual one: the 360 test images, and inside classes the training images.

        A class has only 36 test images, too few for 64 features; so the distance inside a class
        rewards fitting the training set, and its control does too.
        """
        return cls(judge(held_out_digits()[0]), *judge.training)


def generation_metrics(
    judge: Judge,
    images: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    training: ArrayLike | None = None,
    reference: Reference | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> GenerationMetrics:
    """Return all figures of generated images.

    Parameters
    ----------
    judge
        ``Judge.open("grey")`` or ``Judge.open("binary")``, which sees the signs of pixels.
    images : array, shape (n, 64)
        Samples, about [-1, 1].
    labels : array, shape (n,)
        Labels that were asked for, 0 to 9.
    training : array, shape (m, 64)
        Training images, for `nearest` and `copies`: `training_digits`, where scikit-learn is there.
    reference
        Real images; the test split if None.
    resamples, seed
        Bootstrap resamples of the samples, the reference kept, and their seed. An interval holds 95
        per cent of them, moved to have the figure as its mean: resampling itself lengthens a
        Frechet distance, as fewer samples would. A figure that no resample changes has no width.

    Raises
    ------
    SpecError
        If a shape or a label is wrong, or a class has only one sample.

    Notes
    -----
    A quarter of a second for 600 images; about one with labels.
    """
    judged = judge(images)
    distances = None
    if training is not None:
        distances = nearest_distances(judge.seen(images), judge.seen(training))
        if judge.kind == "binary":
            distances = distances[0] ** 2 / 4.0, distances[1]
    return judged_metrics(judged, reference or Reference.of(judge), labels=labels,
                          distances=distances, resamples=resamples, seed=seed)


def judged_metrics(
    judged: Judged,
    reference: Reference,
    *,
    labels: ArrayLike | None = None,
    distances: tuple[Values, NDArray[np.bool_]] | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> GenerationMetrics:
    """Return the figures of images that were judged before; parameters as `generation_metrics`.

    `distances` are those to the nearest training images, (n,), and which samples are copies.
    """
    count = len(judged)
    if count < 2:
        raise SpecError(f"figures need at least 2 samples, not {count}")
    if resamples < 2:
        raise SpecError(f"resamples must be at least 2, not {resamples}")
    draw = np.random.default_rng(seed)
    # How often each sample is in each resample; the first row is the sample itself.
    weights = np.ones((resamples + 1, count))
    weights[1:] = draw.multinomial(count, np.full(count, 1.0 / count), size=resamples)

    def mean(values: NDArray[Any], most: float = 1.0) -> Figure:
        return _figure(weights @ values / count, most=most)

    real = moments(reference.judged.features)
    mmd = mean_discrepancies(judged.features, reference.judged.features, weights)
    p = judged.probabilities
    surest = p.max(axis=1)
    logs = p * np.log(np.maximum(p, 1e-300))
    inception = np.exp(weights @ logs.sum(axis=1) / count + _entropy(weights @ p / count))
    names = judged.labels[:, None] == np.arange(LABELS)
    within, right = None, None
    if labels is not None:
        asked = _labels(labels, count)
        within = _within(judged.features, asked, reference, resamples, draw)
        right = mean(judged.labels == asked)
    return GenerationMetrics(
        count=count,
        frechet=_figure(frechet_distance(real, moments(judged.features, w)) for w in weights),
        frechet_within=within,
        mmd=_figure(mmd, least=-np.inf),
        f90=mean(surest > CONFIDENT),
        confidence=mean(surest),
        inception=_figure(inception, 1.0, LABELS),
        entropy=_figure(_entropy(weights @ names / count) / np.log(LABELS), most=1.0),
        accuracy=right,
        nearest=None if distances is None else mean(distances[0], np.inf),
        copies=None if distances is None else mean(distances[1]),
    )


def _labels(labels: ArrayLike, count: int) -> Labels:
    asked = np.asarray(labels)
    if asked.shape != (count,) or asked.dtype.kind not in "iu":
        raise SpecError(f"labels must be whole numbers of shape ({count},), not {asked.dtype} of "
                        f"shape {asked.shape}")
    if asked.min() < 0 or asked.max() >= LABELS:
        raise SpecError(f"labels must be 0 to {LABELS - 1}, not {asked.min()} to {asked.max()}")
    return np.asarray(asked, dtype=np.int64)


def _figure(values: Iterable[float], least: float = 0.0, most: float = np.inf) -> Figure:
    """Return the first value with the interval of the others, moved to have it as their mean.

    The interval ends at the bounds of the figure.
    """
    first, *rest = map(float, values)
    moved = np.asarray(rest, dtype=np.float64)
    moved += first - moved.mean()
    low, high = np.quantile(moved, [0.5 - COVERAGE / 2, 0.5 + COVERAGE / 2]).clip(least, most)
    return Figure(first, min(float(low), first), max(float(high), first))


def _entropy(shares: Values) -> Values:
    return np.asarray(-(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=-1))


def _within(
    features: Values, labels: Labels, reference: Reference, resamples: int,
    draw: np.random.Generator,
) -> Figure:
    """Return the mean over classes of the distance inside each; resampled inside each, too."""
    totals = np.zeros(resamples + 1)
    classes = np.unique(labels)
    for label in classes:
        mine = features[labels == label][:CLASS_SIZE]
        theirs = reference.within.features[reference.labels == label][:CLASS_SIZE]
        if len(mine) < 2 or len(theirs) < 2:
            raise SpecError(f"the distance inside class {label} needs 2 images of it, not "
                            f"{min(len(mine), len(theirs))}")
        real, count = moments(theirs), len(mine)
        weights = np.ones((resamples + 1, count))
        weights[1:] = draw.multinomial(count, np.full(count, 1.0 / count), size=resamples)
        totals += [frechet_distance(real, moments(mine, w)) for w in weights]
    return _figure(totals / len(classes))

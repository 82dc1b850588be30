"""Distances between sets of images, by features and by pixels.

With features of mean m and covariance C (divisor n - 1) of two sets, the Frechet distance [1]_,
between the Gaussians of those moments, is::

    FD = |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (R C2 R)^(1/2),        R = C1^(1/2)

R and the last root by eigendecomposition of symmetric matrices. The kernel distance with
k(a, b) = exp(-|a - b|^2 / (2 s^2)) is the unbiased MMD^2 = <k(x, x')> + <k(y, y')> - 2 <k(x, y)>,
x and x' two samples, y and y' two reference images [2]_; s^2 is the median of |y - y'|^2 over pairs
of reference images, whatever the samples are.

References
----------
.. [1] M. Heusel et al., "GANs trained by a two time-scale update rule", 2017, equation 6.
.. [2] A. Gretton et al., "A kernel two-sample test", 2012, equation 3.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError

__all__ = ["Moments", "frechet_distance", "mean_discrepancies", "moments", "nearest_distances"]

Values = NDArray[np.float64]
_BATCH = 256


class Moments(NamedTuple):
    """Mean, shape (features,), and covariance, shape (features, features), of a set of features."""

    mean: Values
    covariance: Values


def moments(features: Values, weights: Values | None = None) -> Moments:
    """Return mean and covariance of rows, with how often each row counts; the divisor is n - 1."""
    if weights is None:
        weights = np.ones(len(features))
    count = weights.sum()
    mean = weights @ features / count
    centred = features - mean
    return Moments(mean, (weights[:, None] * centred).T @ centred / (count - 1.0))


def frechet_distance(first: Moments, second: Moments) -> float:
    """Return the squared Frechet distance of two Gaussians (equation in the module's docstring).

    The result is not below 0; covariances may be singular.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ second.covariance @ root)
    apart = float(((first.mean - second.mean) ** 2).sum())
    spread = float(np.trace(first.covariance) + np.trace(second.covariance))
    return max(0.0, apart + spread - 2.0 * float(np.sqrt(np.maximum(cross, 0.0)).sum()))


def nearest_distances(images: Values, training: Values) -> tuple[Values, NDArray[np.bool_]]:
    """Return the Euclidean distance of each image to its nearest training image, and who is a copy.

    A copy equals a training image once both are rounded to the data's 17 grey levels.
    """
    lengths = (training**2).sum(axis=1)
    squares = np.empty(len(images))
    for start in range(0, len(images), _BATCH):
        x = images[start : start + _BATCH]
        nearest = (lengths - 2.0 * x @ training.T).min(axis=1)
        squares[start : start + _BATCH] = nearest + (x**2).sum(axis=1)
    levels = {row.tobytes() for row in _levels(training)}
    copies = np.array([row.tobytes() in levels for row in _levels(images)])
    # A difference of large squares leaves 1e-15 of an exact copy.
    return np.sqrt(np.where(squares > 1e-12, squares, 0.0)), copies


def _levels(images: Values) -> NDArray[np.int8]:
    return np.round((images + 1.0) * 8.0).clip(0, 16).astype(np.int8)


def _squared_distances(a: Values, b: Values) -> Values:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)


def mean_discrepancies(x: Values, y: Values, weights: Values) -> Values:
    """Return the unbiased MMD^2 of resamples of `x` against `y`.

    Parameters
    ----------
    x, y : array, shape (n, features) and (m, features)
        Samples, and reference images, which set the width s.
    weights : array, shape (resamples, n)
        How often each sample is in each resample, sums n; it makes no pair with its own copies.

    Returns
    -------
    array, shape (resamples,)

    Raises
    ------
    SpecError
        If the reference images do not differ from each other.
    """
    between = _squared_distances(y, y)[np.triu_indices(len(y), 1)]
    width = float(np.median(between))
    if width == 0.0:
        raise SpecError("the reference images must differ from each other")

    def kernel(squares: Values) -> Values:
        return np.asarray(np.exp(squares / (-2.0 * width)))

    count = len(x)
    pairs = count**2 - (weights**2).sum(axis=1)
    own = kernel(_squared_distances(x, x))
    np.fill_diagonal(own, 0.0)
    inside = ((weights @ own) * weights).sum(axis=1) / np.maximum(pairs, 1.0)
    across = weights @ kernel(_squared_distances(x, y)).mean(axis=1) / count
    return np.asarray(inside + kernel(between).mean() - 2.0 * across)

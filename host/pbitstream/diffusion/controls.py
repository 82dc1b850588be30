"""Generators without any model, which a generated set must beat: tables and real images.

The mixture of independent pixels draws one group of training images, then every pixel from that
pixel of another random image of the group. With the groups of k-means it is a table of k mean
images, a generator that knows no correlation inside a group; a figure it reaches proves nothing.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.diffusion.judge import Judged
from pbitstream.errors import SpecError

__all__ = ["independent_pixels", "k_means", "replayed", "replayed_classes"]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]


def k_means(images: ArrayLike, clusters: int, seed: int = 0, rounds: int = 50) -> Labels:
    """Return the cluster of every image, by Lloyd's algorithm from distinct random images.

    Parameters
    ----------
    images : array, shape (n, pixels)
        What to cluster.
    clusters
        1 to n.
    seed, rounds
        Of ``default_rng``; the largest number of rounds.

    Returns
    -------
    array, shape (n,)
        0 to `clusters` - 1. A cluster that loses all images keeps its centre, so one may be empty.
    """
    x = np.asarray(images, dtype=np.float64)
    if not 1 <= clusters <= len(x):
        raise SpecError(f"clusters must be between 1 and {len(x)}, not {clusters}")
    centres = x[np.random.default_rng(seed).choice(len(x), clusters, replace=False)]
    groups = np.full(len(x), -1, dtype=np.int64)
    for _ in range(rounds):
        nearest = ((centres**2).sum(axis=1) - 2.0 * x @ centres.T).argmin(axis=1)
        if (nearest == groups).all():
            break
        groups = nearest
        for cluster in np.unique(groups):
            centres[cluster] = x[groups == cluster].mean(axis=0)
    return groups


def independent_pixels(
    training: ArrayLike, groups: ArrayLike, count: int, seed: int
) -> tuple[Values, Labels]:
    """Draw images whose pixels are independent inside a group.

    Parameters
    ----------
    training : array, shape (n, pixels)
        Images whose values are drawn.
    groups : array, shape (n,)
        Group of every image: labels, or `k_means`. A group is drawn as often as it occurs.
    count, seed
        Number of images, and the seed of ``default_rng``.

    Returns
    -------
    array, shape (count, pixels)
        The images.
    array, shape (count,)
        The group each was drawn from.
    """
    x, of = np.asarray(training, dtype=np.float64), np.asarray(groups, dtype=np.int64)
    if x.ndim != 2 or of.shape != x.shape[:1]:
        raise SpecError(f"groups must have shape {x.shape[:1]}, not {of.shape}")
    if count < 1:
        raise SpecError(f"count must be at least 1, not {count}")
    draw = np.random.default_rng(seed)
    drawn = of[draw.integers(len(x), size=count)]
    images = np.empty((count, x.shape[1]))
    for group in np.unique(drawn):
        members, mine = np.flatnonzero(of == group), np.flatnonzero(drawn == group)
        sources = members[draw.integers(len(members), size=(len(mine), x.shape[1]))]
        images[mine] = x[sources, np.arange(x.shape[1])]
    return images, drawn


def replayed(training: Judged, count: int, seed: int) -> Judged:
    """Return `count` different training images at random: what a perfect generator would score.

    `training` is the first part of `Judge.training`, so that no image is needed.
    """
    if not 1 <= count <= len(training):
        raise SpecError(f"count must be between 1 and {len(training)}, not {count}")
    return training.take(np.random.default_rng(seed).permutation(len(training))[:count])


def replayed_classes(
    training: Judged, labels: Labels, size: int, seed: int
) -> tuple[Judged, Labels]:
    """Return `size` images of each class, none of which is among the first `size` of its class.

    The first ones are the reference inside classes, so the distance of these is that of real
    images from other real images.
    """
    draw = np.random.default_rng(seed)
    rows = []
    for label in np.unique(labels):
        others = np.flatnonzero(labels == label)[size:]
        if len(others) < size:
            raise SpecError(f"size must be at most half of the {len(others) + size} images of "
                            f"class {label}, not {size}")
        rows.append(draw.permutation(others)[:size])
    kept = np.concatenate(rows)
    return training.take(kept), labels[kept]

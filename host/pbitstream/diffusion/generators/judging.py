"""What a generator's images are worth: figures over several seeds, with what could fool them.

Each seed draws images on a device and measures them (`pbitstream.diffusion.generation`). Beside the
means stand, measured in the same way and at the same count,

- real images replayed: what a perfect generator would score;
- tables of independent pixels, by k-means with 20 and 100 clusters and by class, which know no
  correlation: a figure that they reach proves nothing. By the pooled distance of these judges a
  hundred mean images come close to real ones; by the share of confident labels they do not.

The deviation over seeds is that of one set of images; a mean over n seeds has it by sqrt(n) less.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import Device
from pbitstream.diffusion.controls import (
    independent_pixels,
    k_means,
    replayed,
    replayed_classes,
)
from pbitstream.diffusion.digits import TRAINING, training_digits
from pbitstream.diffusion.generation import (
    CLASS_SIZE,
    Figure,
    GenerationMetrics,
    Reference,
    generation_metrics,
    judged_metrics,
)
from pbitstream.diffusion.generators.base import Drawn, Generator, Report
from pbitstream.diffusion.generators.diffusion import digital_images
from pbitstream.diffusion.judge import LABELS, Judge, Judged
from pbitstream.diffusion.schedule import SAMPLING_STEPS
from pbitstream.errors import MissingExtraError, SpecError
from pbitstream.model import Model, shipped

__all__ = ["check_count", "control_figures", "digital_figures", "judge_draws",
           "judge_generator", "summary"]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]
#: The model whose U-Net is the digital reference.
DIGITAL = "digits-k16"
#: Figures that compare with all ten digits.
POOLED = ("frechet", "frechet_within", "mmd", "inception", "entropy")
#: Clusters of the tables of independent pixels.
CLUSTERS = (20, 100)
#: Bootstrap resamples where only the figure is wanted, not its interval.
FEWEST = 2
FIGURES = ("frechet", "frechet_within", "mmd", "f90", "confidence", "inception", "entropy",
           "accuracy", "nearest", "copies")


def judge_generator(
    generator: Generator,
    device: Device,
    seeds: Sequence[int],
    count: int = 600,
    *,
    controls: bool = True,
    report: Report | None = None,
) -> dict[str, Any]:
    """Draw images with every seed and return their figures beside the controls', as plain data.

    Parameters
    ----------
    device
        Open.
    seeds
        One or more, all different; 5 give the mean to half of a seed's deviation.
    count
        Images of each seed, at most the 1,437 real ones with controls. Figures of different counts
        are not comparable.
    controls
        Whether to measure those too; without, ``controls`` is empty.
    report
        Called as the generator's `draw` calls it, for one seed after the other.

    Returns
    -------
    dict
        ``generator`` (its `to_dict`), ``judge``, ``count``, ``seeds``; ``draws``, for each seed its
        ``figures`` with intervals, ``updates`` and ``clips``; ``figures``, over the seeds, each
        with ``mean`` and ``deviation`` (None for one seed), None where the generator has no labels,
        some class has one image only, or scikit-learn is missing; ``controls``, the same by
        control; ``missing``, why some are not there, or None.

    Raises
    ------
    SpecError
        If there is no seed, or one twice, or an argument of `Generator.draw` is out of range.

    Notes
    -----
    About a second per seed besides the drawing, and as long again for all controls.
    """
    check_count(seeds, count, controls=controls)
    draws = [generator.draw(device, count, seed=seed, report=report) for seed in seeds]
    return judge_draws(generator, draws, seeds, controls=controls)


def judge_draws(
    generator: Generator, draws: Sequence[Drawn], seeds: Sequence[int], *, controls: bool = True,
    pooled: bool = True,
) -> dict[str, Any]:
    """Return what `judge_generator` returns, of images that the generator has drawn already.

    Parameters
    ----------
    draws, seeds
        What every seed drew, all of one count.
    controls
        As `judge_generator` takes it.
    pooled
        False where labels were chosen: figures that compare with all ten digits are then None.
    """
    counts = {len(drawn.images) for drawn in draws}
    if len(draws) != len(seeds) or len(counts) > 1:
        raise SpecError(f"draws must be one for each of {len(seeds)} seeds, of one count, not "
                        f"{len(draws)} of {sorted(counts)}")
    count = max(counts, default=0)
    check_count(seeds, count, controls=controls)
    judge = Judge.open(generator.judge)
    reference = Reference.of(judge)
    training, missing = _training()
    images = None if training is None else training[0]
    found = [generation_metrics(judge, drawn.images, labels=_judgeable(drawn.labels),
                                training=images, reference=reference) for drawn in draws]
    return {
        "generator": generator.to_dict(),
        "judge": judge.kind,
        "count": count,
        "seeds": list(seeds),
        "draws": [{"seed": seed, "figures": metrics.to_dict(), "updates": drawn.updates,
                   "clips": dict(drawn.clips)}
                  for seed, metrics, drawn in zip(seeds, found, draws)],
        "figures": {name: figure if pooled or name not in POOLED else None
                    for name, figure in summary(found).items()},
        "controls": control_figures(judge, reference, training, seeds, count) if controls else {},
        "missing": missing,
    }


def digital_figures(
    seeds: Sequence[int],
    count: int = 600,
    *,
    steps: int = SAMPLING_STEPS,
    eta: float = 0.0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Draw with the digital U-Net that ships, from the noise that diffusion generators start from.

    Parameters
    ----------
    seeds, count
        As `judge_generator` takes them.
    steps, eta
        Of the sampler; see `pbitstream.diffusion.sampler.sample`.

    Returns
    -------
    dict
        ``figures`` as `judge_generator` has them, and the ``images`` (count, 64) of the first seed.
    """
    check_count(seeds, count, controls=False)
    tell = report or (lambda what, done, total: None)
    judge, training = Judge.open("grey"), _training()[0]
    reference, model = Reference.of(judge), Model.open(shipped(DIGITAL))
    found, first = [], None
    for number, seed in enumerate(seeds):
        tell("digital U-Net", number, len(seeds))
        images = digital_images(model, count, seed, steps=steps, eta=eta)
        first = images if first is None else first
        found.append(generation_metrics(judge, images, reference=reference, resamples=FEWEST,
                                        training=None if training is None else training[0]))
    return {"figures": summary(found), "images": first}


def control_figures(
    judge: Judge,
    reference: Reference,
    training: tuple[Values, Labels] | None,
    seeds: Sequence[int],
    count: int,
) -> dict[str, dict[str, Any]]:
    """Return the figures of every control over the seeds, as `summary` has them.

    Parameters
    ----------
    training
        Training images and their labels; without, real images alone are there, as features.
    """
    real, labels = judge.training
    found = {"real": [_real(real, labels, reference, seed, count) for seed in seeds]}
    if training is not None:
        images, classes = training
        groups = {f"k-means-{k}": k_means(judge.seen(images), k) for k in CLUSTERS}
        groups["classes"] = classes
        for name, of in groups.items():
            rows = []
            for seed in seeds:
                mixed, drawn = independent_pixels(images, of, count, seed)
                rows.append(generation_metrics(
                    judge, mixed, labels=_judgeable(drawn if name == "classes" else None),
                    training=images, reference=reference, resamples=FEWEST,
                ))
            found[name] = rows
    return {name: summary(rows) for name, rows in found.items()}


def summary(found: Sequence[GenerationMetrics]) -> dict[str, Any]:
    """Return mean and deviation of every figure over several sets of images."""
    return {name: _over([getattr(metrics, name) for metrics in found]) for name in FIGURES}


def check_count(seeds: Sequence[int], count: int, *, controls: bool) -> None:
    """Raise SpecError unless images of these seeds, so many of each, can be judged."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise SpecError(f"seeds must be one or more different ones, not {list(seeds)}")
    if controls and not 2 <= count <= TRAINING:
        raise SpecError(f"count must be between 2 and {TRAINING}, the real images there are, not "
                        f"{count}")


def _judgeable(labels: Labels | None) -> Labels | None:
    """Return labels whose classes have two images each, which a distance inside them needs."""
    if labels is None or np.unique(labels, return_counts=True)[1].min() < 2:
        return None
    return labels


def _training() -> tuple[tuple[Values, Labels] | None, str | None]:
    """Return the training images and labels, or None and why they are not there."""
    try:
        return training_digits(), None
    except MissingExtraError as error:
        return None, str(error)


def _real(
    real: Judged, labels: Labels, reference: Reference, seed: int, count: int
) -> GenerationMetrics:
    """Return the figures of real images; inside classes, of some that are not the reference."""
    pooled = judged_metrics(replayed(real, count, seed), reference, resamples=FEWEST)
    others, asked = replayed_classes(real, labels, CLASS_SIZE, seed)
    # As many of each class as `count` images have on average.
    size = min(CLASS_SIZE, max(2, round(count / LABELS)))
    kept = np.concatenate([np.flatnonzero(asked == label)[:size] for label in range(LABELS)])
    inside = judged_metrics(others.take(kept), reference, labels=asked[kept], resamples=FEWEST)
    return replace(pooled, frechet_within=inside.frechet_within, accuracy=inside.accuracy)


def _over(figures: Sequence[Figure | None]) -> dict[str, float | None] | None:
    values = [figure.value for figure in figures if figure is not None]
    if not values:
        return None
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "deviation": deviation}

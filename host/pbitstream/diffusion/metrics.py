"""Quality figures of a conditional readout, each beside what could fool it.

Plain cosine is flattered by the mean: a constant output scores .96 on it. So it stands beside the
centred cosine (training mean removed from both) and R² over the training mean.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError

__all__ = ["ReadoutMetrics", "centred_cosine", "mean_cosine", "r_squared", "readout_metrics"]

Values = NDArray[np.float64]


@dataclass(frozen=True)
class ReadoutMetrics:
    """Figures of predicted activations against a digital reference's; see `readout_metrics`."""

    plain_cosine: float
    centred_cosine: float
    r2: float
    f_mse: float | None
    denoised_mse: float | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the figures as plain data for JSON."""
        return asdict(self)


def mean_cosine(a: Values, b: Values) -> float:
    """Return the mean over rows of ``a . b / (|a| |b|)``; 0 for a row without length."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    dots = (a * b).sum(axis=1)
    return float(np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0).mean())


def centred_cosine(a: Values, b: Values, mean: Values) -> float:
    """Return the mean cosine of rows after the training mean is taken from both."""
    return mean_cosine(a - mean, b - mean)


def r_squared(predicted: Values, truth: Values, mean: Values) -> float:
    """Return ``1 - |truth - predicted|² / |truth - mean|²``, `mean` from the training set."""
    spread = float(((truth - mean) ** 2).sum())
    if spread == 0:
        raise SpecError("r2 needs activations that differ from the training mean")
    return 1 - float(((truth - predicted) ** 2).sum()) / spread


def readout_metrics(
    predicted: Values,
    truth: Values,
    mean: Values,
    *,
    f: tuple[Values, Values] | None = None,
    image: tuple[Values, Values] | None = None,
) -> ReadoutMetrics:
    """Return all figures.

    Parameters
    ----------
    predicted, truth : array, shape (states, units)
        Activations read from the substrate, and the digital reference's.
    mean : array, shape (units,)
        Mean activation over the training states.
    f, image
        Pairs (predicted, true) of the denoiser's output F and of the clean image, or None where
        the truth is not known.
    """
    return ReadoutMetrics(
        plain_cosine=mean_cosine(predicted, truth),
        centred_cosine=centred_cosine(predicted, truth, mean),
        r2=r_squared(predicted, truth, mean),
        f_mse=None if f is None else float(((f[0] - f[1]) ** 2).mean()),
        denoised_mse=None if image is None else float(((image[0] - image[1]) ** 2).mean()),
    )

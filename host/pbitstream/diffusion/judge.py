"""The classifiers whose features measure generated digits, forward pass in NumPy, float64.

Two 3x3 convolutions with zero padding 1, the maximum of every 2 x 2 pixels, then ReLU units whose
outputs are the features, and a linear layer::

    h = max2x2(ReLU(second(ReLU(first(x)))))      32 x 4 x 4
    features = ReLU(features(h))                  64
    p = softmax(labels(features))                 10

The judge ``grey`` sees pixels as they are; ``binary`` sees +1 where a pixel is above 0, else -1.
Their features have different scales, so figures of one are not comparable with those of the other.
Weight names: ``<layer>.{weight,bias}`` with the layers first, second, features, labels. This is the
twin of ``Classifier`` in ``tools/digits/train_judge.py``; the two agree to float32.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from pbitstream.diffusion.digits import PIXELS, SIDE
from pbitstream.errors import SpecError
from pbitstream.model import Model, shipped

__all__ = ["FEATURES", "KINDS", "LABELS", "Judge", "Judged"]

Values = NDArray[np.float64]

#: The judges that ship, and the names of their files.
KINDS = {"grey": "digits-judge", "binary": "digits-judge-binary"}
FEATURES = 64
LABELS = 10
_BATCH = 128  # the patches of one batch are 9.4 MB


@dataclass(frozen=True, eq=False)
class Judged:
    """What a judge says about images: `features` (n, 64) and `probabilities` of labels (n, 10)."""

    features: Values
    probabilities: Values

    def __len__(self) -> int:
        return len(self.features)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The likeliest label of every image, (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def take(self, rows: NDArray[np.int64]) -> "Judged":
        """Return the judgement of some of the images."""
        return Judged(self.features[rows], self.probabilities[rows])


@dataclass(frozen=True, eq=False)
class Judge:
    """A classifier of 8x8 digits; calling it judges images.

    Attributes
    ----------
    model
        Its weights, the features of its training images (``training.features`` as bytes in steps of
        ``training.scale``, ``training.labels``), and its kind in the provenance.
    """

    model: Model

    @classmethod
    def open(cls, kind: str) -> "Judge":
        """Return the shipped judge ``grey`` or ``binary``."""
        if kind not in KINDS:
            raise SpecError(f"kind must be one of {', '.join(KINDS)}, not {kind}")
        return cls(Model.open(shipped(KINDS[kind])))

    @property
    def kind(self) -> str:
        """What it was trained on: ``grey`` or ``binary`` images."""
        return self.model.provenance["judge"]

    @property
    def file_name(self) -> str:
        """The name of its file in the package."""
        return KINDS[self.kind]

    def seen(self, images: ArrayLike) -> Values:
        """Return what the judge sees: the images, or their signs for ``binary``; (n, 64).

        Raises
        ------
        SpecError
            If `images` does not have 64 columns, or holds NaN or infinities.
        """
        x = np.asarray(images, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != PIXELS:
            raise SpecError(f"images must have shape (n, {PIXELS}), not {x.shape}")
        if not np.isfinite(x).all():
            raise SpecError("images must be finite; they hold NaN or infinity")
        return np.where(x > 0, 1.0, -1.0) if self.kind == "binary" else x

    def __call__(self, images: ArrayLike) -> Judged:
        """Judge images.

        Parameters
        ----------
        images : array, shape (n, 64)
            Pixels row by row, in [-1, 1]; what lies outside is not clipped.

        Raises
        ------
        SpecError
            As `seen`.

        Notes
        -----
        About 0.4 million multiplications per image.
        """
        x = self.seen(images)
        features = np.empty((len(x), FEATURES))
        for start in range(0, len(x), _BATCH):
            rows = slice(start, start + _BATCH)
            h = self._convolution(x[rows].reshape(-1, SIDE, SIDE, 1), "first")
            h = self._convolution(h, "second")
            half = SIDE // 2
            h = h.reshape(-1, half, 2, half, 2, h.shape[-1]).max(axis=(2, 4))
            flat = h.transpose(0, 3, 1, 2).reshape(len(h), -1)
            features[rows] = np.maximum(self._linear(flat, "features"), 0.0)
        return self._judged(features)

    @property
    def training(self) -> tuple[Judged, NDArray[np.int64]]:
        """Its training images as it sees them, and their true labels; features in 255 steps."""
        features = self.model["training.features"] * self.model["training.scale"]
        return self._judged(features), self.model["training.labels"].astype(np.int64)

    def _judged(self, features: Values) -> Judged:
        logits = self._linear(features, "labels")
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return Judged(features, shares / shares.sum(axis=1, keepdims=True))

    def _linear(self, x: Values, name: str) -> Values:
        y = x @ self.model[f"{name}.weight"].T + self.model[f"{name}.bias"]
        return np.asarray(y, dtype=np.float64)

    def _convolution(self, x: Values, name: str) -> Values:
        """Return the ReLU of a convolution of (n, rows, columns, channels) with (out, in, 3, 3)."""
        kernel = self.model[f"{name}.weight"]
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = sliding_window_view(padded, (3, 3), axis=(1, 2))  # (n, rows, columns, in, 3, 3)
        flat = patches.reshape(*x.shape[:3], -1) @ kernel.reshape(len(kernel), -1).T
        return np.maximum(flat + self.model[f"{name}.bias"], 0.0)

"""Images for the digit denoiser: the two splits, and files of the user.

Pixels are 8x8 in [-1, 1], -1 the background and 1 full ink; the data set's own values 0..16 become
``value / 8 - 1``.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.diffusion.schedule import DATA_SPREAD
from pbitstream.errors import FileFormatError, MissingExtraError
from pbitstream.model import shipped
from pbitstream.spec.words import BIAS
from pbitstream.tensors import read_tensors

__all__ = ["PIXELS", "SIDE", "TRAINING", "held_out_digits", "read_images", "training_digits"]

Values = NDArray[np.float64]

SIDE = 8
PIXELS = SIDE * SIDE
#: Images of the training split.
TRAINING = 1437
#: Largest value of a pixel in scikit-learn's data set.
DATA_LEVELS = 16
#: c_in is at most 1 / DATA_SPREAD, and c_in x must fit a bias word.
NOISY_LIMIT = BIAS.value(BIAS.highest) * DATA_SPREAD
PNG_START = b"\x89PNG\r\n\x1a\n"


def held_out_digits() -> tuple[Values, NDArray[np.int64]]:
    """Return the 360 held-out digits, (360, 64) in [-1, 1], and their labels, (360,).

    They are scikit-learn's hand-written digits, in the order of ``RandomState(0).permutation``
    after the 1,437 training images; no training or selection has seen them.
    """
    path = shipped("digits-test")
    tensors, _ = read_tensors(path)
    if not tensors.keys() >= {"images", "labels"}:
        raise FileFormatError(f"{path}: not the test images; install pbitstream again")
    return tensors["images"] / 8.0 - 1.0, tensors["labels"].astype(np.int64)


def training_digits() -> tuple[Values, NDArray[np.int64]]:
    """Return the 1,437 training digits, (1437, 64) in [-1, 1], and their labels, (1437,).

    They are the others of `held_out_digits`.

    Raises
    ------
    MissingExtraError
        If scikit-learn, which comes with ``pbitstream[digits]`` and holds the images, is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError("the training digits come with scikit-learn, which is missing; "
                                "pip install 'pbitstream[digits]'") from error
    images, labels = load_digits(return_X_y=True)
    # The legacy generator: its stream is frozen, and with it the split.
    chosen = np.random.RandomState(0).permutation(len(images))[:TRAINING]
    return images[chosen].astype(np.float64) / 8.0 - 1.0, labels[chosen].astype(np.int64)


def read_images(
    paths: Sequence[str | os.PathLike[str]],
    *,
    noisy: bool = False,
    note: Callable[[str], None] | None = None,
) -> Values:
    """Return the images of some PNG and NPY files, one after the other, (images, 64).

    Parameters
    ----------
    paths
        PNG of 8x8 pixels, light ink on dark, colour taken as grey; NPY of shape (8, 8), (64,),
        (n, 8, 8) or (n, 64), uint8 0..255, floats in [-1, 1] or bool, True the ink.
    noisy
        The files hold noisy images x_t: NPY of floats, within +-6.
    note
        Called with a sentence about a file whose values look as if they were of another scale;
        they are read by the rule all the same.

    Raises
    ------
    FileFormatError
        If a file is not such an image; the message names the file, the rule and the way out.
    MissingExtraError
        If a PNG is to be read and Pillow, which comes with ``pbitstream[plot]``, is missing.
    OSError
        If a file cannot be opened.
    """
    tell = note or (lambda text: None)
    return np.concatenate([_read(Path(path), noisy, tell) for path in paths])


def _read(path: Path, noisy: bool, note: Callable[[str], None]) -> Values:
    with path.open("rb") as file:
        start = file.read(8)
    if start == PNG_START:
        if noisy:
            raise FileFormatError(f"{path}: already-noisy input must be NPY of floats, not PNG")
        return _read_png(path)
    if start[:6] == b"\x93NUMPY":
        return _read_npy(path, noisy, note)
    raise FileFormatError(f"{path}: neither PNG nor NPY; save the image as one of them")


def _read_png(path: Path) -> Values:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(f"{path}: reading PNG needs Pillow, which is missing; "
                                "pip install 'pbitstream[plot]', or give NPY") from error
    try:
        with Image.open(path, formats=["PNG"]) as image:
            if image.size != (SIDE, SIDE):
                wide, high = image.size
                raise FileFormatError(f"{path}: an image must be {SIDE}x{SIDE} pixels, not "
                                      f"{wide}x{high}; scale it down first")
            if image.mode.startswith("I"):  # 16-bit grey
                grey = np.asarray(image, np.float64) / 65535.0
            else:  # what is transparent is background
                colour = image.convert("RGBA")
                dark = Image.new("RGBA", image.size, (0, 0, 0, 255))
                flat = Image.alpha_composite(dark, colour).convert("L")
                grey = np.asarray(flat, np.float64) / 255.0
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path}: a damaged PNG: {error}") from error
    return (2.0 * grey - 1.0).reshape(1, PIXELS)


def _read_npy(path: Path, noisy: bool, note: Callable[[str], None]) -> Values:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise FileFormatError(f"{path}: a damaged NPY file: {error}") from error
    if array.shape in ((SIDE, SIDE), (PIXELS,)):
        array = array[None]
    if array.shape[1:] not in ((SIDE, SIDE), (PIXELS,)) or len(array) == 0:
        raise FileFormatError(f"{path}: shape must be (8, 8), (64,), (n, 8, 8) or (n, 64) with "
                              f"n >= 1, not {array.shape}")
    kind = array.dtype.kind
    if kind != "f" and (noisy or array.dtype not in (np.uint8, np.bool_)):
        rule = "floats" if noisy else "uint8 of 0..255, floats in [-1, 1] or bool"
        raise FileFormatError(f"{path}: pixels must be {rule}, not {array.dtype}")
    values = array.reshape(len(array), PIXELS).astype(np.float64)
    if kind == "f":
        _check_floats(path, values, noisy)
        if not noisy and values.min() >= 0:
            note(f"{path}: all its floats lie in [0, 1] and are read as mid-grey to white; if 0 is "
                 "the background, save 2 x - 1")
        return values
    if kind == "b":
        return 2.0 * values - 1.0
    if 0 < values.max() <= DATA_LEVELS:
        note(f"{path}: its uint8 go up to {values.max():.0f} and are read as 0..255, nearly black; "
             f"if 0..{DATA_LEVELS} is their range, save x / {DATA_LEVELS // 2} - 1 as floats")
    return values / 127.5 - 1.0


def _check_floats(path: Path, values: Values, noisy: bool) -> None:
    if not np.isfinite(values).all():
        raise FileFormatError(f"{path}: pixels must be finite; it holds NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if noisy and max(-low, high) > NOISY_LIMIT:
        raise FileFormatError(f"{path}: noisy pixels must lie within +-{NOISY_LIMIT:.3f}, not in "
                              f"[{low:g}, {high:g}]; x_t = alpha x_0 + sigma e, x_0 in [-1, 1]")
    if not noisy and (low < -1 or high > 1):
        hint = ""
        if low >= 0:
            hint = f"; x / {max(high, 1.0) / 2:g} - 1 would be"
        raise FileFormatError(f"{path}: floats must lie in [-1, 1], not in [{low:g}, {high:g}]"
                              f"{hint}")

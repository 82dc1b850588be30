"""Scikit-learn's 8x8 digits, split once, and the noisy states to fit and to judge on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pbitstream.diffusion import schedule
from pbitstream.diffusion.digits import TRAINING, held_out_digits, training_digits

__all__ = [
    "HELD_OUT",
    "SAMPLES",
    "SAMPLING_SEEDS",
    "STATES_SEED",
    "TEST_SEED",
    "TRAINING",
    "VALIDATION_SEED",
    "States",
    "grid_states",
    "load_split",
    "training_images",
]

HELD_OUT = 287  # images cut from the end of the training split for every choice that is made
#: Of the noise on images to fit, to validate and to judge on.
STATES_SEED, VALIDATION_SEED, TEST_SEED = 3, 2, 1
#: Images that are drawn to be judged, once with each seed.
SAMPLES, SAMPLING_SEEDS = 600, range(3, 9)


class States(NamedTuple):
    """Noisy images with what is known about them; rows are image after image, time after time."""

    x_in: NDArray[np.float64]  # (states, 64), c_in x_t: what a model sees
    t: NDArray[np.float64]  # (states,)
    row: NDArray[np.int64]  # (states,), index of t in the table of times
    target: NDArray[np.float64]  # (states, 64), F*


def load_split() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 1,437 training and 360 test images, values / 8 - 1 in [-1, 1], shape (n, 64).

    The order is the permutation of ``RandomState(0)``; training takes the first images.
    """
    return training_digits()[0], held_out_digits()[0]


def training_images(*, hold_out: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return images to fit on and images to validate on; neither contains a test image.

    Without `hold_out` all training images are fitted, and the second array is empty.
    """
    train, _ = load_split()
    cut = len(train) - HELD_OUT if hold_out else len(train)
    return train[:cut], train[cut:]


def grid_states(images: NDArray[np.float64], seed: int, draws: int = 1) -> States:
    """Return every image at each of the 20 sampling times, with fresh noise for every state.

    Parameters
    ----------
    images : array, shape (n, 64)
        Clean images.
    seed
        Of ``RandomState``; the noise has shape (draws, n, 20, 64) and is drawn in C order.
    draws
        How often each image and time is taken.

    Returns
    -------
    States
        With draws * n * 20 rows.
    """
    times = schedule.sampling_times()
    noise = np.random.RandomState(seed).standard_normal((draws * len(images) * len(times), 64))
    x0 = np.tile(np.repeat(images, len(times), axis=0), (draws, 1))
    row = np.tile(np.arange(len(times)), draws * len(images))
    t = times[row]
    x = schedule.noisy(x0, noise, t)
    return States(schedule.preconditioning(t).c_in[:, None] * x, t, row, schedule.target(x0, x, t))

"""Noise schedule and preconditioning of the diffusion models, in float64.

The forward process is variance preserving, with t in (0, 1] and standard normal noise e::

    x_t = alpha x_0 + sigma e,        alpha = cos(0.99 pi t / 2),        sigma = sqrt(1 - alpha^2)

A denoiser never sees x_t itself and never predicts x_0 itself. With the data spread d = 0.75 and
q = sqrt(alpha^2 d^2 + sigma^2) it maps c_in x_t to F, and the skip c_skip x_t stays digital [1]_::

    c_in = 1 / q        c_skip = alpha d^2 / q^2        c_out = sigma d / q
    x0_hat = c_skip x_t + c_out F(c_in x_t, t)          F* = (x_0 - c_skip x_t) / c_out

so an error of F reaches the image through c_out alone, which goes to 0 with the noise. (Here c_skip
and c_out carry the factor alpha that a schedule scaled by alpha needs.)

References
----------
.. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the design space of diffusion-based
   generative models", 2022, section 5 and table 1.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError

__all__ = [
    "DATA_SPREAD",
    "SAMPLING_STEPS",
    "Preconditioning",
    "alpha_sigma",
    "denoised",
    "noisy",
    "preconditioning",
    "sampling_times",
    "target",
    "time_features",
    "time_frequencies",
]

SAMPLING_STEPS = 20
DATA_SPREAD = 0.75
_ANGLE = 0.99 * np.pi / 2.0  # 0.99 keeps alpha > 0 at t = 1, so that x_1 still defines c_skip


class Preconditioning(NamedTuple):
    """Coefficients of the denoiser at given times; each has the shape of the times."""

    c_in: NDArray[np.float64]
    c_skip: NDArray[np.float64]
    c_out: NDArray[np.float64]


def sampling_times(steps: int = SAMPLING_STEPS) -> NDArray[np.float64]:
    """Return the times t_i = i / steps, i = 1 .. steps, in ascending order.

    Raises
    ------
    SpecError
        If `steps` is less than 1.
    """
    if steps < 1:
        raise SpecError(f"steps must be at least 1, not {steps}")
    return np.arange(1, steps + 1, dtype=np.float64) / steps


def alpha_sigma(t: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return signal and noise amplitude, alpha = cos(0.99 pi t / 2) and sigma = sqrt(1 - alpha^2).

    Raises
    ------
    SpecError
        If a time lies outside (0, 1].
    """
    times = np.asarray(t, dtype=np.float64)
    if times.size and not (times.min() > 0.0 and times.max() <= 1.0):
        raise SpecError(f"t must lie in (0, 1], not in [{times.min()}, {times.max()}]")
    alpha = np.cos(_ANGLE * times)
    return alpha, np.sqrt(1.0 - alpha * alpha)


def preconditioning(t: ArrayLike) -> Preconditioning:
    """Return c_in, c_skip and c_out at the times `t` (equations in the module's docstring).

    Raises
    ------
    SpecError
        If a time lies outside (0, 1].
    """
    alpha, sigma = alpha_sigma(t)
    variance = (alpha * DATA_SPREAD) ** 2 + sigma * sigma
    q = np.sqrt(variance)
    return Preconditioning(1.0 / q, alpha * DATA_SPREAD**2 / variance, sigma * DATA_SPREAD / q)


def noisy(x0: ArrayLike, noise: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
    """Return x_t = alpha x_0 + sigma e.

    Parameters
    ----------
    x0, noise : array, shape (states, pixels)
        Images in [-1, 1] and standard normal draws.
    t : array, shape (states,) or ()
        Times in (0, 1].
    """
    alpha, sigma = alpha_sigma(t)
    x0, noise = np.asarray(x0, dtype=np.float64), np.asarray(noise, dtype=np.float64)
    return np.asarray(alpha[..., None] * x0 + sigma[..., None] * noise, dtype=np.float64)


def target(x0: ArrayLike, x: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
    """Return what a denoiser should predict, F* = (x_0 - c_skip x_t) / c_out.

    Parameters
    ----------
    x0, x : array, shape (states, pixels)
        Clean images and their noisy versions at `t`.
    t : array, shape (states,) or ()
        Times in (0, 1].
    """
    c = preconditioning(t)
    x0, x = np.asarray(x0, dtype=np.float64), np.asarray(x, dtype=np.float64)
    return np.asarray((x0 - c.c_skip[..., None] * x) / c.c_out[..., None], dtype=np.float64)


def denoised(x: ArrayLike, f: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
    """Return the estimate of the clean image, x0_hat = c_skip x_t + c_out F; it is not clipped.

    Parameters
    ----------
    x, f : array, shape (states, pixels)
        Noisy images and the denoiser's output for them.
    t : array, shape (states,) or ()
        Times in (0, 1].
    """
    c = preconditioning(t)
    x, f = np.asarray(x, dtype=np.float64), np.asarray(f, dtype=np.float64)
    return np.asarray(c.c_skip[..., None] * x + c.c_out[..., None] * f, dtype=np.float64)


def time_frequencies(count: int = 32) -> NDArray[np.float64]:
    """Return the angular frequencies of the time features, a geometric series from 1 to 60."""
    return np.geomspace(1.0, 60.0, count)


def time_features(t: ArrayLike, frequencies: ArrayLike) -> NDArray[np.float64]:
    """Return [sin(f_1 t) .. sin(f_n t), cos(f_1 t) .. cos(f_n t)].

    Parameters
    ----------
    t : array, shape (states,) or ()
        Times.
    frequencies : array, shape (n,)
        Angular frequencies; a model file carries its own.

    Returns
    -------
    array, shape (states, 2 n) or (2 n,)
    """
    times = np.asarray(t, dtype=np.float64)
    phase = times[..., None] * np.asarray(frequencies, dtype=np.float64)
    return np.concatenate([np.sin(phase), np.cos(phase)], axis=-1)

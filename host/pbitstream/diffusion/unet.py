"""Digital reference: the forward pass of a small time-conditioned U-Net in NumPy, float64.

Its five named tensors are the modules that a substrate replaces. Each holds 128 units (channels x
rows x columns, flattened in this order) and is the output of a SiLU::

    e1 = block(x)                2 x 8 x 8        d1 = block([e1, up(d2)])     2 x 8 x 8
    e2 = block(down(e1))         8 x 4 x 4        d2 = block([e2, up(bn)])     8 x 4 x 4
    bn = block(down(e2))        32 x 2 x 2        F  = head(d1)                1 x 8 x 8

A block is three 3x3 convolutions (zero padding 1) with a residual in the middle, and time enters by
a scale and a shift per channel::

    tau = SiLU(W_time features(t) + b_time)        [g, b] = W_film tau + b_film
    h = SiLU(in(y))        h' = h + SiLU((1 + g) mid(h) + b)        block(y) = SiLU(out(h'))

`down` is stride 2 in `in`, `up` repeats each pixel 2 x 2, `head` is one linear 3x3 convolution
(19 numbers), so F is an affine map of d1. There is no normalisation layer.

Weight names: ``unet.time.{weight,bias}``; ``unet.<module>.{in,mid,out}.{weight,bias}``, weights of
shape (out, in, 3, 3); ``unet.<module>.film.{weight,bias}``; ``unet.head.{weight,bias}``. Beside
them ``time_frequencies``. This is the twin of ``tools/digits/unet_torch.py``; the two agree to
float32.
"""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import ArrayLike, NDArray

from pbitstream.diffusion.schedule import time_features
from pbitstream.errors import SpecError

__all__ = ["ENCODER", "MODULES", "encode", "forward", "head"]

#: The modules that depend on nothing below them.
ENCODER = ("e1", "e2", "bn")
MODULES = {"e1": (2, 8, 8), "e2": (8, 4, 4), "bn": (32, 2, 2), "d2": (8, 4, 4), "d1": (2, 8, 8)}
_SIDE = 8
_BATCH = 32  # the patches of one batch stay in the second-level cache
_Array = NDArray[np.float64]


def forward(
    weights: Mapping[str, NDArray[np.floating]], x: ArrayLike, t: ArrayLike
) -> dict[str, NDArray[np.float64]]:
    """Evaluate the U-Net and return every module and F.

    Parameters
    ----------
    weights
        Tensors of a model file by name; other names are ignored.
    x : array, shape (states, 64)
        Scaled noisy images c_in x_t, row by row.
    t : array, shape (states,)
        Times in (0, 1].

    Returns
    -------
    dict
        ``e1``, ``e2``, ``bn``, ``d2``, ``d1`` with shape (states, 128), and ``f`` with shape
        (states, 64).

    Raises
    ------
    KeyError
        If a tensor is missing; the name is the message.
    SpecError
        If `x` and `t` do not fit.

    Notes
    -----
    About two million multiplications per state. States are taken 32 at a time, and a result
    repeats in every bit on one machine; between machines, or with other states in its batch, it may
    differ in the last bits, as BLAS does.
    """
    out = _modules(weights, x, t, tuple(MODULES))
    out["f"] = head(weights, out["d1"])
    return out


def encode(
    weights: Mapping[str, NDArray[np.floating]], x: ArrayLike, t: ArrayLike
) -> dict[str, NDArray[np.float64]]:
    """Evaluate the encoder alone and return ``e1``, ``e2`` and ``bn``, (states, 128) each.

    Arguments and errors as in `forward`; no weights of the decoder are needed. About 0.7 million
    multiplications per state.
    """
    return _modules(weights, x, t, ENCODER)


def head(weights: Mapping[str, NDArray[np.floating]], d1: ArrayLike) -> NDArray[np.float64]:
    """Map the last module to F by one linear 3x3 convolution, 19 numbers.

    Parameters
    ----------
    weights
        Tensors by name; uses ``unet.head.weight`` (1, 2, 3, 3) and ``unet.head.bias`` (1,).
    d1 : array, shape (states, 128)
        The module's units, from the U-Net or from a substrate's readout.

    Returns
    -------
    array, shape (states, 64)

    Raises
    ------
    SpecError
        If `d1` does not have 128 columns.
    """
    d1 = np.asarray(d1, dtype=np.float64)
    channels, rows, columns = MODULES["d1"]
    if d1.ndim != 2 or d1.shape[1] != channels * rows * columns:
        raise SpecError(f"d1 must have shape (states, 128), not {d1.shape}")
    last = d1.reshape(-1, channels, rows, columns).transpose(0, 2, 3, 1)
    return _conv(last, *_convolution(weights, "unet.head")).reshape(len(d1), rows * columns)


def _modules(
    weights: Mapping[str, NDArray[np.floating]], x: ArrayLike, t: ArrayLike, names: tuple[str, ...]
) -> dict[str, _Array]:
    """Return the modules of `names`, the encoder's or all, by name, (states, 128) each."""
    x = np.asarray(x, dtype=np.float64)
    t = np.asarray(t, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != _SIDE * _SIDE:
        raise SpecError(f"x must have shape (states, {_SIDE * _SIDE}), not {x.shape}")
    if t.shape != x.shape[:1]:
        raise SpecError(f"t must have shape {x.shape[:1]}, not {t.shape}")
    features = time_features(t, weights["time_frequencies"])
    tau = _silu(features @ _wide(weights, "unet.time.weight").T + _wide(weights, "unet.time.bias"))
    blocks = {name: _Block(weights, name) for name in names}
    out = {name: np.empty((len(x), 128)) for name in names}
    for start in range(0, len(x), _BATCH):
        rows = slice(start, start + _BATCH)
        image = x[rows].reshape(-1, _SIDE, _SIDE, 1)
        now = tau[rows]
        e1 = blocks["e1"](image, now)
        e2 = blocks["e2"](e1, now, stride=2)
        bn = blocks["bn"](e2, now, stride=2)
        found = {"e1": e1, "e2": e2, "bn": bn}
        if "d1" in blocks:
            found["d2"] = blocks["d2"](np.concatenate([e2, _up(bn)], axis=3), now)
            found["d1"] = blocks["d1"](np.concatenate([e1, _up(found["d2"])], axis=3), now)
        for name, tensor in found.items():
            out[name][rows] = tensor.transpose(0, 3, 1, 2).reshape(len(tensor), -1)
    return out


class _Block:
    """One U-Net block with its weights widened to float64 and laid out for `_conv`."""

    def __init__(self, weights: Mapping[str, NDArray[np.floating]], name: str) -> None:
        self.first = _convolution(weights, f"unet.{name}.in")
        self.middle = _convolution(weights, f"unet.{name}.mid")
        self.last = _convolution(weights, f"unet.{name}.out")
        self.film_weight = _wide(weights, f"unet.{name}.film.weight").T
        self.film_bias = _wide(weights, f"unet.{name}.film.bias")

    def __call__(self, y: _Array, tau: _Array, *, stride: int = 1) -> _Array:
        scale, shift = np.split(tau @ self.film_weight + self.film_bias, 2, axis=1)
        h = _silu(_conv(y, *self.first, stride=stride))
        middle = _conv(h, *self.middle)
        middle *= 1.0 + scale[:, None, None, :]
        middle += shift[:, None, None, :]
        h += _silu(middle)
        return _silu(_conv(h, *self.last))


def _conv(y: _Array, kernel: _Array, bias: _Array, *, stride: int = 1) -> _Array:
    """Convolve (states, rows, columns, channels) with a kernel (9 channels, out), a GEMM each."""
    states, rows, columns, channels = y.shape
    padded = np.zeros((states, rows + 2, columns + 2, channels))
    padded[:, 1:-1, 1:-1] = y
    steps = padded.strides[:1] + tuple(stride * step for step in padded.strides[1:3])
    high, wide, triple = rows // stride, columns // stride, 3 * channels
    patches = np.empty((states, high, wide, 3, triple))
    for down in range(3):  # three neighbours of a row lie side by side: one copy takes all three
        patches[:, :, :, down] = as_strided(
            padded[:, down:], (states, high, wide, triple), (*steps, padded.itemsize)
        )
    # A product per state stays below the size at which OpenBLAS wakes its threads, which on
    # matrices this thin cost several times what they bring.
    out = patches.reshape(states, -1, 9 * channels) @ kernel
    out += bias
    return out.reshape(states, high, wide, -1)


def _silu(y: _Array) -> _Array:
    """Return y / (1 + exp(-y)), overwriting its argument; written with tanh it cannot overflow."""
    gate = np.tanh(0.5 * y)
    gate += 1.0
    gate *= 0.5
    y *= gate
    return y


def _up(y: _Array) -> _Array:
    """Repeat each pixel of (states, rows, columns, channels) 2 x 2."""
    return y.repeat(2, axis=1).repeat(2, axis=2)


def _wide(weights: Mapping[str, NDArray[np.floating]], name: str) -> _Array:
    return np.asarray(weights[name], dtype=np.float64)


def _convolution(weights: Mapping[str, NDArray[np.floating]], name: str) -> tuple[_Array, _Array]:
    """Lay (out, in, 3, 3) out as (9 in, out), tap by tap, to match the patches of `_conv`."""
    kernel = _wide(weights, f"{name}.weight")
    flat = kernel.transpose(2, 3, 1, 0).reshape(-1, len(kernel))
    return flat, _wide(weights, f"{name}.bias")

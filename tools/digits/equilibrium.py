"""The equilibrium of the k = 16 model in NumPy float64, and the figures that judge it.

The free module D1 has k2 = 1 and k4 = 0, so its equilibrium is its field::

    d1 = offset + scale (C^T phi(E z) + B diag(S(t)) A^T x)
    x = c_in x_t            z = [x, features(t)]
    phi(y) = [1, y_1..y_4, y_i y_j (i <= j), y_1 y_2 y_3 y_4]            16 numbers
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data import States
from pbitstream.diffusion import schedule, unet

__all__ = ["TENSORS", "interface_inputs", "judge", "phi", "terms"]

TENSORS = {
    "bank.a": (64, 16),
    "bank.b": (128, 16),
    "bank.gain": (20, 16),
    "interface.encoder": (4, 128),
    "interface.transfer": (16, 128),
    "readout.scale": (1,),
    "readout.offset": (128,),
    "times": (20,),
    "time_frequencies": (32,),
}
_PAIRS = np.triu_indices(4)
_Array = NDArray[np.float64]


def interface_inputs(states: States) -> _Array:
    """Return z, the 64 pixels c_in x_t and the 64 time features, shape (states, 128)."""
    features = schedule.time_features(states.t, schedule.time_frequencies())
    return np.concatenate([states.x_in, features], axis=1)


def phi(y: _Array) -> _Array:
    """Expand (states, 4) to (states, 16); pairs in the order 11, 12, .. 14, 22, .. 44."""
    one = np.ones((len(y), 1))
    pairs = y[:, _PAIRS[0]] * y[:, _PAIRS[1]]
    return np.concatenate([one, y, pairs, y.prod(axis=1, keepdims=True)], axis=1)


def terms(model: dict[str, _Array], states: States) -> dict[str, _Array]:
    """Return every quantity that a device holds in fixed point, by name."""
    y = interface_inputs(states) @ model["interface.encoder"].T
    projected = states.x_in @ model["bank.a"]
    driven = model["bank.gain"][states.row] * projected
    return {
        "c_in x": states.x_in,
        "E z": y,
        "phi": phi(y),
        "C^T phi": phi(y) @ model["interface.transfer"],
        "A^T x": projected,
        "S A^T x": driven,
        "B S A^T x": driven @ model["bank.b"].T,
    }


def judge(model: dict[str, _Array], states: States) -> dict[str, float]:
    """Judge the equilibrium against the U-Net's d1 and against F*, with its controls.

    R^2 is 1 - |d1 - d1'|^2 / |d1 - mean|^2 summed over states and units, with the training mean.
    """
    offset, scale = model["readout.offset"], float(model["readout.scale"][0])
    found = terms(model, states)
    predicted = offset + scale * (found["C^T phi"] + found["B S A^T x"])
    digital = unet.forward(model, states.x_in, states.t)
    # States are images x 20 times, so a shift by 20 rows is the next image at the same time.
    controls = {
        "": predicted,
        "other_image_": np.roll(predicted, 20, axis=0),
        "constant_": np.broadcast_to(offset, predicted.shape),
    }
    figures = {"unet_f_mse": float(np.mean((digital["f"] - states.target) ** 2))}
    centred = digital["d1"] - offset
    for name, d1 in controls.items():
        error = np.sum((d1 - digital["d1"]) ** 2)
        figures[f"{name}r2"] = float(1.0 - error / np.sum(centred**2))
        f = unet.head(model, d1)
        figures[f"{name}f_mse"] = float(np.mean((f - states.target) ** 2))
    figures["plain_cosine"] = _cosine(predicted, digital["d1"])
    figures["constant_plain_cosine"] = _cosine(controls["constant_"], digital["d1"])
    figures["centred_cosine"] = _cosine(predicted - offset, centred)
    return figures


def _cosine(left: _Array, right: _Array) -> float:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.mean(np.sum(left * right, axis=1) / norms))

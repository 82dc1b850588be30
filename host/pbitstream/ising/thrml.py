"""THRML's Ising models as problems, so that what was built there runs here."""

from typing import Any

import numpy as np

from pbitstream.errors import SpecError
from pbitstream.ising.arrays import numbers
from pbitstream.ising.problem import Problem

__all__ = ["from_thrml"]


def from_thrml(model: Any) -> tuple[Problem, float]:
    """Return the problem and the beta of a ``thrml.models.IsingEBM``.

    THRML's energy is ``-beta (sum_i b_i s_i + sum_ij J_ij s_i s_j)`` [1]_, so biases and weights
    are ours as they are, and its law is that of `beta`. P-bit i is ``model.nodes[i]``; parallel
    edges are summed.

    Parameters
    ----------
    model
        Anything with nodes, edges, biases, weights and beta, of JAX, NumPy or lists.

    Raises
    ------
    SpecError
        If it has no such attributes, an edge ends outside its nodes, or beta is not one number of
        at least 0.

    References
    ----------
    .. [1] https://docs.thrml.ai, models.ising.
    """
    missing = [name for name in ("nodes", "edges", "biases", "weights", "beta")
               if not hasattr(model, name)]
    if missing:
        raise SpecError(f"model must be an IsingEBM of THRML, but has no {missing[0]}")
    place = {id(node): index for index, node in enumerate(model.nodes)}
    try:
        ends = np.array([[place[id(node)] for node in edge] for edge in model.edges],
                        np.int64).reshape(-1, 2)
    except KeyError:
        raise SpecError("every edge of the model must join two of its nodes") from None
    beta = numbers("beta", np.asarray(model.beta))
    if beta.shape != () or beta < 0:
        raise SpecError(f"beta of the model must be one number of at least 0, not {beta}")
    h, weight = (numbers(name, np.asarray(getattr(model, name))) for name in ("biases", "weights"))
    if weight.shape != (len(ends),):
        raise SpecError(f"weights of the model must have shape ({len(ends)},), not {weight.shape}")
    low, high = ends.min(axis=1, initial=len(place)), ends.max(axis=1, initial=-1)
    pairs, which = np.unique(np.stack([low, high], axis=1), axis=0, return_inverse=True)
    total = np.zeros(len(pairs))
    np.add.at(total, which.reshape(-1), weight)
    return Problem(h, pairs[:, 0], pairs[:, 1], total, name="THRML"), float(beta)

"""thermox: exact transitions of an Ornstein-Uhlenbeck process, the oracle of Langevin units."""

import numpy as np

from pbitstream.peers.equality import Estimate, of_values
from pbitstream.peers.problems import LangevinTask

__all__ = ["thermox_square"]

#: Samples, the time between them, the first that are left out, and the segments of the error.
SAMPLES, APART, LEFT_OUT, SEGMENTS = 20_000, 1.0, 128, 32


def thermox_square(task: LangevinTask) -> Estimate:
    """Return the mean square of a linear task's units at our time step, by thermox.

    thermox samples ``dx = -A (x - b) dt + sqrt(2 T) dW`` without a time step, A = K - J. A step of
    dt changes the stationary covariance from ``T A^-1`` to ``T (A (1 - dt A / 2))^-1``; the
    difference of the two traces is added.
    """
    import jax
    import thermox
    from jax import numpy as jnp

    if task.k4:
        raise ValueError("k4 must be 0: only a linear process has exact transitions")
    drift, temperature = task.stiffness(), task.temperature
    mean = np.linalg.solve(drift, task.h.ravel().astype(np.float64))
    times = jnp.arange(SAMPLES + 1) * APART
    found = thermox.sample(jax.random.key(1), times, jnp.asarray(mean), jnp.asarray(drift),
                           jnp.asarray(mean), 2 * temperature * jnp.eye(len(drift)),
                           associative_scan=False)
    squares = (np.asarray(found, np.float64)[1:] ** 2).mean(axis=1)
    kept = squares[len(squares) % SEGMENTS + LEFT_OUT :]
    values = of_values(kept[: len(kept) // SEGMENTS * SEGMENTS, None], SEGMENTS)
    levels = np.linalg.eigvalsh(drift)
    step = temperature * float((1 / (levels * (1 - task.dt * levels / 2)) - 1 / levels).mean())
    return Estimate(values.value + step, values.error)

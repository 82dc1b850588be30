"""Adam on named arrays, with a cosine rate, a global norm limit and a moving average.

``m <- b1 m + (1 - b1) g``, ``v <- b2 v + (1 - b2) g^2``, ``theta <- theta - rate m' / (sqrt(v') +
eps)`` with bias-corrected m', v' [1]_; the rate falls as a half cosine from its start to 0.

References
----------
.. [1] D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2014, algorithm 1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Adam"]

Values = NDArray[np.float64]
Arrays = dict[str, Values]

EPSILON = 1e-8


@dataclass
class Adam:
    """State of the optimiser; everything in it is saved with a checkpoint.

    Parameters
    ----------
    rate
        First learning rate.
    iterations
        Updates over which the rate falls to 0.
    betas
        Decay of the two moments.
    clip
        Largest global norm of a gradient; larger ones are scaled to it.
    decay
        Decay of the moving average of the parameters.
    """

    rate: float
    iterations: int
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 10.0
    decay: float = 0.998
    done: int = 0
    first: Arrays = field(default_factory=dict)
    second: Arrays = field(default_factory=dict)
    average: Arrays = field(default_factory=dict)

    def update(self, arrays: Mapping[str, Values], gradient: Arrays) -> Arrays:
        """Return the arrays after one update along `gradient`; names without one stay."""
        self.done += 1
        norm = math.sqrt(sum(float(np.vdot(g, g)) for g in gradient.values()))
        shrink = min(1.0, self.clip / norm) if norm > 0 else 1.0
        rate = self.rate * (1 + math.cos(math.pi * (self.done - 1) / self.iterations)) / 2
        b1, b2 = self.betas
        after = dict(arrays)
        for name, raw in gradient.items():
            g = raw * shrink
            if name not in self.first:
                self.first[name], self.second[name] = np.zeros_like(g), np.zeros_like(g)
            m, v = self.first[name], self.second[name]
            # In place: two arrays of scratch, which the last step leaves as the result.
            step = (1 - b2) * g
            step *= g
            v *= b2
            v += step
            g *= 1 - b1
            m *= b1
            m += g
            np.divide(v, 1 - b2**self.done, out=step)
            np.sqrt(step, out=step)
            step += EPSILON
            np.divide(m, 1 - b1**self.done, out=g)
            np.divide(g, step, out=step)
            step *= rate
            after[name] = np.subtract(arrays[name], step, out=step)
        return after

    def follow(self, arrays: Mapping[str, Values]) -> None:
        """Take the arrays into the moving average, which warms up as 1 / n."""
        decay = min(self.decay, (self.done - 1) / self.done)
        for name, value in arrays.items():
            if name in self.average:
                self.average[name] *= decay
                self.average[name] += (1 - decay) * value
            else:
                self.average[name] = value.copy()

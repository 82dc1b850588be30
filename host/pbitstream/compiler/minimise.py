"""Minimising a smooth function of many variables from its gradient: L-BFGS.

The two-loop recursion of [1]_ (algorithm 7.4) over the last 12 pairs, with a backtracking line
search that demands a sufficient decrease; pairs of non-positive curvature are left out.

References
----------
.. [1] J. Nocedal, S. Wright, "Numerical Optimization", 2nd edition, 2006, chapter 7.
"""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["minimise"]

Values = NDArray[np.float64]

MEMORY, HALVINGS = 12, 25
#: Decrease that a step must bring, over what the slope promises.
SUFFICIENT = 1e-4


def minimise(
    function: Callable[[Values], tuple[float, Values]],
    start: Values,
    *,
    iterations: int,
    tolerance: float = 1e-6,
) -> tuple[Values, float]:
    """Return the best point found from `start`, a flat vector, and the value there.

    Parameters
    ----------
    function
        Returns value and gradient at a point.
    tolerance
        It ends when 10 iterations together lower the value by less than this share of it.
    """
    x = start.copy()
    value, slope = function(x)
    pairs: deque[tuple[Values, Values, float]] = deque(maxlen=MEMORY)
    history = [value]
    for _ in range(iterations):
        direction = -_apply_inverse(slope, pairs)
        descent = float(direction @ slope)
        if descent >= 0:
            pairs.clear()
            direction, descent = -slope, -float(slope @ slope)
        if descent == 0:
            break
        length = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(slope).sum()))
        for _ in range(HALVINGS):
            new = x + length * direction
            new_value, new_slope = function(new)
            if new_value <= value + SUFFICIENT * length * descent:
                break
            length /= 2
        else:
            break
        step, change = new - x, new_slope - slope
        curvature = float(step @ change)
        if curvature > 1e-12 * float(change @ change):
            pairs.append((step, change, 1 / curvature))
        x, value, slope = new, new_value, new_slope
        history.append(value)
        if len(history) > 10 and history[-11] - value < tolerance * abs(value):
            break
    return x, value


def _apply_inverse(slope: Values, pairs: "deque[tuple[Values, Values, float]]") -> Values:
    """Return the inverse Hessian's estimate applied to a gradient."""
    q, weights = slope.copy(), []
    for step, change, inverse in reversed(pairs):
        weight = inverse * float(step @ q)
        q -= weight * change
        weights.append(weight)
    if pairs:
        step, change, _ = pairs[-1]
        q *= float(step @ change) / float(change @ change)
    for (step, change, inverse), weight in zip(pairs, reversed(weights)):
        q += (weight - inverse * float(change @ q)) * step
    return q

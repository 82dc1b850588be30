"""How good draws are, by arviz-stats: effective sample size and R-hat of (chain, draw) values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import MissingExtraError

__all__ = ["effective_draws", "missing", "rank_rhat"]

#: arviz-stats wants at least as many draws of each chain.
FEWEST = 4


def missing() -> str:
    """Return why there are no diagnostics here, or nothing where arviz-stats is installed."""
    try:
        import arviz_stats.base  # noqa: F401
    except ImportError:
        return ("effective sample size and R-hat need arviz-stats, which is missing; "
                "pip install 'pbitstream[ising]' on Python 3.11 or later")
    return ""


def effective_draws(values: NDArray[Any]) -> float:
    """Return the bulk effective sample size of values (chains, draws); NaN of too few draws.

    Values that never change carry no information about mixing: NaN as well.
    """
    return _figure("ess", values)


def rank_rhat(values: NDArray[Any]) -> float:
    """Return the rank-normalised split R-hat of values (chains, draws); NaN of too few draws."""
    return _figure("rhat", values)


def _figure(name: str, values: NDArray[Any]) -> float:
    if values.shape[1] < FEWEST or values.min() == values.max():
        return float("nan")
    if reason := missing():
        raise MissingExtraError(reason)
    from arviz_stats.base import array_stats

    figure = getattr(array_stats, name)(np.asarray(values, np.float64), chain_axis=0, draw_axis=1)
    return float(figure)

"""The diagonal of the inverse against numpy.linalg: bias of the time step, and errors."""

import math

import numpy as np
import pytest

from pbitstream.errors import SpecError
from pbitstream.linear import inverse_diagonal
from pbitstream.linear.inverse import HALF_PACE, _series
from pbitstream.linear.mapping import layouts
from pbitstream.linear.matrix import scale_matrix


def test_the_series_is_the_bias_of_the_time_step(problem):
    system = scale_matrix(problem(10, 6, 1)[0])
    layout = next(layouts(system.matrix, 2 * HALF_PACE / system.values[-1]))
    half = layout.pace / 2
    exact = half * np.diag(np.linalg.inv(np.eye(10) - half * layout.quantised))
    series, left = _series(layout, system.values[-1])
    remains = exact - series
    assert (remains > 0).all()
    # A code of k2 may put the pace and the largest eigenvalue off by the rounding of A.
    assert (remains <= 2 * left * 1.01).all()


def test_variances_have_the_predicted_error_and_no_bias(problem):
    a, _ = problem(8, 5, 2)
    exact = np.diag(np.linalg.inv(a))
    squares, values, uncorrected = [], [], []
    for seed in range(120):
        found = inverse_diagonal(a, error=0.1, seed=seed)
        assert found.saturated == 0
        squares.append(((found.values / exact - 1) ** 2).mean() / found.prediction.error**2)
        values.append(found.values / exact - 1)
        uncorrected.append(found.uncorrected / exact - 1)
    ratio, scatter = np.mean(squares), np.std(squares, ddof=1) / math.sqrt(len(squares))
    assert scatter < 0.1, "too few seeds to see 10 % in the error's square"
    assert abs(ratio - 1) < 4 * scatter, (ratio, scatter)
    standard = np.std(values, axis=0, ddof=1) / math.sqrt(len(values))
    left = found.prediction.rounding + found.prediction.tables
    assert (np.abs(np.mean(values, axis=0)) < 4.5 * standard + 3 * left).all()
    assert np.mean(uncorrected) > 0.05, "the time step's bias is what is corrected"


@pytest.mark.parametrize(("dim", "condition"), [(1, 1), (40, 30)])
def test_the_error_is_met(dim, condition, problem):
    a, _ = problem(dim, condition, 3)
    found = inverse_diagonal(a, error=0.1, seed=4)
    exact = np.diag(np.linalg.inv(a))
    assert np.sqrt(((found.values / exact - 1) ** 2).mean()) < 0.1
    steps, last = found.history[-1]
    assert steps == found.steps == found.prediction.burn_in + found.prediction.steps
    assert (last == found.values).all()


@pytest.mark.parametrize(("error", "message"), [
    (1.5, "error must be above 0 and below 1, not 1.5"),
    (1e-4, "the time step leaves a bias of"),
])
def test_what_cannot_be_had_is_refused(error, message, problem):
    with pytest.raises(SpecError, match=message):
        inverse_diagonal(problem(12, 20, 5)[0], error=error)

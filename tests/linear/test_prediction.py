"""Closed forms against sums over lags, formed by powers of the step's matrix."""

import numpy as np
import pytest

from pbitstream.errors import SpecError
from pbitstream.linear import prediction
from pbitstream.linear.matrix import scale_matrix
from pbitstream.spec.words import MAX_STEPS
from physics_reference import euler_covariances

LAGS = 2000


@pytest.fixture
def lagged(problem):
    """Return a system, a pace, and C_k for k = 0 to LAGS at c = T = 1."""
    system = scale_matrix(problem(6, 8, 4)[0])
    pace = 0.5 / system.values[-1]
    return system, pace, euler_covariances(system.matrix, np.ones(6), pace, LAGS)


def test_variances_of_the_stationary_law(lagged):
    system, pace, covariances = lagged
    found = system.diagonal(prediction.stationary_variance(system.values, pace))
    np.testing.assert_allclose(found, np.diag(covariances[0]), rtol=1e-10)


def test_variance_of_a_mean_is_the_sum_over_lags(lagged):
    system, pace, covariances = lagged
    both = np.sum([np.diag(c) for c in covariances[1:]], axis=0) * 2 + np.diag(covariances[0])
    np.testing.assert_allclose(prediction.mean_covariance(system, pace), both, rtol=1e-10)


def test_autocorrelation_time_of_squares_is_the_sum_over_lags(lagged):
    system, pace, covariances = lagged
    rho = np.array([np.diag(c) / np.diag(covariances[0]) for c in covariances])
    np.testing.assert_allclose(prediction.square_tau(system, pace),
                               1 + 2 * (rho[1:] ** 2).sum(axis=0), rtol=1e-10)


def test_one_mode_has_half_its_own_autocorrelation_time():
    system = scale_matrix([[1.0]])
    pace = 1 / 64
    assert prediction.square_tau(system, pace)[0] == pytest.approx((2 - pace) / pace / 2, rel=1e-3)


def test_windows_are_planned_for_half_the_error():
    values = np.ones(1)
    steps = prediction.window(10.0, 0.1, values, 0.5, 4)
    assert 10 / np.sqrt(4 * steps) == pytest.approx(0.05, rel=1e-3)
    shortest = prediction.window(1e-6, 0.1, values, 0.5, 4)
    assert shortest == int(np.ceil(16 / np.log(2)))
    with pytest.raises(SpecError, match=r"error must be at least 0\.0018 here, not 0\.0001"):
        prediction.window(10.0, 1e-4, values, 0.5, 8)
    assert prediction.window(10.0, 0.0018, values, 0.5, 8) <= MAX_STEPS


def test_an_error_that_nothing_reaches_names_no_other():
    assert str(prediction.unreachable(0.01, 0.1234, "why")) == (
        "error must be at least 0.13 here, not 0.01: why; allow more, or regularise A")
    for least in (0.999, 1.0, 5.3, np.inf):
        assert str(prediction.unreachable(0.01, least, "why")) == (
            "error 0.01 cannot be had here, nor any below 1: why; regularise A")
    with pytest.raises(SpecError, match="nor any below 1: an average over 8 chains would take"):
        prediction.window(1e6, 0.1, np.ones(1), 0.5, 8)
    # The slowest mode alone needs a longer window than there is, whatever the error.
    with pytest.raises(SpecError, match="nor any below 1"):
        prediction.window(1e-6, 0.9, np.array([1e-7, 1.0]), 0.5, 8)

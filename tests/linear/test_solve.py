"""A x = b against numpy.linalg: errors as predicted, over problems and seeds."""

import math

import numpy as np
import pytest

from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.linear import solve


def error_of(x, a, b):
    exact = np.linalg.solve(a, b)
    return np.linalg.norm(x - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize(("dim", "condition", "error"), [
    (1, 1, 1e-4), (4, 3, 1e-3), (16, 10, 1e-3), (40, 100, 0.02), (40, 1000, 0.15), (130, 10, 0.01),
])
def test_a_flow_meets_its_error(dim, condition, error, problem):
    for seed in range(3):
        a, b = problem(dim, condition, seed)
        found = solve(a, b, error=error, seed=seed)
        measured = error_of(found.x, a, b)
        assert found.method == "flow"
        # Its dynamics is a bound, the rest an rms estimate.
        assert measured <= min(error, 1.3 * found.prediction.error), (seed, found.prediction)
        assert found.saturated == 0
        assert found.steps == found.prediction.steps
        assert found.residual == pytest.approx(np.linalg.norm(b - a @ found.x)
                                               / np.linalg.norm(b))


def test_what_rounding_leaves_is_predicted_within_a_quarter(problem):
    # Of so tight an error the end of the flow leaves hardly anything but rounding.
    ratios = []
    for seed in range(16):
        a, b = problem(32, 10, seed)
        found = solve(a, b, error=0.001, seed=seed)
        floor = math.hypot(found.prediction.tables, found.prediction.rounding)
        ratios.append(error_of(found.x, a, b) / floor)
    assert 0.8 < np.sqrt(np.mean(np.square(ratios))) < 1.25, ratios


def test_the_error_of_a_flow_stays_below_its_exponential(problem):
    a, b = problem(24, 40, 5)
    found = solve(a, b, error=0.01)
    floor = math.hypot(found.prediction.tables, found.prediction.rounding)
    errors = [error_of(x, a, b) for _, x in found.history]
    for (steps, _), error in zip(found.history, errors):
        left = found.prediction.dynamics * math.exp(found.rate * (found.steps - steps))
        assert error <= min(1, left) + 1.3 * floor, steps
    assert errors[-1] < 0.01 < 0.1 < errors[0]


@pytest.mark.parametrize("dim", [20, 100])
def test_smooth_solutions_of_small_curvature_are_not_held_still(dim):
    # The curvature of x, relative to its size 1 / (n^2 / 8), is less than a step of an exposed
    # state under a first, cautious bias.
    a = 2 * np.eye(dim) - np.eye(dim, k=1) - np.eye(dim, k=-1)
    found = solve(a, np.ones(dim), error=0.05)
    assert error_of(found.x, a, np.ones(dim)) < found.prediction.error
    assert found.saturated == 0
    assert found.quantisation < 1e-12


@pytest.mark.parametrize("mode", [0, 9, 19])
def test_right_sides_along_one_eigenvector(mode, problem):
    a, _ = problem(20, 200, 7)
    b = 1e5 * np.linalg.eigh(a)[1][:, mode]
    found = solve(a, b, error=0.1)
    assert error_of(found.x, a, b) < 0.1
    assert found.saturated == 0


def test_an_average_has_the_predicted_error(problem):
    # Mean over seeds of (measured / predicted)^2, within four of its own standard errors.
    a, b = problem(12, 5, 8)
    squares = []
    for seed in range(100):
        found = solve(a, b, error=0.05, average=True, seed=seed)
        assert found.method == "average"
        assert found.prediction.dynamics == pytest.approx(0.025, rel=0.01)
        squares.append((error_of(found.x, a, b) / found.prediction.error) ** 2)
    ratio, scatter = np.mean(squares), np.std(squares, ddof=1) / math.sqrt(len(squares))
    assert scatter < 0.1, "too few seeds to see 10 % in the error's square"
    assert abs(ratio - 1) < 4 * scatter, (ratio, scatter)
    assert np.mean(np.array(squares) <= 4) >= 0.9


def test_predictions_of_both_methods_stand_beside_each_other(problem):
    a, b = problem(8, 4, 9)
    flow, average = solve(a, b), solve(a, b, average=True)
    assert flow.predictions.keys() == average.predictions.keys() == {"flow", "average"}
    assert flow.predictions["average"] == average.prediction
    assert average.prediction.temperature > 0
    assert flow.steps < average.steps
    # An error this small would take too long an average, which a flow does not mind.
    assert solve(np.eye(50), np.eye(50)[0], error=5e-5).predictions.keys() == {"flow"}


def test_a_device_of_the_caller_is_used_and_left_open(problem):
    a, b = problem(6, 3, 10)
    with Emulator(engine="numpy") as device:
        first = solve(a, b, device=device, seed=3)
        assert device.info()["program_digest"] is not None
        again = solve(a, b, device=device, seed=3)
    assert (first.x == again.x).all()
    assert (first.x == solve(a, b, seed=3).x).all()


def test_progress_is_told(problem):
    told = []
    solve(*problem(6, 3, 11), report=lambda *report: told.append(report))
    assert told[-1][1] == told[-1][2]


@pytest.mark.parametrize(("change", "message"), [
    ({"b": np.zeros(12)}, "b must not be zero everywhere"),
    ({"b": np.ones(11)}, r"b must have shape \(12,\), as A has 12 rows, not \(11,\)"),
    ({"b": np.full(12, np.inf)}, r"b must be finite, not inf at \[0\]"),
    ({"error": 0.0}, "error must be above 0 and below 1, not 0"),
    ({"error": math.nan}, "error must be above 0 and below 1, not nan"),
    ({"error": 1e-6}, "error must be at least .* rounding A to the tables moves x by"),
    ({"a": np.eye(50), "b": np.eye(50)[0], "error": 5e-5, "average": True},
     "an average over 8 chains would take"),
    ({"a": np.eye(12), "error": 1e-8}, "from rounding A and by .* from rounding b and states"),
])
def test_what_cannot_be_had_is_refused(change, message, problem):
    a, b = problem(12, 20, 12)
    with pytest.raises(SpecError, match=message):
        solve(**{"a": a, "b": b, **change})

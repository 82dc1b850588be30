"""The laboratory measures what it says: the reference is exact, and wrong rules do badly in it."""

import numpy as np
import pytest

from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.spec.topology import Module
from pbitstream.training import laboratory, rules
from pbitstream.training.banks import Band, LowRank
from pbitstream.training.energy import Parameters
from pbitstream.training.eqprop_study import QUICK, Sizes, study_eqprop
from pbitstream.training.imperfections import (
    Independent,
    Mismatched,
    fixed_point,
    mismatch,
    noise,
)
from pbitstream.training.laboratory import Budget, Memo, alignment, bias, bounds
from pbitstream.training.substrate import Batch, DeviceSubstrate, FloatSubstrate
from pbitstream.training.systems import Converged, Shape, random_system, reference

TELLING = [Budget(0.02, 10, 40)]


def systems(count, seed=20):
    return [random_system(np.random.default_rng([seed, number])) for number in range(count)]


def every_kind(rng):
    """A clamped input, low-rank banks plain and mixed, a band, and stiffness of every unit."""
    modules = (Module("in", "langevin", 5, True), Module("hidden", "langevin", 6),
               Module("out", "langevin", 4))
    banks = (LowRank(0, 1, 2, mixed=True), LowRank(1, 2, 3), Band(0, 2, (-1, 0, 1), 5),
             Band(1, 2, (0, 2), 6))
    arrays = {
        "bank0.a": rng.normal(size=(5, 2)), "bank0.b": rng.normal(size=(6, 2)),
        "bank0.gain": rng.normal(size=(3, 2)) / 4,
        "bank1.a": rng.normal(size=(6, 3)), "bank1.b": rng.normal(size=(4, 3)),
        "bank1.gain": rng.normal(size=(1, 3)) / 20,
        "bank2.w": rng.normal(size=(3, 4)) / 4, "bank3.w": rng.normal(size=(2, 4)) / 10,
        "h": rng.normal(size=15) / 2, "k2": rng.uniform(0.9, 1.4, size=15),
        "k4": rng.uniform(0.2, 1, size=15),
    }
    arrays["bank2.w"][0, 0] = 0.0  # reaches over the edge
    batch = Batch(rng.normal(size=(3, 5)), rng.normal(size=(3, 4)), 2, rng.dirichlet([1] * 3, 3))
    return Parameters(modules, banks, arrays), batch


def mean_cost(parameters, batch):
    substrate = Converged()
    substrate.load(parameters)
    x = substrate.settle(batch, nudge=0.0, steps=1, start=None, seed=0).x[-1]
    out = parameters.part(batch.output)
    return ((x[:, out] - batch.target) ** 2).sum() / 2 / len(batch)


def slope(parameters, batch, name, place, step=4e-3):
    """Richardson's extrapolation of central differences: errors of order step^6."""
    def central(width):
        ends = []
        for sign in (1, -1):
            array = parameters.arrays[name].copy()
            array[place] += sign * width
            ends.append(mean_cost(parameters.with_arrays({**parameters.arrays, name: array}),
                                  batch))
        return (ends[0] - ends[1]) / (2 * width)

    wide, middle, narrow = central(step), central(step / 2), central(step / 4)
    once = (4 * middle - wide) / 3, (4 * narrow - middle) / 3
    return (16 * once[1] - once[0]) / 15


def test_reference_gradient_has_8_digits_for_every_kind_of_parameter():
    parameters, batch = every_kind(np.random.default_rng(5))
    gradient = reference(parameters, batch).gradient
    assert set(gradient) == set(parameters.arrays)
    for name, value in gradient.items():
        size = np.abs(value).max()
        assert size > 0, name
        places = sorted(np.ndindex(value.shape), key=lambda place: -abs(value[place]))
        trained = [place for place in places if name != "bank2.w" or place != (0, 0)]
        for place in trained[:2] + trained[-1:]:
            if name in ("h", "k2", "k4") and place[0] < 5:
                assert value[place] == 0, "clamped units have none"
                continue
            assert abs(slope(parameters, batch, name, place) - value[place]) < 1e-8 * size, (
                name, place)
    assert gradient["bank2.w"][0, 0] == 0


def test_converged_estimates_of_every_parameter_tend_to_the_reference():
    parameters, batch = every_kind(np.random.default_rng(6))
    system = reference(parameters, batch)
    substrate = Converged()
    substrate.load(parameters)
    found = rules.estimate_gradient(substrate, parameters, batch, nudge=1e-3, free_steps=1,
                                    nudged_steps=1)
    free = parameters.free
    for name, value in system.gradient.items():
        # Clamps are the same in both nudged phases.
        part = free if name in ("h", "k2", "k4") else slice(None)
        np.testing.assert_allclose(found.gradient[name][part], value[part], rtol=1e-4,
                                   atol=1e-6 * np.abs(value).max(), err_msg=name)


def test_a_system_without_a_fixed_point_is_refused():
    system = systems(1)[0]
    substrate = Converged()
    arrays = {**system.parameters.arrays, "k4": np.zeros(24), "k2": np.full(24, 0.1)}
    substrate.load(system.parameters.with_arrays({**arrays, "h": np.full(24, np.nan)}))
    with pytest.raises(SpecError, match=r"no fixed point at nudge 0\.5: "):
        substrate.settle(system.batch, nudge=0.5, steps=1, start=None, seed=0)
    with pytest.raises(SpecError, match="no parameters are loaded"):
        Converged().settle(system.batch, nudge=0.5, steps=1, start=None, seed=0)


@pytest.mark.parametrize("shape", [Shape(3, 8, 4, 1.0, 1.0), Shape(2, 12, 3, 0.2, 0.2, 0.5)])
def test_random_systems_have_the_load_they_are_drawn_for(shape):
    system = random_system(np.random.default_rng(3), shape)
    top = np.linalg.eigvalsh(system.parameters.coupling_matrix())[-1]
    assert top == pytest.approx(shape.load * shape.k2)
    assert system.batch.target.shape == (1, shape.dim)
    assert "k2" not in system.names
    assert len(system.names) == 3 * len(system.parameters.banks) + 1


def test_slopes():
    found = bias(systems(10))
    assert abs(found.slopes["one-sided"].mean() - 1) <= 0.15
    assert abs(found.slopes["symmetric"].mean() - 2) <= 0.05
    assert found.relative["symmetric"].shape == (10, 6)
    assert (found.relative["symmetric"][:, 1:] < found.relative["one-sided"][:, 1:]).all()


def test_bounds_hold_and_are_tight_for_small_nudges():
    for row in bounds(systems(3)):
        assert row.tightest <= 1
        assert row.measured <= row.taylor
        if row.nudge == 0.01:
            assert row.tightest > 0.9
        if row.rule == "symmetric":
            assert 0 < row.a_priori < 1


def test_alignment_tells_the_rules_apart():
    found = {(row.rule, row.start): row
             for row in alignment(systems(16), FloatSubstrate(1 / 8), TELLING)}
    for start in ("warm", "cold"):
        assert found["symmetric", start].mean >= 0.995
        assert found["one-sided-matched", start].mean >= 0.99
        wrong = found["one-sided", start]
        assert wrong.mean < 0.4
        assert wrong.min < 0 < wrong.negative
    assert len(found) == 6


@pytest.mark.parametrize("fault", ["sign", "factor", "matched"])
def test_a_wrong_rule_does_badly(monkeypatch, fault):
    """A flipped sign, a factor 2 lost in half of the parameters, a forgotten continuation."""
    right = rules.energy_gradient

    def wrong(*given, **named):
        gradient = right(*given, **named)
        factor = {"sign": -1.0, "factor": 2.0, "matched": 1.0}[fault]
        return {name: factor * value if name.endswith(".b") else value
                for name, value in gradient.items()}

    monkeypatch.setattr(rules, "energy_gradient", wrong)
    rule = "one-sided" if fault == "matched" else "symmetric"
    rows = alignment(systems(4), FloatSubstrate(1 / 8), TELLING, rules=(rule,), starts=("warm",))
    assert rows[0].mean < 0.99


def test_a_lost_factor_of_the_whole_gradient_shows_in_the_bias(monkeypatch):
    right = rules.energy_gradient
    monkeypatch.setattr(rules, "energy_gradient", lambda *given, **named: {
        name: 1.01 * value for name, value in right(*given, **named).items()})
    assert bias(systems(2)).slopes["symmetric"].mean() < 1.5


def test_memo_changes_no_bit():
    system = systems(1)[0]
    memo, plain = Memo(FloatSubstrate(1 / 8)), FloatSubstrate(1 / 8)
    for substrate in (memo, plain):
        substrate.load(system.parameters)
    for rule in laboratory.MEASURED:
        found = [rules.estimate_gradient(substrate, system.parameters, system.batch, nudge=0.1,
                                         free_steps=8, nudged_steps=8, rule=rule).gradient
                 for substrate in (memo, plain)]
        for name in found[0]:
            np.testing.assert_array_equal(found[0][name], found[1][name])


def test_common_noise_cancels_and_independent_noise_is_divided_by_the_nudge():
    rows = noise(systems(1), temperatures=(0.01,), windows=((64, 4), (1024, 64)), chains=24)
    found = {(row.window, row.nudge, row.common): row for row in rows}
    assert len(found) == 8
    for window in (64, 1024):
        near, far = found[window, 0.02, False].spread, found[window, 0.1, False].spread
        assert 4 < near / far < 6
        same = found[window, 0.02, True].spread / found[window, 0.1, True].spread
        assert 0.9 < same < 1.1
        assert found[window, 0.02, True].spread < near / 10
    # 16 times the reads; with 24 chains of many parameters the ratio is known to a fifth or so.
    for common in (True, False):
        ratio = found[64, 0.1, common].spread / found[1024, 0.1, common].spread
        assert 2.5 < ratio < 6


def test_independent_phases_are_a_free_phase_of_their_own():
    system = systems(1)[0]
    substrate = Independent(FloatSubstrate(1 / 8, temperature=0.1, segments=2))
    substrate.load(system.parameters)
    free = substrate.settle(system.batch, nudge=0.0, steps=8, start=None, seed=1)
    plus, minus = (substrate.settle(system.batch, nudge=nudge, steps=8, start=free, seed=1)
                   for nudge in (1e-9, -1e-9))
    assert np.abs(plus.x - minus.x).max() > 0.05
    assert substrate.applied(0.3) == 0.3


def test_fixed_point_finds_the_same_gradient_at_nudges_above_its_grain():
    with Emulator() as device:
        found = fixed_point(systems(2), DeviceSubstrate(device, 3), codes=(1, 50))
    assert [row.nudge for row in found["fixed"]] == [1 / 1024, 50 / 1024]
    assert found["fixed"][1].mean > 0.999
    assert found["fixed"][0].mean < found["float"][0].mean
    assert found["float"][0].mean > 1 - 1e-6


def test_mismatch_turns_the_gradient_little_by_little():
    rows = mismatch(systems(2), strengths=(0.0, 0.05, 0.2))
    assert rows[0].nominal == rows[0].own
    assert 1 - rows[0].own < 1e-4
    assert rows[0].nominal > rows[1].nominal > rows[2].nominal > 0.8
    system = systems(1)[0]
    changed = Mismatched(FloatSubstrate(1 / 8), 0.1, 4)
    arrays = changed.device(system.parameters).arrays
    np.testing.assert_array_equal(arrays["bank0.a"], system.parameters.arrays["bank0.a"])
    assert (arrays["bank0.gain"] != system.parameters.arrays["bank0.gain"]).all()
    assert changed.applied(0.25) == 0.25


def test_study_reports_progress_and_depends_on_its_seed_only():
    tiny = Sizes(alignment=2, slopes=2, paper=1, noise=1, chains=2, imperfect=1,
                 paper_nudges=(0.03,), temperatures=(0.01,), windows=((32, 2), (64, 4)))
    seen = set()
    with Emulator() as device:
        first, again = (
            study_eqprop(device, seed=1, sizes=tiny,
                         report=lambda what, done, total: seen.add(what)).to_dict()
            for _ in range(2)
        )
        with pytest.raises(SpecError, match="systems must be at least 1, not 0"):
            study_eqprop(device, sizes=Sizes(1, 1, 1, 0, 1, 1))
    assert first == again
    assert {"bias against nudge", "alignment", "D = 64, fixed 2^-7", "noise", "mismatch"} <= seen
    assert QUICK.slopes == 10

"""Samplers against enumeration: 8 p-bits, 256 states."""

import sys
from itertools import pairwise, product

import numpy as np
import pytest

from pbitstream.errors import MissingExtraError, SpecError
from pbitstream.ising import Problem
from pbitstream.sampling import IsingSampler, anneal, clamp, gibbs, ladder, temper
from pbitstream.sampling.diagnostics import missing
from pbitstream.sampling.run import Found, Plan, run_plan

STATES = np.array(list(product((-1, 1), repeat=8)), np.int8)
BETA = 0.5


def glass(seed: int = 4, *, fields: bool = True) -> Problem:
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(8, 1)
    kept = rng.random(len(first)) < 0.5
    weight = rng.choice([-2.0, -1.0, 1.0], int(kept.sum()))
    h = rng.integers(-2, 3, 8).astype(float) if fields else np.zeros(8)
    return Problem.from_edges(first[kept], second[kept], weight, h=h, offset=3.0)


def law(problem: Problem, beta: float) -> np.ndarray:
    energy = problem.energy(STATES).astype(float)
    weight = np.exp(-beta * (energy - energy.min()))
    return weight / weight.sum()


@pytest.fixture(scope="module")
def sampler():
    with IsingSampler(glass()) as made:
        yield made


def test_gibbs_draws_the_boltzmann_law(sampler):
    problem, draws = sampler.problem, 400
    p = law(problem, BETA)
    done = gibbs(sampler, BETA, draws=draws, every=3, burn_in=50, chains=50, seed=1, keep=True)
    energies = problem.energy(STATES)
    exact = p @ energies
    # Chains are independent, so their means tell the standard error whatever the correlation.
    means = done.energies.mean(axis=1)
    error = means.std(ddof=1) / np.sqrt(len(means))
    assert abs(means.mean() - exact) < 4.5 * error, (means.mean(), exact, error)
    mean = done.mean.mean(axis=0)
    spread = done.mean.std(axis=0, ddof=1) / np.sqrt(len(done.mean))
    np.testing.assert_array_less(np.abs(mean - p @ STATES), 5 * spread + 1e-12)
    np.testing.assert_array_equal(problem.energy(done.spins), done.energies)
    assert done.best_energy == done.energies.min() == problem.energy(done.best_spins)
    assert 0.2 * draws * 50 < done.effective_size() <= 3 * draws * 50
    assert done.rhat() < 1.01


def test_every_level_of_a_tempering_draws_its_law(sampler):
    problem = sampler.problem
    betas = ladder(0.1, 1.2, 5, "linear")
    done = temper(sampler, betas, rounds=600, sweeps=2, chains=24, seed=2)
    means = done.energies[:, :, 100:].mean(axis=2)
    energies = problem.energy(STATES)
    for beta, level in zip(betas, means):
        error = level.std(ddof=1) / np.sqrt(len(level))
        exact = law(problem, beta) @ energies
        assert abs(level.mean() - exact) < 4.5 * error, (beta, level.mean(), exact, error)
    gap = energies[:, None] - energies
    for (hot, cold), rate in zip(pairwise(betas), done.swap_rates):
        accepted = np.minimum(1, np.exp((hot - cold) * gap))
        exact = law(problem, hot) @ accepted @ law(problem, cold)
        # 24 ladders of 300 tries each, correlated over some: half of them at least are worth one.
        assert abs(rate - exact) < 5 * np.sqrt(exact * (1 - exact) / (24 * 150)), (hot, rate, exact)
    assert done.round_trips > 24
    assert done.best_energy == energies.min() == problem.energy(done.best_spins)


def test_annealing_ends_in_ground_states(sampler):
    done = anneal(sampler, ladder(0.05, 4.0, 200), sweeps=200, chains=40, seed=3)
    ground = sampler.problem.energy(STATES).min()
    assert done.energies[done.best] == ground
    assert (done.energies == ground).mean() > 0.5
    np.testing.assert_array_equal(sampler.problem.energy(done.spins), done.energies)


def test_how_a_run_is_cut_changes_no_bit(sampler, monkeypatch):
    betas = ladder(0.1, 2.0, 37)
    whole = anneal(sampler, betas, sweeps=100, chains=3, seed=7)
    told = []
    monkeypatch.setattr("pbitstream.sampling.sampler.BLOCK", 8 * 3 * 9)
    cut = anneal(sampler, betas, sweeps=100, chains=3, seed=7,
                 report=lambda done, total: told.append((done, total)))
    np.testing.assert_array_equal(whole.state.units, cut.state.units)
    np.testing.assert_array_equal(whole.state.noise, cut.state.noise)
    assert told[0] == (9, 100)
    assert told[-1] == (100, 100)


def test_a_call_holds_few_rows_and_steps(sampler, monkeypatch):
    betas = np.concatenate([ladder(0.1, 1.0, 23), np.full(40, 1.0), ladder(1.5, 2.0, 5)])
    whole = sampler.anneal(betas, sampler.start(3, 2))
    calls = []

    class Counting:
        def relax(self, *args, settings, steps, burn_in, **call):
            calls.append((len(settings.beta), steps + burn_in))
            return sampler.device.relax(*args, settings=settings, steps=steps, burn_in=burn_in,
                                        **call)

    counting = IsingSampler(sampler.lowered)
    counting.device = Counting()
    for most, ended in ((1 << 24, {(10, 10), (1, 33)}), (7, {(7, 7), (1, 7)})):
        calls.clear()
        monkeypatch.setattr("pbitstream.sampling.sampler.ROWS", 10)
        monkeypatch.setattr("pbitstream.sampling.sampler.MAX_STEPS", most)
        cut = counting.anneal(betas, sampler.start(3, 2))
        assert ended <= set(calls), calls
        assert max(rows for rows, _ in calls) <= 10
        assert max(sweeps for _, sweeps in calls) <= most
        assert sum(sweeps for _, sweeps in calls) == len(betas)
        np.testing.assert_array_equal(whole.units, cut.units)
        np.testing.assert_array_equal(whole.noise, cut.noise)


def test_what_is_out_of_range_is_refused_before_anything_runs(sampler, monkeypatch):
    def never(*args, **call):
        raise AssertionError

    monkeypatch.setattr(sampler.device, "relax", never)
    with pytest.raises(SpecError, match="the sweeps of a draw must be at most 16777215, not 16777"):
        gibbs(sampler, 1.0, draws=1, every=1 << 24, burn_in=5, chains=1, seed=0)
    monkeypatch.setattr("pbitstream.sampling.sampler.ROWS", 1)
    with pytest.raises(SpecError, match=r"beta must be between 0 and .*, not 1e\+06"):
        anneal(sampler, [0.1, 0.2, 1e6], sweeps=3, chains=1, seed=0)


def test_swaps_that_were_never_tried_have_no_rate(sampler):
    done = temper(sampler, ladder(0.1, 1.0, 4, "linear"), rounds=1, chains=8, seed=1)
    assert np.isnan(done.swap_rates).tolist() == [False, True, False]


def test_equal_energies_of_real_numbers_are_counted_together():
    ends, tenths = range(9), np.array([1, 3, 7, 1, 3, 7, 1, 3, 1.0])
    rings = [Problem.from_edges(ends, np.roll(ends, -1), -tenths / unit) for unit in (1, 10)]
    plan = Plan("gibbs", chains=20, seed=5, draws=50, beta=0.5)
    found = []
    for ring in rings:
        draws = np.random.default_rng(2).choice([-1, 1], (20, 50, 9))
        energies = ring.energy(draws)
        found.append(Found("gibbs", energies, draws[:, -1], draws[0, 0], energies.min().item(),
                           np.ones(1), 0, rounding=ring.rounding))
        with IsingSampler(ring) as sampler:
            assert run_plan(sampler, plan).rounding == ring.rounding
    whole, real = found
    assert len(np.unique(real.energies)) > len(np.unique(whole.energies)), "nothing to count"
    (values, counts), (tenth, again) = whole.counted(), real.counted()
    np.testing.assert_array_equal(counts, again)
    np.testing.assert_allclose(values / 10, tenth, atol=real.rounding)
    assert real.to_dict()["energy"]["at_lowest"] == whole.to_dict()["energy"]["at_lowest"]


def test_without_arviz_stats_a_run_has_no_diagnostics(sampler, monkeypatch):
    plan = Plan("gibbs", chains=4, draws=10)
    assert run_plan(sampler, plan).figures["rhat"] > 0
    monkeypatch.setitem(sys.modules, "arviz_stats.base", None)
    assert "pip install 'pbitstream[ising]'" in missing()
    found = run_plan(sampler, plan)
    assert (found.figures["rhat"], found.figures["effective_size"]) == (None, None)
    done = gibbs(sampler, 1.0, draws=10, chains=4, seed=0)
    for figure in (done.rhat, done.effective_size):
        with pytest.raises(MissingExtraError, match="need arviz-stats"):
            figure()


def test_too_little_memory_is_an_error_of_ours(sampler, monkeypatch):
    def full(*args):
        raise MemoryError

    monkeypatch.setattr("pbitstream.sampling.sampler.reset_state", full)
    with pytest.raises(SpecError, match="more memory than there is: allocation failed; take fewer"):
        run_plan(sampler, Plan("anneal"))


def test_cold_chains_stay_where_they_start(sampler):
    ground = STATES[np.argmin(sampler.problem.energy(STATES))]
    done = gibbs(sampler, 8.0, draws=3, chains=2, seed=1, spins=ground, keep=True)
    assert (done.spins == ground).all()
    assert np.isnan(done.rhat())


def test_clamped_p_bits_condition_the_law():
    problem = glass(9)
    held = clamp(problem, {1: 1, 6: -1})
    rows = (STATES[:, 1] == 1) & (STATES[:, 6] == -1)
    free = STATES[rows][:, held.free]
    np.testing.assert_array_equal(held.problem.energy(free), problem.energy(STATES[rows]))
    np.testing.assert_array_equal(held.whole(free), STATES[rows])
    for wrong, message in (({8: 1}, "between 0 and 7, not 8"), ({0: 0}, "held at -1 or"),
                           ({i: 1 for i in range(8)}, "at least one p-bit must stay free")):
        with pytest.raises(SpecError, match=message):
            clamp(problem, wrong)


@pytest.mark.parametrize(("call", "message"), [
    (lambda s: anneal(s, [1.0], sweeps=0, chains=1, seed=0), "between 1 and 0 numbers"),
    (lambda s: anneal(s, [np.nan], sweeps=1, chains=1, seed=0), "finite and not negative"),
    (lambda s: anneal(s, [99.0], sweeps=1, chains=1, seed=0), "beta must be between 0 and"),
    (lambda s: anneal(s, [1.0], sweeps=1, chains=2, seed=0, spins=np.ones(7)), "must have shape"),
    (lambda s: anneal(s, [1.0], sweeps=1, chains=2, seed=0, spins=np.zeros(8)), "-1 or [+]1"),
    (lambda s: anneal(s, [1.0], sweeps=1, chains=2, seed=0, spins=np.full(8, 1j)), "-1 or [+]1"),
    (lambda s: anneal(s, [1.0], sweeps=1, chains=2, seed=0, spins=["1"] * 8), "-1 or [+]1"),
    (lambda s: s.lowered.units(np.full(8, 1j)), "-1 or [+]1"),
    (lambda s: anneal(s, [1.0], sweeps=1, chains=10**10, seed=0),
     "chains must be between 1 and 4294967296, not 10000000000"),
    (lambda s: anneal(s, [1.0], sweeps=1, chains=0, seed=0), "chains must be between 1 and"),
    (lambda s: gibbs(s, 1.0, draws=0, chains=1, seed=0), "draws must be at least 1"),
    (lambda s: temper(s, [1.0], rounds=1, seed=0), "at least two, rising"),
    (lambda s: temper(s, [1.0, 0.5], rounds=1, seed=0), "at least two, rising"),
    (lambda s: ladder(0.0, 1.0, 3), "hot must be above 0"),
    (lambda s: ladder(1.0, 0.5, 3), "must rise from hot to cold"),
    (lambda s: ladder(0.1, 0.5, 0), "count must be at least 1"),
    (lambda s: ladder(0.1, 0.5, 2, "cubic"), "shape must be one of"),
])
def test_refusals(sampler, call, message):
    with pytest.raises(SpecError, match=message):
        call(sampler)

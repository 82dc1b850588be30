"""Rounds, estimates and ratios, with contestants whose speed and statistics are known."""

import time

import numpy as np
import pytest

from pbitstream.peers import contestant, equality, match, rounds
from pbitstream.peers.contestant import OURS, Candidates
from pbitstream.peers.equality import Check, Estimate, Plan, estimate, of_values
from pbitstream.peers.rows import ROWS, Row, Target


class Fake:
    """Chains of independent normal figures, each sweep of which takes so long."""

    units, compilation, setup = 10, 0.25, 0.5

    def __init__(self, seconds, *, chains=40, block=1, mean=1.0, share=1.0):
        self.seconds, self.chains, self.block, self.share = seconds, chains, block, share
        self.mean, self.rng, self.log = mean, np.random.default_rng(3), []

    def run(self, sweeps):
        assert sweeps % self.block == 0
        self.log.append(sweeps)
        time.sleep(sweeps * self.seconds)
        return self.share

    def figures(self):
        return self.rng.normal(self.mean, 1.0, self.chains)


def silent(what, done, total):
    assert 0 <= done <= total


def row(*systems):
    targets = Target(("slow",), 2.0), Target(("absent", "slow"), 1e9, "cpu")
    return Row("fake", "a fake", "fake", lambda: None, systems, targets, Plan(3, 2, 400))


def test_the_error_is_that_of_independent_means():
    values = np.random.default_rng(1).normal(5.0, 2.0, (64, 50))
    found = of_values(values, 1)
    assert np.isclose(found.value, values.mean())
    assert np.isclose(found.error, 2 / np.sqrt(64 * 50), rtol=0.3)
    one = of_values(values[:, :1], 32)
    assert np.isclose(one.error, 2 / 8, rtol=0.4)


def test_an_estimate_sweeps_in_blocks_and_cuts_few_chains_into_segments():
    fake = Fake(0.0, block=8, chains=1)
    found = estimate(fake, Plan(burn_in=9, every=2, draws=100))
    assert fake.log == [16, *[8] * 128]
    assert abs(found.value - 1) < 5 * found.error


def test_a_check_holds_within_the_limit():
    wanted = Estimate(0.0, 0.0)
    assert Check("", "", Estimate(0.9 * equality.LIMIT, 1.0), wanted).holds
    off = Check("", "", Estimate(-1.1 * equality.LIMIT, 1.0), wanted)
    assert not off.holds
    assert np.isclose(off.deviation, -1.1 * equality.LIMIT)
    assert not Check("", "", Estimate(1.0, 0.0), wanted).holds, "a stuck chain has no error"


def test_the_fastest_option_plays_and_ratios_are_of_one_round():
    made = {}

    def make(task, option):
        made[option] = Fake(option)
        return made[option]

    kept = rounds.best(Candidates("any", (2e-3, 1e-3, 4e-3), make), None, 0.02, silent)
    assert kept.option == 1e-3
    assert list(kept.tried) == [2e-3, 1e-3, 4e-3]
    assert 10 <= kept.sweeps <= 20
    assert rounds.ratio((2.0, 20.0, 3.0), (1.0, 10.0, 3.0)) == 2.0
    [rates] = rounds.interleave([kept], 3, silent)
    assert len(rates.wall) == len(rates.cpu) == 3
    assert max(rates.wall) <= 400 / 1e-3, "no faster than it sleeps"


def test_what_is_no_sampling_does_not_count():
    half, whole = (rounds.Champion("", 0, "", Fake(1e-3, share=share), {}, 20)
                   for share in (0.5, 1.0))
    rates = rounds.interleave([half, whole], 3, silent)
    assert 1.5 < rounds.ratio(rates[0].wall, rates[1].wall) < 2.5


def test_a_row_with_a_missing_peer(monkeypatch):
    monkeypatch.setitem(contestant.PACKAGES, "absent", ("no-such-package",))
    fake = {"slow": 2e-3, OURS: 2e-4}
    systems = [Candidates(name, (1,), lambda task, option, name=name: Fake(fake.get(name, 0.0)))
               for name in (OURS, "slow", "absent")]
    done = match.play(row(*systems), rounds=3, seconds=0.02, known={}, report=silent)
    ours, slow, absent = done.systems
    assert absent.absent == "no-such-package is not installed: pip install 'pbitstream[peers]'"
    assert absent.rates is None
    assert ours.check.deviation == 0, "the others are held to ours"
    assert slow.check.holds
    assert (slow.setup, slow.compilation) == (0.5, 0.25)
    wall, cpu = done.reached
    assert (wall.over, wall.holds) == ("slow", True)
    assert (cpu.over, cpu.holds) == ("slow", False)


def test_wrong_statistics_get_no_ratio():
    systems = [Candidates(name, (1,), lambda task, option, mean=mean: Fake(0.0, mean=mean))
               for name, mean in ((OURS, 1.0), ("slow", 2.0))]
    done = match.play(row(*systems), rounds=1, seconds=0.001, known={}, report=silent)
    assert not done.systems[1].check.holds
    assert done.systems[1].rates is None
    assert [reached.ratio for reached in done.reached] == [None, None]
    assert [reached.holds for reached in done.reached] == [None, None]


def test_the_best_option_of_a_shape_is_looked_for_once():
    tried = []

    def make(task, option):
        tried.append(option)
        return Fake(option)

    systems = (Candidates(OURS, (1e-3,), lambda task, option: Fake(option)),
               Candidates("slow", (1e-3, 4e-3), make))
    known = {}
    for _ in range(2):
        match.play(row(*systems), rounds=1, seconds=0.01, known=known, report=silent)
    assert known["slow", "fake"] == 1e-3
    assert tried == [1e-3, 4e-3, 1e-3]


def test_rows_are_what_they_are_called():
    assert len({each.name for each in ROWS}) == len(ROWS)
    for each in ROWS:
        assert each.systems[0].system == OURS
        systems = {candidates.system for candidates in each.systems}
        assert all(set(target.over) < systems for target in each.targets)
        if each.name.startswith("one-"):
            assert each.systems[0].options == (1,)
        else:
            assert min(each.systems[0].options) >= 64


@pytest.mark.parametrize(("place", "edges", "degree"), [(0, 8192, 4), (1, 29400, 12),
                                                       (2, 8192, 4), (3, 29400, 12)])
def test_graphs_have_the_degree_they_claim(place, edges, degree):
    problem = ROWS[place].task().problem
    assert problem.edges == edges
    ends = np.bincount(np.concatenate([problem.first, problem.second]))
    assert set(ends) == {degree}
    assert (np.abs(problem.weight).max() == 1) == ROWS[place].name.endswith("signs")

"""Searches with known ends, small."""

import numpy as np
import pytest

from pbitstream.ising import Problem
from pbitstream.peers import search
from pbitstream.peers.contestant import OURS, missing

pytestmark = pytest.mark.filterwarnings("default")


def silent(what, done, total):
    assert 0 <= done <= total


def test_everyone_installed_finds_an_easy_ground_state():
    [(problem, ground)] = search.planted_instances(1, 4, side=4)
    found = search.race(problem, ground, sweeps=200, limit=5.0, report=silent)
    assert {each.system for each in found} == {
        system for system in search.SYSTEMS if not missing(system)}
    for each in found:
        assert (each.energy, each.excess) == (ground, 0), each


def test_sweeps_double_until_the_time_is_up(monkeypatch):
    monkeypatch.setattr(search, "SYSTEMS", {OURS: search.SYSTEMS[OURS]})
    [(problem, ground)] = search.planted_instances(1, 4, side=4)
    [found] = search.race(problem, ground - 8, sweeps=100, limit=0.05, report=silent)
    assert found.excess == 8
    assert found.sweeps in {100 << n for n in range(20)}
    assert found.seconds >= 0.05
    [one] = search.race(problem, None, sweeps=100, limit=0.0, report=silent)
    assert (one.sweeps, one.excess) == (100, None)


def test_energy_of_a_cut():
    graph = Problem.from_edges([0, 1, 2, 0], [1, 2, 3, 3], [-1, 1, -1, -1], n=4, is_max_cut=True)
    spins = np.array([[1, -1, -1, 1], [1, 1, 1, 1]], np.int8)
    for cut, energy in zip(graph.cut(spins), graph.energy(spins)):
        assert search.energy_of_cut(graph, cut) == energy

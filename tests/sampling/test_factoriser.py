"""The example that runs a multiplier of p-bits backwards."""

import runpy
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pbitstream.ising import Problem

EXAMPLE = Path(__file__).parents[2] / "tools" / "examples" / "factoriser.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_gates_have_their_truth_tables_as_ground_states(example):
    for make, inputs, outputs in (
        (lambda c: (c.both("a", "b"),), ("a", "b"), lambda a, b: (a & b,)),
        (lambda c: c.add(["a", "b"]), ("a", "b"), lambda a, b: (a ^ b, a & b)),
        (lambda c: c.add(["a", "b", "d"]), ("a", "b", "d"),
         lambda a, b, d: ((a + b + d) % 2, (a + b + d) // 2)),
    ):
        circuit = example["Circuit"]()
        wires = make(circuit)
        problem = Problem.from_qubo(circuit.q)
        states = np.array(list(product((-1, 1), repeat=problem.n)))
        ground = states[problem.energy(states) == 0]
        assert problem.energy(states).min() == 0
        place = {label: i for i, label in enumerate(problem.labels)}
        rows = {tuple(int(m > 0) for m in state[[place[w] for w in (*inputs, *wires)]])
                for state in ground}
        assert rows == {(*bits, *outputs(*bits)) for bits in product((0, 1), repeat=len(inputs))}


def test_it_factorises(example):
    found, _ = example["factorise"](35, 1)
    assert set(found) == {(5, 7)}

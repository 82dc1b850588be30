from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from pbitstream.errors import SpecError
from pbitstream.ising.thrml import from_thrml


def model(nodes, **changed):
    edges = [(nodes[0], nodes[1]), (nodes[2], nodes[1]), (nodes[1], nodes[0])]
    return SimpleNamespace(**{"nodes": nodes, "edges": edges, "biases": np.array([0.5, 0.0, -1.0]),
                              "weights": np.array([1.0, -2.0, 0.25]), "beta": np.array(0.7),
                              **changed})


def test_energies_are_those_of_the_model():
    nodes = [object() for _ in range(3)]
    problem, beta = from_thrml(model(nodes))
    assert beta == 0.7
    for s in product((-1, 1), repeat=3):
        energy = -(0.5 * s[0] - s[2] + 1.25 * s[0] * s[1] - 2 * s[1] * s[2])
        assert problem.energy(s) == energy


def test_refusals():
    nodes = [object() for _ in range(3)]
    for changed, message in (
        ({"edges": [(nodes[0], object())]}, "must join two of its nodes"),
        ({"beta": np.array([1.0, 2.0])}, "beta of the model must be one number"),
        ({"beta": np.array(-1.0)}, "beta of the model must be one number"),
        ({"weights": np.ones(2)}, "weights of the model must have shape"),
    ):
        with pytest.raises(SpecError, match=message):
            from_thrml(model(nodes, **changed))
    with pytest.raises(SpecError, match="but has no nodes"):
        from_thrml(object())


def test_a_model_of_thrml_itself():
    thrml = pytest.importorskip("thrml")
    models = pytest.importorskip("thrml.models")
    jnp = pytest.importorskip("jax.numpy")
    nodes = [thrml.SpinNode() for _ in range(4)]
    edges = [(nodes[i], nodes[i + 1]) for i in range(3)]
    made = models.IsingEBM(nodes, edges, jnp.array([0.5, 0.0, 0.0, -0.5]),
                           jnp.array([1.0, -1.0, 0.5]), jnp.array(1.5))
    problem, beta = from_thrml(made)
    assert (problem.n, problem.edges, beta) == (4, 3, 1.5)
    np.testing.assert_array_equal(problem.weight, [1.0, -1.0, 0.5])

"""Streamed moments are those of all rows at once, and bad activations are named."""

import numpy as np
import pytest

from pbitstream.compiler.activations import Batch, check_skips, parse_skip
from pbitstream.compiler.gram import Gram
from pbitstream.compiler.sample import Sample
from pbitstream.errors import SpecError

PAIRS = [("a", "a"), ("a", "b"), ("b", "a")]


def streamed(layers, cuts):
    gram = Gram(list(layers), PAIRS)
    for first, last in zip([0, *cuts], [*cuts, None]):
        gram.add({name: values[first:last] for name, values in layers.items()})
    return gram


@pytest.mark.parametrize("cuts", [[], [1], [7, 7, 300], list(range(10, 500, 10))])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_moments_are_those_of_all_rows(cuts, offset):
    rng = np.random.default_rng(0)
    layers = {"a": rng.standard_normal((500, 6)) + offset, "b": rng.standard_normal((500, 4))}
    gram = streamed(layers, cuts)
    a, b = (layers[name] - layers[name].mean(axis=0) for name in "ab")
    # A mean of 1e6 leaves 1e-10 of its digits in a deviation of 1.
    rough = 1e-12 + 1e-15 * offset
    np.testing.assert_allclose(gram.covariance("a", "a"), a.T @ a / 500, atol=rough)
    np.testing.assert_allclose(gram.covariance("a", "b"), a.T @ b / 500, atol=rough)
    np.testing.assert_allclose(gram.covariance("b", "a"), b.T @ a / 500, atol=rough)
    np.testing.assert_allclose(gram.variance("b"), (b**2).mean(axis=0))
    np.testing.assert_allclose(gram.mean("a"), layers["a"].mean(axis=0), rtol=1e-14)
    assert gram.largest("a") == pytest.approx(np.abs(a).max(), rel=1e-9)
    assert gram.rows == 500


def test_memory_does_not_grow_with_rows():
    gram = Gram(["a", "b"], PAIRS)
    rng = np.random.default_rng(1)
    sizes = set()
    for _ in range(3):
        gram.add({"a": rng.standard_normal((50, 6)), "b": rng.standard_normal((50, 4))})
        sizes.add(sum(array.nbytes for store in vars(gram).values() if isinstance(store, dict)
                      for array in store.values()))
    assert len(sizes) == 1


def bad_rows(value):
    values = np.zeros((5, 3))
    values[3, 1] = value
    return values


@pytest.mark.parametrize(("batch", "message"), [
    ({"a": np.zeros((2, 3))}, "the activations have no layer b; they have a"),
    ({"a": np.zeros((5, 3)), "b": bad_rows(np.nan)},
     "activations of layer b must be finite; 1 of 5 rows of a batch are not, the first is row 3"),
    ({"a": bad_rows(np.inf), "b": np.zeros((5, 3))}, "activations of layer a must be finite"),
    ({"a": np.zeros((2, 3)), "b": np.zeros((3, 3))}, "equally many rows, not [2, 3]"),
    ({"a": np.zeros(3), "b": np.zeros((3, 3))}, "must have shape (rows, units), not (3,)"),
])
def test_bad_activations_are_named(batch, message):
    gram = Gram(["a", "b"], PAIRS)
    with pytest.raises(SpecError) as error:
        gram.add(batch)
    assert message in str(error.value)
    assert gram.rows == 0


def test_a_layer_keeps_its_width():
    gram = Gram(["a"], [("a", "a")])
    gram.add({"a": np.ones((2, 3))})
    with pytest.raises(SpecError, match="layer a must keep its 3 units, not change to 4"):
        gram.add({"a": np.ones((2, 4))})


def test_too_few_rows_for_the_rank():
    gram = Gram(["a"], [])
    gram.add({"a": np.ones((16, 3))})
    with pytest.raises(SpecError, match="rows must be more than the rank, 16, not 16"):
        gram.check(16)
    gram.check(15)


def test_a_sample_is_bounded_and_repeats():
    def taken():
        sample = Sample(["a"], rows=100)
        for first in range(0, 5000, 50):
            rows = np.arange(first, first + 50, dtype=np.float64)
            sample.add(Batch({"a": rows[:, None]}, rows[:, None], rows.astype(np.int64)))
        return sample.batch

    one, two = taken(), taken()
    assert 25 <= len(one) <= 100
    np.testing.assert_array_equal(one.layers["a"], two.layers["a"])
    np.testing.assert_array_equal(one.layers["a"], one.inputs)
    np.testing.assert_array_equal(one.layers["a"][:, 0], one.rows)
    # No phase of a period of 20 is missing, and both halves of the stream are there.
    assert len(np.unique(one.rows // 2500)) == 2
    assert len(np.unique(one.rows % 20)) > 10


@pytest.mark.parametrize(("texts", "message"), [
    (["e1"], "skip must be ENCODER:DECODER, such as e1:d1, not 'e1'"),
    (["e1:"], "skip must be ENCODER:DECODER"),
    (["e1:d9"], "skip e1:d9: the U-Net has no layer d9; it has e1, d1"),
    (["e1:e1"], "must join two layers"),
    (["e1:d1", "d1:e1"], "is given twice"),
    ([], "skip must name at least one pair"),
])
def test_skips_that_are_refused(texts, message):
    with pytest.raises(SpecError) as error:
        check_skips([parse_skip(text) for text in texts], {"e1": (4,), "d1": (4,)})
    assert message in str(error.value)

"""The streaming sketch finds what the Gram matrices give, without them."""

import numpy as np
import pytest

from pbitstream.compiler.activations import Skip
from pbitstream.compiler.fit import layer_of
from pbitstream.compiler.gram import Gram
from pbitstream.compiler.local import local_between
from pbitstream.compiler.pipeline import compile_unet
from pbitstream.compiler.sketch import PASSES, sketch_banks
from pbitstream.compiler.synthetic import SyntheticSource
from pbitstream.errors import SpecError
from small_unet import fitted_of


def both_ways(source, rank, shape=None):
    skip = source.skips[0]
    whole = {name: np.concatenate([b.layers[name] for b in source.batches([], "fit")])
             for name in skip}
    gram = Gram(list(skip))
    gram.add(whole)
    layers = {name: layer_of(gram, name, source.shapes[name], name == skip.source)
              for name in skip}
    stencil = None if shape is None else local_between(shape, shape)
    sketched = sketch_banks(lambda: source.batches([], "fit"), layers, [skip], gram.rows,
                            rank=rank, stencils={skip: stencil})
    exact = fitted_of(whole, source.shapes, [skip], rank=rank, band=shape is not None)
    x = {name: layers[name].normalised(np.asarray(whole[name], np.float64)) for name in skip}
    error = [1 - ((x[skip.target] - fitted.banks[skip].predict(x[skip.source])) ** 2).sum()
             / (x[skip.target] ** 2).sum() for fitted in (sketched, exact)]
    return sketched, error


def test_it_explains_as_much_as_the_exact_fit():
    _, (sketched, exact) = both_ways(SyntheticSource(160, rows=1500, batch=170), 16)
    assert exact - 0.005 < sketched <= exact + 1e-9


def test_local_weights_are_fitted_on_what_it_leaves():
    fitted, (sketched, exact) = both_ways(
        SyntheticSource(98, rows=1200, batch=400, shape=(2, 7, 7)), 8, (2, 7, 7))
    assert fitted.banks["e0", "d0"].local is not None
    assert exact - 0.05 < sketched <= exact + 1e-9


def test_it_reads_the_stream_so_often_and_holds_nothing():
    source = SyntheticSource(64, rows=300, batch=100)
    reads = []

    class Counting:
        shapes, features, repeat = source.shapes, None, 1

        def batches(self, layers, part):
            reads.append(part)
            return source.batches(layers, part)

    compiled = compile_unet(Counting(), source.skips, rank=4, method="sketch")
    assert reads == ["fit"] * (1 + PASSES) + ["held-out"]
    assert compiled.lowered.fitted.method == "sketch"


def test_modules_that_share_are_refused():
    source = SyntheticSource(40, pairs=2, rows=200)
    skips = [Skip("e0", "d0"), Skip("e1", "d0")]
    with pytest.raises(SpecError, match="method sketch fits one bank per module, and e0:d0 shares"):
        compile_unet(source, skips, rank=4, method="sketch")
    with pytest.raises(SpecError, match="rank must be at most the units of the smaller layer"):
        compile_unet(source, source.skips, rank=60, method="sketch")

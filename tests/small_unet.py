"""Sources for the tests: small, seeded, with maps that are known."""

import numpy as np

from pbitstream.compiler.activations import Batch
from pbitstream.compiler.fit import fit_banks, needed_pairs
from pbitstream.compiler.gram import Gram
from pbitstream.compiler.sources import ArraySource


def gram_of(layers, skips, method="hbc"):
    """Moments of whole arrays."""
    gram = Gram(list(layers), needed_pairs(skips, method))
    gram.add(layers)
    return gram


def fitted_of(layers, shapes, skips, **options):
    """Banks fitted on whole arrays."""
    gram = gram_of(layers, skips, options.get("method", "hbc"))
    return fit_banks(gram, shapes, skips, **options)


def array_source(layers, shapes, inputs=None, batch=64):
    """A source of whole arrays; every part is the same rows."""
    rows = len(next(iter(layers.values())))

    def make(part):
        for first in range(0, rows, batch):
            cut = slice(first, first + batch)
            yield Batch({name: values[cut] for name, values in layers.items()},
                        None if inputs is None else inputs[cut])

    return ArraySource(shapes, make)


def linear_pair(rng, rows=2000, dim_s=24, dim_t=20, rank=5, noise=0.1):
    """Activations x and y = x W + noise with W of low rank, both off zero."""
    mix = rng.standard_normal((dim_s, dim_s)) / np.sqrt(dim_s)
    x = rng.standard_normal((rows, dim_s)) @ mix
    w = rng.standard_normal((dim_s, rank)) @ rng.standard_normal((rank, dim_t)) / dim_s
    return x + 3.0, x @ w + noise * rng.standard_normal((rows, dim_t)) - 1.0

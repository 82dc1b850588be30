"""Ising problems of regular and of random graphs that tests share."""

import numpy as np

from pbitstream.ising import Problem


def edges_of(*dims, periodic=True, steps=None):
    """Return the edges of a box of sites numbered by rows; `steps` are vectors, by default axes."""
    sites = np.arange(np.prod(dims)).reshape(dims)
    first, second = [], []
    for step in np.eye(len(dims), dtype=int) if steps is None else steps:
        away = np.roll(sites, [-d for d in step], range(len(dims)))
        kept = np.ones(dims, bool)
        if not periodic:
            for axis, d in enumerate(step):
                place = np.arange(dims[axis]) + d
                shape = [-1 if a == axis else 1 for a in range(len(dims))]
                kept &= ((place >= 0) & (place < dims[axis])).reshape(shape)
        first.append(sites[kept])
        second.append(away[kept])
    return np.concatenate(first), np.concatenate(second)


def lattice(*dims, periodic=True, steps=None, seed=0):
    """Return a lattice with couplings -1 and +1."""
    first, second = edges_of(*dims, periodic=periodic, steps=steps)
    weight = np.random.default_rng(seed).choice([-1, 1], len(first))
    return Problem.from_edges(first, second, weight, n=int(np.prod(dims)))


def random_problem(rng, n, *, density=0.4, whole=True, bias=3):
    """Return a random graph with couplings -4 to 4 and biases up to `bias`."""
    first, second = np.triu_indices(n, 1)
    kept = rng.random(len(first)) < density
    draw = (lambda size, most: rng.integers(-most, most + 1, size)) if whole else (
        lambda size, most: rng.uniform(-most, most, size))
    return Problem.from_edges(first[kept], second[kept], draw(int(kept.sum()), 4), n=n,
                              h=draw(n, bias), offset=float(rng.integers(-9, 10)))


def random_spins(rng, *shape):
    """Return spins -1 or +1."""
    return rng.choice(np.array([-1, 1], np.int8), shape)

"""Spin glasses with a known ground energy: +-J cubic lattices planted tile by tile.

The cubes of a periodic L^3 lattice (L even) whose corner coordinates are all even or all odd share
no edge and cover each edge once [1]_. Each of them gets couplings +-1 of which a planted state is a
ground state, so that state is one of the whole: the ground energy is the sum of the tiles'.

References
----------
.. [1] F. Hamze et al., "From near to eternity: spin-glass planting, tiling puzzles, and constraint
   satisfaction problems", Phys. Rev. E 97, 043303 (2018).
"""

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.ising.problem import Problem

__all__ = ["FRUSTRATED", "planted_lattice"]

CORNERS = np.array(list(product((0, 1), repeat=3)))
#: The twelve edges of a cube, as pairs of corners.
EDGES = np.array([(a, b) for a in range(8) for b in range(a + 1, 8)
                  if np.abs(CORNERS[a] - CORNERS[b]).sum() == 1])
#: How many of a cube's six faces may be frustrated: always an even number.
FRUSTRATED = (0, 2, 4, 6)


def planted_lattice(
    side: int, seed: int, *, frustrated: int = 6
) -> tuple[Problem, NDArray[np.int8], int]:
    """Return a periodic side^3 lattice of couplings +-1, its planted state and its ground energy.

    Parameters
    ----------
    side
        Even, at least 4.
    seed
        Of the tiles and of the planted state.
    frustrated
        Frustrated faces of every tile, one of `FRUSTRATED`; the more, the harder the search, and 6
        is far harder than 4.

    Raises
    ------
    SpecError
        If an argument is out of range.
    """
    if side < 4 or side % 2:
        raise SpecError(f"side must be even and at least 4, not {side}")
    if frustrated not in FRUSTRATED:
        raise SpecError(f"frustrated must be one of {FRUSTRATED}, not {frustrated}")
    tiles = _tiles(frustrated)
    rng = np.random.default_rng(seed)
    half = np.array(list(product(range(0, side, 2), repeat=3)))
    origins = np.concatenate([half, half + 1])
    corners = (origins[:, None, :] + CORNERS) % side
    numbers = corners @ np.array([side * side, side, 1])
    couplings = tiles[rng.integers(len(tiles), size=len(origins))]
    spins = rng.choice(np.array([-1, 1], np.int8), side**3)
    first, second = (numbers[:, EDGES[:, end]] for end in (0, 1))
    # In the gauge of the planted state all spins of a tile are up.
    weight = couplings * spins[first] * spins[second]
    problem = Problem.from_edges(
        first.ravel(), second.ravel(), weight.ravel().astype(np.float64), n=side**3,
        name=f"planted {side}^3, {frustrated} frustrated faces, seed {seed}",
        source="tile planting, Phys. Rev. E 97, 043303",
    )
    return problem, spins, -int(couplings.sum())


@lru_cache
def _tiles(frustrated: int) -> NDArray[np.int64]:
    """Return all couplings (tiles, 12) of a cube of which all spins up is a ground state."""
    states = np.array(list(product((-1, 1), repeat=8)))
    pairs = states[:, EDGES[:, 0]] * states[:, EDGES[:, 1]]
    couplings = np.array(list(product((-1, 1), repeat=len(EDGES))))
    ground = (couplings @ pairs.T).max(axis=1)
    faces = np.array([
        [index for index, ends in enumerate(EDGES) if (CORNERS[ends, axis] == side).all()]
        for axis in range(3) for side in (0, 1)
    ])
    count = (couplings[:, faces].prod(axis=2) < 0).sum(axis=1)
    return np.asarray(couplings[(couplings.sum(axis=1) == ground) & (count == frustrated)])

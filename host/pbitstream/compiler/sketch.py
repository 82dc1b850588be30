"""The best rank-k bank from a stream in time and memory linear in the units, no D x D matrix.

Ridge regression of rank k needs ``(G + mu)^-1 C``. In the block Krylov space

    ``V_0 = C Omega,  V_j = G V_(j-1),   Q = orth[V_0 .. V_q]``,    Omega (D_t, k + p) Gaussian,

lie the iterates of conjugate gradients for all its leading right-hand sides at once [1]_. Products
with G and C are sums over rows, ``G V = sum x (x^T V)``: one pass over the stream for each V_j. A
last pass forms ``Q^T G Q`` and ``Q^T C``, from which the factors ``hbc`` follow in small matrices.
With r = (q + 1)(k + p) columns: time O(n D r) and memory O(D r), at fixed k linear in D. What is
left out is what of the optimum lies outside the space; it falls with q.

References
----------
.. [1] C. Musco, C. Musco, "Randomized block Krylov methods for stronger and faster approximate
   singular value decomposition", NeurIPS 2015.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Batch, Skip, check_batch
from pbitstream.compiler.factors import Factors, Moments, compute_factors
from pbitstream.compiler.fit import CLAMPED_RIDGE, Fitted, FittedLayer
from pbitstream.compiler.local import JointFit, Stencil
from pbitstream.errors import SpecError

__all__ = ["PASSES", "sketch_banks"]

Values = NDArray[np.float64]
Read = Callable[[], Iterator[Batch]]

#: q and p of the module's docstring.
POWERS, OVERSAMPLE = 3, 8
#: Passes over the stream, besides that for means and scales and that for local weights.
PASSES = POWERS + 2


class _Sketch:
    """The sketch of one skip; `passed` is called after every pass."""

    def __init__(self, source: FittedLayer, target: FittedLayer, rank: int, seed: int) -> None:
        self.source, self.target, self.rank = source, target, rank
        columns = min(rank + OVERSAMPLE, source.units, target.units)
        rng = np.random.default_rng(seed)
        self.probe = rng.standard_normal((target.units, columns))
        self.blocks: list[Values] = []
        self.turn = 0
        self._clear()

    def _clear(self) -> None:
        self.sums: list[Values | float] = [0.0, 0.0]

    def add(self, x: Values, y: Values) -> None:
        """Take normalised rows in the pass that is going on."""
        if self.turn == 0:
            self.sums[0] = self.sums[0] + x.T @ (y @ self.probe)
        elif self.turn <= POWERS:
            self.sums[0] = self.sums[0] + x.T @ (x @ self.blocks[-1])
        else:
            z = x @ self.blocks[0]
            self.sums[0] = self.sums[0] + z.T @ z
            self.sums[1] = self.sums[1] + z.T @ y

    def passed(self) -> None:
        """Take note that a pass is over."""
        if self.turn <= POWERS:
            block = np.asarray(self.sums[0])
            for _ in range(2):  # twice is enough for orthogonality to rounding
                for earlier in self.blocks:
                    block = block - earlier @ (earlier.T @ block)
                block = np.linalg.qr(block)[0]
            self.blocks.append(block)
            if self.turn == POWERS:
                self.blocks = [np.linalg.qr(np.concatenate(self.blocks, axis=1))[0]]
            self._clear()
        self.turn += 1

    def factors(self, rows: int, ridge: float) -> Factors:
        """Return the factors, after the last pass."""
        gram, cross = np.asarray(self.sums[0]) / rows, np.asarray(self.sums[1]) / rows
        variance = float((self.target.deviations**2).sum())
        small = compute_factors("hbc", Moments(gram, cross, None, variance), self.rank, ridge=ridge)
        return Factors(self.blocks[0] @ small.a, small.b, small.gain, small.spectrum)


def sketch_banks(
    read: Read,
    layers: Mapping[str, FittedLayer],
    skips: Sequence[Skip],
    rows: int,
    *,
    rank: int,
    stencils: Mapping[Skip, Stencil | None],
    seed: int = 0,
    report: Callable[[str, int, int], None] | None = None,
) -> Fitted:
    """Fit the bank of every skip from 5 passes over the rows, and 1 more for local weights.

    Local weights are fitted on what the factors leave, not in turn with them.

    Parameters
    ----------
    read
        Yields the fit rows, the same at every call.
    rows
        How many these are.

    Raises
    ------
    SpecError
        If a module has more than one bank: their fits need each other's moments.
    """
    for skip in skips:
        if sum(bool(set(skip) & set(other)) for other in skips) > 1:
            raise SpecError(f"method sketch fits one bank per module, and {skip.source}:"
                            f"{skip.target} shares a module with another; use hbc")
        if min(layers[name].units for name in skip) < rank:
            raise SpecError(f"skip {skip.source}:{skip.target}: rank must be at most the units of "
                            f"the smaller layer, not {rank}")
    sketches = {skip: _Sketch(layers[skip.source], layers[skip.target], rank, seed)
                for skip in skips}
    tell = report or (lambda what, done, total: None)
    names = list(layers)
    for turn in range(PASSES):
        done = 0
        for batch in read():
            x = _normalised(batch, layers, names)
            for (source, target), sketch in sketches.items():
                sketch.add(x[source], x[target])
            done += len(batch)
            tell(f"sketch, pass {turn + 1} of {PASSES}", done, rows)
        for sketch in sketches.values():
            sketch.passed()
    fits = {skip: JointFit(sketch.factors(rows, CLAMPED_RIDGE), None)
            for skip, sketch in sketches.items()}
    wanted = {skip: stencil for skip in skips if (stencil := stencils[skip]) is not None}
    sums: dict[Skip, list[Values]] = {}
    for batch in read() if wanted else ():
        x = _normalised(batch, layers, names)
        for skip, stencil in wanted.items():
            left = x[skip.target] - fits[skip].predict(x[skip.source])
            found = stencil.moments(x[skip.source], left)
            sums[skip] = [a + b for a, b in zip(sums[skip], found)] if skip in sums else [*found]
    for skip, stencil in wanted.items():
        own, right = (total / rows for total in sums[skip])
        added = CLAMPED_RIDGE * float((layers[skip.source].deviations**2).sum())
        fits[skip] = JointFit(fits[skip].factors, stencil.solve(own, right, added))
    return Fitted(layers, fits, "sketch", rank)


def _normalised(
    batch: Batch, layers: Mapping[str, FittedLayer], names: list[str]
) -> dict[str, Values]:
    found = check_batch(batch.layers, names)
    return {name: layers[name].normalised(found[name]) for name in names}

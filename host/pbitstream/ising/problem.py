"""An Ising problem: biases, couplings and an offset, whatever file or library it came from."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.errors import SpecError
from pbitstream.ising.arrays import (
    asymmetry,
    canonical_edges,
    indices,
    is_spins,
    numbers,
    summed,
    triplets,
)
from pbitstream.ising.packages import dimod

__all__ = ["Problem"]

Values = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Sums of whole numbers up to here are exact in float64, in any order.
EXACT_LIMIT = 2.0**53
#: Share of the sum of all magnitudes that sums in float64 stay well within.
TIE = 2.0**-40
#: States, and edges times states, that are summed at once: what a cache holds.
STATES = 64
BLOCK = 1 << 17


@dataclass(frozen=True, eq=False)
class Problem:
    """``E(m) = offset - sum_i h_i m_i - sum_(i<j) J_ij m_i m_j`` over n p-bits m = +-1.

    A problem is immutable and canonical: every pair once with first < second, pairs ascending, none
    of weight 0.

    Parameters
    ----------
    h
        Bias of every p-bit, shape (n,), n >= 1.
    first, second, weight
        The couplings J of pairs of p-bits, each of shape (edges,), in any order and direction.
    offset
        Constant of the energy, so that energies of other conventions stay exact.
    labels
        The source's own names of the p-bits, distinct; None where they are 0 to n - 1.
    name, source
        What the problem is called and where it came from; free text.
    is_max_cut
        Whether the source is a graph to cut, so that `cut` is its objective; then h is 0.

    Raises
    ------
    SpecError
        If shapes disagree, a number is not finite, an index lies outside 0 to n - 1, a pair couples
        a p-bit to itself or is given twice, in either direction; the message names it.
    """

    h: Values
    first: Indices
    second: Indices
    weight: Values
    offset: float = 0.0
    labels: tuple[Hashable, ...] | None = None
    name: str = ""
    source: str = ""
    is_max_cut: bool = False

    def __post_init__(self) -> None:
        h = numbers("h", self.h)
        if h.ndim != 1 or len(h) == 0:
            raise SpecError(f"h must have shape (n,) with at least one p-bit, not {h.shape}")
        arrays = canonical_edges(len(h), self.first, self.second, self.weight)
        for name, array in zip(("h", "first", "second", "weight"), (h, *arrays)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        object.__setattr__(self, "offset", float(numbers("offset", self.offset)))
        if self.labels is not None:
            labels = tuple(self.labels)
            if len(labels) != len(h) or len(set(labels)) != len(h):
                raise SpecError(f"labels must be {len(h)} distinct names, not {len(labels)} of "
                                f"which {len(set(labels))} differ")
            object.__setattr__(self, "labels", labels)
        if self.is_max_cut and h.any():
            raise SpecError("h must be 0 in a max-cut problem")

    def __repr__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"<Problem{name}: {self.n:,} p-bits, {self.edges:,} couplings>"

    @property
    def n(self) -> int:
        """Number of p-bits."""
        return len(self.h)

    @property
    def edges(self) -> int:
        """Number of couplings."""
        return len(self.weight)

    @property
    def exact(self) -> bool:
        """Whether all numbers are whole and small enough for energies in int64."""
        parts = (self.h, self.weight, np.array([self.offset]))
        return (all((part == np.floor(part)).all() for part in parts)
                and sum(float(np.abs(part).sum()) for part in parts) < EXACT_LIMIT)

    @property
    def rounding(self) -> float:
        """Energies that differ by no more are equal but for rounding; 0 if `exact`."""
        if self.exact:
            return 0.0
        parts = (self.h, self.weight, np.array([self.offset]))
        return TIE * sum(float(np.abs(part).sum()) for part in parts)

    def energy(self, states: ArrayLike) -> NDArray[Any]:
        """Return the energies of states.

        Parameters
        ----------
        states
            Spins -1 or +1, shape (..., n).

        Returns
        -------
        array, shape (...)
            int64 if `exact`, else float64, of which the last bits do not depend on the other
            states either. Cost: O(edges) per state; memory beside the states is bounded.
        """
        spins = np.asarray(states)
        if spins.ndim == 0 or spins.shape[-1] != self.n:
            raise SpecError(f"states must have shape (..., {self.n}), not {spins.shape}")
        rows = spins.reshape(-1, self.n)
        if not is_spins(rows):
            raise SpecError("states must be -1 or +1")
        exact = self.exact
        energies = np.concatenate([
            self._energies(rows[start : start + STATES].astype(np.int8), exact)
            for start in range(0, max(1, len(rows)), STATES)
        ])
        shaped: NDArray[Any] = energies.reshape(spins.shape[:-1])
        return shaped.astype(np.int64) if exact else shaped

    def _energies(self, spins: NDArray[np.int8], exact: bool) -> Values:
        """Return the energies of spins (states, n), summed over blocks of edges."""
        columns = np.ascontiguousarray(spins.T)
        # Exact sums may be in the order of BLAS, which varies with the number of states.
        weighed: Callable[[Values, Values], Values] = np.matmul if exact else _weighed
        total = weighed(self.h, columns.astype(np.float64))
        block = max(1, BLOCK // (max(1, len(spins)) if exact else STATES))
        for start in range(0, self.edges, block):
            part = slice(start, start + block)
            pairs = columns[self.first[part]] * columns[self.second[part]]
            total += weighed(self.weight[part], pairs.astype(np.float64))
        return self.offset - total

    def cut(self, states: ArrayLike) -> NDArray[Any]:
        """Return the weight cut by states (..., n): ``sum w (1 - m_i m_j) / 2`` with w = -J.

        SpecError if the problem has biases: then it is no max-cut problem.
        """
        if self.h.any():
            raise SpecError("a cut needs a problem without biases, as from Problem.max_cut")
        pairs = self.offset - self.energy(states).astype(np.float64)
        cut: NDArray[Any] = (pairs - self.weight.sum()) / 2
        return cut.astype(np.int64) if self.exact else cut

    def matrix(self) -> Values:
        """Return J as a dense symmetric (n, n) matrix."""
        matrix = np.zeros((self.n, self.n))
        matrix[self.first, self.second] = matrix[self.second, self.first] = self.weight
        return matrix

    @classmethod
    def from_edges(
        cls,
        first: ArrayLike,
        second: ArrayLike,
        weight: ArrayLike = 1.0,
        *,
        n: int | None = None,
        h: ArrayLike | None = None,
        **described: Any,
    ) -> Problem:
        """Return a problem of couplings J = `weight` between p-bits `first` and `second`.

        `n` is by default the length of `h` or, without, the largest index plus one; `weight` may be
        one number for all. `described` are the other parameters of the class.
        """
        ends = indices("first", first), indices("second", second)
        if n is None:
            n = 1 + max((int(end.max()) for end in ends if end.size), default=-1)
            n = n if h is None else numbers("h", h).size
        if n < 1:
            raise SpecError(f"n must be at least 1, not {n}: a problem needs a p-bit")
        weights = numbers("weight", weight)
        if weights.ndim == 0:
            weights = np.full(ends[0].shape, float(weights))
        bias = np.zeros(n) if h is None else numbers("h", h)
        if bias.shape != (n,):
            raise SpecError(f"h must have shape ({n},), not {bias.shape}")
        return cls(bias, ends[0], ends[1], weights, **described)

    @classmethod
    def max_cut(
        cls,
        first: ArrayLike,
        second: ArrayLike,
        weight: ArrayLike = 1.0,
        *,
        n: int | None = None,
        **described: Any,
    ) -> Problem:
        """Return the problem whose ground states are the largest cuts of a weighted graph.

        J = -`weight`, so that ``cut = (sum w - energy) / 2``; see `cut`.
        """
        return cls.from_edges(first, second, -numbers("weight", weight), n=n, is_max_cut=True,
                              **described)

    @classmethod
    def from_matrix(
        cls,
        j: Any,
        h: ArrayLike | None = None,
        *,
        diagonal: str = "refuse",
        offset: float = 0.0,
        **described: Any,
    ) -> Problem:
        """Return the problem ``E(m) = offset - h m - m^T J m / 2`` of a symmetric matrix.

        Parameters
        ----------
        j
            Dense, or sparse as of SciPy; square and exactly symmetric.
        diagonal
            ``refuse`` a diagonal that is not 0, or move it to the ``offset``: m_i^2 = 1, so J_ii
            lowers every energy by J_ii / 2.
        """
        if diagonal not in ("refuse", "offset"):
            raise SpecError(f"diagonal must be refuse or offset, not {diagonal}")
        n, row, column, value = triplets("j", j)
        on = row == column
        if on.any() and diagonal == "refuse":
            raise SpecError(f"j must have a diagonal of 0, not {value[on][0]:g} at {row[on][0]}; "
                            "diagonal='offset' moves it to the offset of the energy")
        uneven = asymmetry(n, row, column, value)
        if uneven is not None:
            raise SpecError(f"j must be symmetric, and differs at {uneven} from its mirror; add "
                            "j.T if one triangle is meant")
        upper = row < column
        ends = row[upper], column[upper]
        return cls.from_edges(*ends, value[upper], n=n, h=h,
                              offset=offset - float(value[on].sum()) / 2, **described)

    @classmethod
    def from_qubo(cls, q: Any, *, offset: float = 0.0, **described: Any) -> Problem:
        """Return the problem whose energies are ``offset + sum Q_ij x_i x_j``, x = (1 + m) / 2.

        `q` is a square matrix, dense or as of SciPy, or a mapping (i, j) -> Q_ij whose keys become
        `labels`: sorted where they can be, else as they appear. Q_ij and Q_ji are summed.
        """
        if isinstance(q, Mapping):
            seen = dict.fromkeys(label for pair in q for label in pair)
            try:
                labels = tuple(sorted(seen))
            except TypeError:
                labels = tuple(seen)
            place = {label: index for index, label in enumerate(labels)}
            n = len(labels)
            row, column = (np.array([place[pair[end]] for pair in q], np.int64) for end in (0, 1))
            value = numbers("q", list(q.values()))
            if labels != tuple(range(n)):
                described = {"labels": labels, **described}
        else:
            n, row, column, value = triplets("q", q)
        if n == 0:
            raise SpecError("q must not be empty: a problem needs a p-bit")
        h = np.zeros(n)
        on = row == column
        np.add.at(h, row[on], -value[on] / 2)
        off = ~on
        for end in (row[off], column[off]):
            np.add.at(h, end, -value[off] / 4)
        low, high = np.minimum(row, column)[off], np.maximum(row, column)[off]
        pairs = summed(n, low, high, -value[off] / 4)
        total = offset + float(value[on].sum()) / 2 + float(value[off].sum()) / 4
        return cls(h, *pairs, total, **described)

    @classmethod
    def from_networkx(cls, graph: Any, *, max_cut: bool = False, **described: Any) -> Problem:
        """Return the problem of an undirected graph, its nodes in the graph's order.

        The edge attribute ``weight`` (1 where absent) is J or, with `max_cut`, the weight w = -J of
        a cut; the node attribute ``h`` (0 where absent) is the bias.
        """
        if graph.is_directed():
            raise SpecError("graph must be undirected; graph.to_undirected() makes it so")
        nodes: Sequence[Hashable] = list(graph.nodes)
        place = {node: index for index, node in enumerate(nodes)}
        edges = [(place[a], place[b], 1.0 if w is None else w)
                 for a, b, w in graph.edges(data="weight")]
        first, second, weight = zip(*edges) if edges else ((), (), ())
        h = [0.0 if value is None else value for _, value in graph.nodes(data="h")]
        sign = -1.0 if max_cut else 1.0
        if tuple(nodes) != tuple(range(len(nodes))):
            described = {"labels": tuple(nodes), **described}
        return cls.from_edges(first, second, sign * numbers("weight", weight), n=len(nodes), h=h,
                              is_max_cut=max_cut, **described)

    @classmethod
    def from_bqm(cls, bqm: Any, **described: Any) -> Problem:
        """Return the problem of a dimod binary quadratic model, SPIN or BINARY.

        dimod's energies are + sums, so h and J change sign; x = (1 + m) / 2. The energies are
        dimod's, its offset included.
        """
        spin = bqm.change_vartype("SPIN", inplace=False)
        labels = tuple(spin.variables)
        vectors = spin.to_numpy_vectors(variable_order=labels)
        first, second, weight = vectors.quadratic
        if labels != tuple(range(len(labels))):
            described = {"labels": labels, **described}
        return cls.from_edges(first, second, -numbers("bqm", weight), n=len(labels),
                              h=-numbers("bqm", vectors.linear_biases),
                              offset=float(vectors.offset), **described)

    def to_bqm(self) -> Any:
        """Return the problem as a dimod model of SPIN variables; needs ``pbitstream[ising]``."""
        labels = range(self.n) if self.labels is None else self.labels
        return dimod().BinaryQuadraticModel.from_numpy_vectors(
            -self.h, (self.first, self.second, -self.weight), self.offset, "SPIN",
            variable_order=list(labels),
        )


def _weighed(weights: Values, columns: Values) -> Values:
    """Return ``weights @ columns`` in an order of additions that their number alone decides."""
    terms = weights[:, None] * columns
    left = len(terms)
    while left > 1:
        half = (left + 1) // 2
        terms[: left - half] += terms[half:left]
        left = half
    return np.asarray(terms[0])

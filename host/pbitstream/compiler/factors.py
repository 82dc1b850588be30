"""Low-rank maps from second moments: several ways to choose A, S and B of ``W = A diag(S) B^T``.

With the source's Gram matrix G (D_s x D_s), the cross-Gram C (D_s x D_t) and the target's Gram
matrix, all about their means, a bank predicts the target as ``y = B diag(S) A^T x``. The methods:

``hbc``
    The best map of rank k in least squares with a ridge (reduced-rank regression):
    ``H = (G + eps l_max)^-1/2``, ``H C = P Sigma Q^T``, ``A = H P_k, S = Sigma_k, B = Q_k``.
``paper``
    The construction of [1]_: leading eigenpairs of both Gram matrices, paired by order,
    ``J = (U sqrt(l_s)) (V sqrt(l_t))^T / |.|_F / (4 kT)`` at stiffness 2 J2 = 0.2, here at
    stiffness 1. There the Gram matrices are those of convolution weights, here of activations.
``gram``
    The same pairs, each with the slope of its regression, ``S_i = u_i^T C v_i / l_i``.
``cross``
    SVD of C with one gain for all components, the best in least squares.
``cca``
    Canonical correlations: SVD of ``G_s^-1/2 C G_t^-1/2``.
``truncated``
    Ridge regression, then its truncated SVD.
``random``
    Gaussian A and B, one gain that gives the target's own variance: a control.

References
----------
.. [1] "Thermodynamic diffusion inference", arXiv 2604.14332.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError

__all__ = ["METHODS", "NEEDS_TARGET", "Factors", "Moments", "Whitener", "compute_factors"]

Values = NDArray[np.float64]

#: Above this many columns a truncated SVD is iterated, O(D^2 k), not computed whole, O(D^3).
WHOLE_SVD = 512
#: Extra columns and rounds of that iteration.
OVERSAMPLE, ROUNDS = 16, 6
#: Frobenius norm of the paper's skip bank over its stiffness: 1 / (4 kT) over 2 J2, J2 = 0.1.
PAPER_NORM = 1 / 4 / 0.2


@dataclass(frozen=True, eq=False)
class Factors:
    """A map ``W = A diag(S) B^T``: a (D_s, k), b (D_t, k), gain (k,), strongest component first.

    `spectrum` holds every singular value that was computed, of what the method decomposes.
    """

    a: Values
    b: Values
    gain: Values
    spectrum: Values

    @property
    def rank(self) -> int:
        """Number of components."""
        return len(self.gain)

    def matrix(self) -> Values:
        """Return W, dense, (D_s, D_t)."""
        return np.asarray((self.a * self.gain) @ self.b.T)

    def predict(self, x: Values) -> Values:
        """Return ``x W`` for rows x (n, D_s); O(n D k)."""
        return np.asarray(((x @ self.a) * self.gain) @ self.b.T)

    def truncated(self, rank: int) -> "Factors":
        """Return the first `rank` components."""
        return Factors(self.a[:, :rank], self.b[:, :rank], self.gain[:rank], self.spectrum)


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments about the means, in the units of the fit.

    Attributes
    ----------
    source
        G, (D_s, D_s).
    cross
        C, (D_s, D_t).
    target
        The target's Gram matrix, (D_t, D_t), or None where the method does without.
    variance
        Sum of the target's variances.
    """

    source: Values
    cross: Values
    target: Values | None
    variance: float


class Whitener:
    """``(G + eps l_max)^-1/2`` of one Gram matrix, decomposed once; O(D^3).

    A unit that never moves costs nothing: its direction is damped by the ridge.
    """

    def __init__(self, gram: Values, ridge: float) -> None:
        values, self.vectors = np.linalg.eigh(gram)
        self.values = np.maximum(values, 0.0)
        #: What is added to every eigenvalue.
        self.added = ridge * float(self.values[-1])
        if self.values[-1] == 0:
            raise SpecError("activations must vary; every unit of the source layer is constant")

    def power(self, exponent: float) -> Values:
        """Return ``(G + eps l_max)^exponent``."""
        return np.asarray((self.vectors * (self.values + self.added) ** exponent) @ self.vectors.T)


def compute_factors(
    method: str,
    moments: Moments,
    rank: int,
    *,
    ridge: float,
    seed: int = 0,
    whitener: Whitener | None = None,
) -> Factors:
    """Return the factors that a method of the module's docstring chooses.

    Parameters
    ----------
    ridge
        eps, relative to the largest eigenvalue of G.
    seed
        Of the random control and of the start of iterated decompositions.
    whitener
        Of `moments.source` and `ridge`, where it is at hand.

    Raises
    ------
    SpecError
        If the method is unknown, or the rank is larger than a layer.
    """
    if method not in METHODS:
        raise SpecError(f"method must be one of {', '.join(METHODS)}, not {method}")
    most = min(moments.cross.shape)
    if not 1 <= rank <= most:
        raise SpecError(f"rank must be between 1 and {most}, the units of the smaller layer, "
                        f"not {rank}")
    rng = np.random.default_rng(seed)
    return METHODS[method](moments, rank, ridge, whitener, rng)


def leading_svd(
    matrix: Values, rank: int, rng: np.random.Generator
) -> tuple[Values, Values, Values]:
    """Return the leading left vectors, values and right vectors (columns) of a matrix.

    Whole up to 512 columns; above, subspace iteration with 16 extra columns, O(D^2 k).
    """
    if min(matrix.shape) <= WHOLE_SVD:
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        return left, values, right.T
    block = rng.standard_normal((matrix.shape[1], min(rank + OVERSAMPLE, min(matrix.shape))))
    for _ in range(ROUNDS):
        block = np.linalg.qr(matrix.T @ np.linalg.qr(matrix @ block)[0])[0]
    small, values, right = np.linalg.svd(matrix @ block, full_matrices=False)
    return small, values, block @ right.T


def _hbc(
    m: Moments, rank: int, ridge: float, whitener: Whitener | None, rng: np.random.Generator
) -> Factors:
    half = (whitener or Whitener(m.source, ridge)).power(-0.5)
    left, values, right = leading_svd(half @ m.cross, rank, rng)
    return Factors(half @ left[:, :rank], right[:, :rank], values[:rank], values)


def _paired(m: Moments, rank: int) -> tuple[Values, Values, Values, Values]:
    """Return the leading eigenvalues and eigenvectors of both Gram matrices, largest first."""
    assert m.target is not None
    found = []
    for gram in (m.source, m.target):
        values, vectors = np.linalg.eigh(gram)
        vectors = vectors[:, ::-1][:, :rank]
        # A sign of an eigenvector means nothing; this one makes results repeat.
        signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(rank)])
        found += [np.maximum(values[::-1][:rank], 0.0), vectors * signs]
    return found[0], found[1], found[2], found[3]


def _paper(
    m: Moments, rank: int, ridge: float, whitener: Whitener | None, rng: np.random.Generator
) -> Factors:
    l_s, u, l_t, v = _paired(m, rank)
    gain = np.sqrt(l_s * l_t)
    return Factors(u, v, PAPER_NORM * gain / np.linalg.norm(gain), gain)


def _gram(
    m: Moments, rank: int, ridge: float, whitener: Whitener | None, rng: np.random.Generator
) -> Factors:
    l_s, u, l_t, v = _paired(m, rank)
    slope = np.einsum("ic,ij,jc->c", u, m.cross, v) / (l_s + ridge * l_s[0])
    return Factors(u, v, slope, np.sqrt(l_s * l_t))


def _cross(
    m: Moments, rank: int, ridge: float, whitener: Whitener | None, rng: np.random.Generator
) -> Factors:
    left, values, right = leading_svd(m.cross, rank, rng)
    a, gain = left[:, :rank], values[:rank]
    # The best multiple of W: <W, C> / <W, G W>.
    explained = float((gain**2).sum())
    energy = float(np.einsum("ic,ij,jc,c->", a, m.source, a, gain**2))
    return Factors(a, right[:, :rank], gain * (explained / energy), values)


def _cca(
    m: Moments, rank: int, ridge: float, whitener: Whitener | None, rng: np.random.Generator
) -> Factors:
    assert m.target is not None
    half = (whitener or Whitener(m.source, ridge)).power(-0.5)
    other = Whitener(m.target, ridge)
    left, values, right = leading_svd(half @ m.cross @ other.power(-0.5), rank, rng)
    return Factors(half @ left[:, :rank], other.power(0.5) @ right[:, :rank], values[:rank], values)


def _truncated(
    m: Moments, rank: int, ridge: float, whitener: Whitener | None, rng: np.random.Generator
) -> Factors:
    inverse = (whitener or Whitener(m.source, ridge)).power(-1.0)
    left, values, right = leading_svd(inverse @ m.cross, rank, rng)
    return Factors(left[:, :rank], right[:, :rank], values[:rank], values)


def _random(
    m: Moments, rank: int, ridge: float, whitener: Whitener | None, rng: np.random.Generator
) -> Factors:
    a, b = (rng.standard_normal((dim, rank)) for dim in m.cross.shape)
    made = Factors(a, b, np.ones(rank), np.ones(rank))
    energy = float(np.einsum("ij,ij->", a.T @ m.source @ a, b.T @ b))
    return Factors(made.a, made.b, made.gain * np.sqrt(m.variance / energy), made.spectrum)


#: Methods by name; the first is the default.
METHODS: dict[str, Callable[..., Factors]] = {
    "hbc": _hbc, "paper": _paper, "gram": _gram, "cross": _cross, "cca": _cca,
    "truncated": _truncated, "random": _random,
}
#: Methods that need the target's Gram matrix.
NEEDS_TARGET = frozenset({"paper", "gram", "cca"})

"""Fitting every bank of a set of skips from second moments, modules with several banks included.

In normalised units ``x = (activation - mean) / scale`` the free modules settle, at stiffness 1, at
``x_t = h_t + sum over banks into t of W^T x_s + sum over banks out of t of W x_u``; the last sum is
the reciprocal force of banks between two free modules. Each bank is fitted on what the others leave
of the activations, reciprocal forces included, in turn (backfitting), downstream modules first.

A bank from a clamped module is one-way and stable at any strength; one between two free modules is
part of J, and a regression there gives lambda_max above the stiffness. Its ridge is larger, and
doubled until lambda_max is at most 0.75.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Skip, units
from pbitstream.compiler.factors import NEEDS_TARGET, Moments, Whitener
from pbitstream.compiler.gram import Gram
from pbitstream.compiler.local import JointFit, Weights, fit_joint, local_between
from pbitstream.errors import SpecError
from pbitstream.spec.words import MAX_RANK

__all__ = ["CLAMPED_RIDGE", "FREE_RIDGE", "Fitted", "FittedLayer", "fit_banks", "layer_of",
           "needed_pairs"]

Values = NDArray[np.float64]

#: Ridge of a bank from a clamped and between free modules, over the largest eigenvalue of G.
CLAMPED_RIDGE, FREE_RIDGE = 1e-4, 1e-1
PASSES = 4
#: Largest eigenvalue of J among free modules that the fit aims at, over the stiffness; how often
#: the ridge is doubled for it.
LARGEST_EIGENVALUE, DOUBLINGS = 0.75, 12
#: Methods whose ridge shrinks a bank.
RIDGED = frozenset({"hbc", "cca", "truncated", "gram"})
#: Activations are scaled so that the largest of them stays below this; 8 is the rail.
LARGEST = 7.0


@dataclass(frozen=True, eq=False)
class FittedLayer:
    """A layer in the program: value = scale * x + mean; `deviations` are those of x."""

    name: str
    shape: tuple[int, ...]
    clamped: bool
    mean: Values
    scale: float
    deviations: Values

    @property
    def units(self) -> int:
        """Number of units."""
        return units(self.shape)

    def normalised(self, values: Values) -> Values:
        """Return x of activations (n, units)."""
        return np.asarray((values - self.mean) / self.scale)


@dataclass(frozen=True, eq=False)
class Fitted:
    """Layers by name, and what was fitted for each skip, in normalised units."""

    layers: Mapping[str, FittedLayer]
    banks: Mapping[Skip, JointFit]
    method: str
    rank: int

    @property
    def targets(self) -> list[str]:
        """Names of the free layers."""
        return [layer.name for layer in self.layers.values() if not layer.clamped]

    def is_free(self, skip: Skip) -> bool:
        """Return whether a bank joins two free layers."""
        return not self.layers[skip.source].clamped


def needed_pairs(skips: Sequence[Skip], method: str) -> list[tuple[str, str]]:
    """Return the covariances that `fit_banks` reads; see `Gram`."""
    targets = {skip.target for skip in skips}
    pairs = []
    for source, target in skips:
        pairs += [(source, source), (source, target)]
        if method in NEEDS_TARGET or source in targets:
            pairs.append((target, target))
        # Other modules that drive this target, forward or by reciprocal force.
        pairs += [(source, other.source) for other in skips if other.target == target]
        pairs += [(source, other.target) for other in skips if other.source == target]
    return pairs


def fit_banks(
    gram: Gram,
    shapes: Mapping[str, tuple[int, ...]],
    skips: Sequence[Skip],
    *,
    rank: int = 16,
    method: str = "hbc",
    band: bool = True,
    stencil: Weights = "shared",
    seed: int = 0,
    report: Callable[[str, int, int], None] | None = None,
) -> Fitted:
    """Fit the bank of every skip.

    Parameters
    ----------
    gram
        Moments of the fit rows, with `needed_pairs`.
    rank, method, seed
        Of every bank; see `pbitstream.compiler.factors`.
    band, stencil
        Whether a local bank stands beside each low-rank bank that joins two maps of one size, and
        which of its weights share a number.
    report
        Called with (what is being done, banks fitted, banks in all).

    Raises
    ------
    SpecError
        If there are fewer rows than the rank needs, the rank is too large for a layer, or a layer
        does not move; the message names it.
    """
    if not 1 <= rank <= MAX_RANK:
        raise SpecError(f"rank must be between 1 and {MAX_RANK}, not {rank}")
    gram.check(rank)
    targets = {skip.target for skip in skips}
    layers = {name: layer_of(gram, name, shapes[name], name not in targets)
              for name in dict.fromkeys(layer for skip in skips for layer in skip)}
    # Downstream first: what a module's reciprocal force is must be known when it is fitted.
    order = sorted(skips, key=lambda skip: any(skip.target == other.source for other in skips))
    shared = [skip for skip in order if any(other != skip and skip.target in other
                                            for other in skips)]
    tell = report or (lambda what, done, total: None)
    total = len(skips) + (PASSES - 1) * len(shared)
    whiteners: dict[tuple[str, float], Whitener] = {}
    free_ridge = FREE_RIDGE
    for _ in range(DOUBLINGS):
        fits: dict[Skip, JointFit] = {}
        for done, skip in enumerate([*order, *(PASSES - 1) * shared]):
            tell(f"fit {skip.source}:{skip.target}", done, total)
            source, target = layers[skip.source], layers[skip.target]
            ridge = CLAMPED_RIDGE if source.clamped else free_ridge
            moments = _moments(gram, layers, skip, fits, method)
            key = skip.source, ridge
            if key not in whiteners:
                whiteners[key] = Whitener(moments.source, ridge)
            wires = local_between(source.shape, target.shape, stencil) if band else None
            try:
                fits[skip] = fit_joint(method, moments, rank, wires, ridge=ridge, seed=seed,
                                       whitener=whiteners[key])
            except SpecError as error:
                raise SpecError(f"skip {skip.source}:{skip.target}: {error}") from None
        fitted = Fitted(layers, {skip: fits[skip] for skip in skips}, method, rank)
        if _largest_eigenvalue(fitted) <= LARGEST_EIGENVALUE or method not in RIDGED:
            break
        free_ridge *= 2
    return fitted


def _largest_eigenvalue(fitted: Fitted) -> float:
    """Return lambda_max of J among the free layers; 0 where no bank joins two of them."""
    if not any(map(fitted.is_free, fitted.banks)):
        return 0.0
    starts, end = {}, 0
    for name in fitted.targets:
        starts[name] = end
        end += fitted.layers[name].units
    j = np.zeros((end, end))
    for skip, fit in fitted.banks.items():
        if fitted.is_free(skip):
            w = fit.predict(np.eye(fitted.layers[skip.source].units))
            s, t = starts[skip.source], starts[skip.target]
            j[s : s + len(w), t : t + w.shape[1]] += w
            j[t : t + w.shape[1], s : s + len(w)] += w.T
    return float(np.linalg.eigvalsh(j)[-1])


def layer_of(gram: Gram, name: str, shape: tuple[int, ...], clamped: bool) -> FittedLayer:
    """Return a layer with the scale that its moments ask for; SpecError if it does not move."""
    variance = gram.variance(name)
    if len(variance) != units(shape):
        raise SpecError(f"layer {name} must have {units(shape)} units, not {len(variance)}")
    spread = float(np.sqrt(variance.mean()))
    if spread == 0:
        raise SpecError(f"layer {name} must vary; all of its activations are constant")
    scale = max(spread, gram.largest(name) / LARGEST)
    return FittedLayer(name, shape, clamped, gram.mean(name), scale, np.sqrt(variance) / scale)


def _moments(
    gram: Gram,
    layers: Mapping[str, FittedLayer],
    skip: Skip,
    fits: Mapping[Skip, JointFit],
    method: str,
) -> Moments:
    """Return the moments that one bank is fitted on: those of what the other banks leave."""
    source, target = skip

    def covariance(a: str, b: str) -> Values:
        return gram.covariance(a, b) / (layers[a].scale * layers[b].scale)

    cross = covariance(source, target)
    for other, fit in fits.items():
        if other == skip:
            continue
        if other.target == target:
            cross = cross - fit.predict(covariance(source, other.source))
        elif other.source == target:  # the reciprocal force of a bank that this module drives
            cross = cross - fit.back(covariance(source, other.target))
    own = covariance(target, target) if method in NEEDS_TARGET else None
    return Moments(covariance(source, source), cross, own,
                   float((layers[target].deviations**2).sum()))

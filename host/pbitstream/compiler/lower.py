"""From fitted banks to a quantised program: modules of at most 128 units, banks, scales.

A layer of more than 128 units becomes several modules, and a rank-k bank between such layers runs
through a **hub**: k more Langevin units z that read the source and drive the target, so that the
program keeps O(D k) connections where a bank for every pair of modules would need O(D^2 k / 128).
With Q an orthonormal basis of what the banks drive, p the coupling of hub and target and stiffness
1, ``z = F^T x_s + p Q^T x_t`` and ``x_t = h + p Q z + L^T x_s``, L the local banks. Eliminating z
gives exactly ``x_t = (W + L)^T x_s`` at h = 0 if ``F = ((1 - p^2) W Q - p^2 L Q) / p``. The source
must be clamped: a free one would feel F F^T.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.compiler.fit import Fitted
from pbitstream.compiler.local import Local
from pbitstream.errors import SpecError, UnstableError
from pbitstream.program import Program
from pbitstream.spec.words import (
    CLAMP,
    DT_SHIFTS,
    EXPOSED,
    FACTOR,
    FIELD_FRACTIONS,
    MAX_LOW_RANK_DIM,
    MAX_RANK,
    PROJECTION_BITS,
)

__all__ = ["HUB_COUPLING", "Lowered", "lower"]

Values = NDArray[np.float64]

TEMPERATURE = 0.01
#: The first step that is tried; the error depends on steps times dt only.
DT_SHIFT = 2
STEPS = 256
#: Room for a projection z = A^T x, in its standard deviations over the fit rows.
PROJECTION_DEVIATIONS = 10.0
#: Room for a term u = S z, which the field's fraction bits limit to 2^(24 - F), likewise.
TERM_DEVIATIONS = 6.0
#: A term has the bits of a projection and F - 9 of them behind the point.
TERM_BITS = PROJECTION_BITS - 1 + FACTOR.fraction
#: p of the module's docstring: the smallest eigenvalue of K - J is 1 - p.
HUB_COUPLING = 0.5
#: A hub's units stay within the rail at so many standard deviations.
HUB_DEVIATIONS, RAIL = 5.0, -EXPOSED.value(EXPOSED.lowest)


@dataclass(frozen=True, eq=False)
class Lowered:
    """A program, the layers it was made from, and where their units are.

    Attributes
    ----------
    fitted
        Its layers carry the scales of the program, which a hub may have enlarged.
    places
        Units of every layer; hubs come after all layers.
    """

    fitted: Fitted
    program: Program
    places: Mapping[str, slice]

    def clamp(self, layers: Mapping[str, NDArray[np.floating]]) -> tuple[Values, int]:
        """Return clamp values (n, clamped units) of activations, and how many were clipped."""
        parts = [layer.normalised(np.asarray(layers[name], np.float64))
                 for name, layer in self.fitted.layers.items() if layer.clamped]
        whole = np.concatenate(parts, axis=1)
        clipped = np.clip(whole, CLAMP.value(CLAMP.lowest), CLAMP.value(CLAMP.highest))
        return clipped, int((clipped != whole).sum())


def lower(fitted: Fitted, sample: Mapping[str, NDArray[np.floating]]) -> Lowered:
    """Return the program of fitted banks, proven stable after quantisation.

    Parameters
    ----------
    sample
        Some activations (n, units) of every layer, which set the range of the projections.

    Raises
    ------
    UnstableError
        If the quantised program is not stable; with the margin, the bank to blame and the cure.
    SpecError
        If a bank between two free layers of more than 128 units is asked for, or the banks of a
        module have more than 64 factors together where a hub is needed.
    """
    shrink = _hub_scale(fitted, _rows(fitted, sample))
    if shrink > 1:
        fitted = _shrunk(fitted, shrink)
    rows = _rows(fitted, sample)
    heat = TEMPERATURE / shrink**2
    fraction = _fraction(fitted, rows, heat)
    program, places = _build(fitted, rows, fraction, DT_SHIFT, heat)
    limit = program.margins().dt_limit
    for shift in DT_SHIFTS:
        if shift > DT_SHIFT and limit is not None and 2.0**-program.topology.dt_shift >= limit:
            program, places = _build(fitted, rows, fraction, shift, heat)
    try:
        program.check()
    except UnstableError as error:
        raise UnstableError(f"{error}{_blame(fitted)}") from None
    burn_in = program.margins().burn_in
    assert burn_in is not None
    return Lowered(fitted, replace(program, burn_in=burn_in), places)


def _rows(fitted: Fitted, sample: Mapping[str, NDArray[np.floating]]) -> dict[str, Values]:
    """Return a sample in normalised units."""
    return {name: layer.normalised(np.asarray(sample[name], np.float64))
            for name, layer in fitted.layers.items()}


def _fraction(fitted: Fitted, rows: Mapping[str, Values], heat: float) -> int:
    """Return the finest fraction F of the field at which terms and the worst-case field fit."""
    for fraction in reversed(FIELD_FRACTIONS):
        made = _Lowering(fitted, dict(rows), fraction, DT_SHIFT, heat)
        last = fraction == FIELD_FRACTIONS[0]
        try:
            made.couple()
            made.builder.build()
        except SpecError:
            if last:
                raise
            continue
        if last or TERM_DEVIATIONS * made.term <= 2.0 ** (TERM_BITS - fraction):
            return fraction
    raise AssertionError("the coarsest field returns or raises")


def _blame(fitted: Fitted) -> str:
    """Return which bank between free modules is the strongest, for an error message."""
    norms = {skip: float(np.linalg.norm(fit.predict(np.eye(fitted.layers[skip.source].units)), 2))
             for skip, fit in fitted.banks.items() if fitted.is_free(skip)}
    if not norms:
        return ""
    skip = max(norms, key=lambda item: norms[item])
    return (f"; the strongest bank between free modules is {skip.source}:{skip.target}, norm "
            f"{norms[skip]:.3g} at stiffness 1: leave it out of --skip")


def _needs_hub(fitted: Fitted, target: str) -> bool:
    """Return whether the banks into a layer run through a hub."""
    skips = [skip for skip in fitted.banks if skip.target == target]
    wide = any(fitted.layers[name].units > MAX_LOW_RANK_DIM for skip in skips for name in skip)
    free = [skip for skip in fitted.banks if target in skip and fitted.is_free(skip)]
    if wide and free:
        raise SpecError(f"skip {free[0].source}:{free[0].target} joins two free layers, which must "
                        f"have at most {MAX_LOW_RANK_DIM} units, and {target} has or reads more; "
                        "leave it out")
    return wide


def _basis(fitted: Fitted, target: str) -> Values:
    """Return Q, an orthonormal basis (D_t, r) of what the low-rank banks into a layer drive."""
    factors = [fit.factors.b for skip, fit in fitted.banks.items() if skip.target == target]
    left, sizes, _ = np.linalg.svd(np.concatenate(factors, axis=1), full_matrices=False)
    basis = left[:, sizes > 1e-10 * sizes[0]]
    if basis.shape[1] > MAX_RANK:
        raise SpecError(f"the banks into layer {target} must have at most {MAX_RANK} factors "
                        f"together, not {basis.shape[1]}; use a smaller rank")
    return np.asarray(basis)


def _hub_scale(fitted: Fitted, rows: Mapping[str, Values]) -> float:
    """Return by how much all states must shrink for the units z = Q^T x / p of hubs to fit."""
    needed = 1.0
    for target in fitted.targets:
        if _needs_hub(fitted, target):
            basis, driven = _basis(fitted, target), np.zeros(())
            for skip, fit in fitted.banks.items():
                if skip.target == target:
                    driven = driven + fit.predict(rows[skip.source]) @ basis
            spread = float(driven.std(axis=0).max())
            needed = max(needed, HUB_DEVIATIONS * spread / HUB_COUPLING / RAIL)
    return needed


def _shrunk(fitted: Fitted, by: float) -> Fitted:
    """Return the same system in units by which all states are smaller; every map stays."""
    layers = {name: replace(layer, scale=layer.scale * by, deviations=layer.deviations / by)
              for name, layer in fitted.layers.items()}
    return replace(fitted, layers=layers)


def _into(left: Values, b: Values, basis: Values) -> Values:
    """Return ``left B^T Q``."""
    return np.asarray(left @ (b.T @ basis))


def _local_map(local: Local, basis: Values, units: int) -> Values:
    """Return L Q, (D_s, r), of a local bank ``y = L^T x``."""
    out = np.zeros((units, basis.shape[1]))
    for offset, row in local.weights.items():
        places = np.flatnonzero(row)
        out[places + offset] += row[places, None] * basis[places]
    return out


def _bounds(dim: int) -> list[slice]:
    """Return the modules of a layer, of nearly equal size, as slices of its units."""
    count = -(-dim // MAX_LOW_RANK_DIM)
    edges = np.linspace(0, dim, count + 1).round().astype(int)
    return [slice(int(low), int(high)) for low, high in pairwise(edges)]


class _Lowering:
    """A builder that knows layers: their modules, and banks cut along them."""

    def __init__(
        self, fitted: Fitted, rows: dict[str, Values], fraction: int, shift: int, heat: float
    ) -> None:
        self.builder = ProgramBuilder(dt_shift=shift, field_fraction=fraction)
        self.fitted, self.rows, self.heat = fitted, rows, heat
        self.modules: dict[str, list[int]] = {}
        self.cuts: dict[str, list[slice]] = {}
        self.places: dict[str, slice] = {}
        #: Largest standard deviation of a term S z, with the columns of B scaled to 1.
        self.term = 0.0
        end = 0
        for layer in sorted(fitted.layers.values(), key=lambda layer: not layer.clamped):
            self.cuts[layer.name] = cuts = _bounds(layer.units)
            self.modules[layer.name] = [
                self._module(layer.name if len(cuts) == 1 else f"{layer.name}.{index}", layer.name,
                             cut)
                for index, cut in enumerate(cuts)
            ]
            self.places[layer.name] = slice(end, end + layer.units)
            end += layer.units

    def _module(self, name: str, layer: str, cut: slice) -> int:
        own, size = self.fitted.layers[layer], cut.stop - cut.start
        if own.clamped:
            return self.builder.clamped(name, size)
        return self.builder.langevin(name, size, temperature=self.heat, scale=own.scale,
                                     offset=own.mean[cut])

    def low_rank(self, source: str, target: str, a: Values, b: Values, gain: Values) -> None:
        """Couple two layers, or a layer and a hub, by one bank for every pair of modules."""
        for s, cut_s in zip(self.modules[source], self.cuts[source]):
            for t, cut_t in zip(self.modules[target], self.cuts[target]):
                ends = a[cut_s], b[cut_t]
                # Columns are scaled to a largest factor of 1 when they are quantised.
                sizes = [np.abs(factor).max(axis=0) for factor in ends]
                rooms = []
                for name, cut, factor, size in ((source, cut_s, ends[0], sizes[0]),
                                                (target, cut_t, ends[1], sizes[1])):
                    unit = factor / np.where(size > 0, size, 1.0)
                    spread = (self.rows[name][:, cut] @ unit).std(axis=0)
                    rooms.append(max(PROJECTION_DEVIATIONS * float(spread.max()), 2.0**-8))
                    if name == source or self.fitted_free(source):
                        term = np.abs(gain) * sizes[0] * sizes[1] * spread
                        self.term = max(self.term, float(term.max()))
                self.builder.low_rank(s, t, *ends, gain, projections=(rooms[0], rooms[1]))

    def fitted_free(self, name: str) -> bool:
        """Return whether the units of a layer or hub are free."""
        return name not in self.fitted.layers or not self.fitted.layers[name].clamped

    def local(self, source: str, target: str, local: Local) -> None:
        """Couple two layers by shifted diagonals, cut along their modules."""
        for s, cut_s in zip(self.modules[source], self.cuts[source]):
            for t, cut_t in zip(self.modules[target], self.cuts[target]):
                weights = {}
                units = np.arange(cut_t.start, cut_t.stop)
                for offset, row in local.weights.items():
                    inside = (units + offset >= cut_s.start) & (units + offset < cut_s.stop)
                    own = np.where(inside, row[cut_t], 0.0)
                    if own.any():
                        weights[offset + cut_t.start - cut_s.start] = own
                if weights:
                    self.builder.band(s, t, weights)

    def hub(self, target: str) -> None:
        """Couple a layer to its sources through a hub; equations in the module's docstring."""
        basis, p = _basis(self.fitted, target), HUB_COUPLING
        rank = basis.shape[1]
        name = f"{target}.hub"
        self.modules[name] = [self.builder.langevin(name, rank, temperature=self.heat)]
        self.cuts[name] = [slice(0, rank)]
        one = np.eye(rank)
        self.rows[name] = self.rows[target] @ basis / p
        for skip, fit in self.fitted.banks.items():
            if skip.target == target:
                reads = (1 - p**2) * _into(fit.factors.a * fit.factors.gain, fit.factors.b, basis)
                if fit.local is not None:
                    reads -= p**2 * _local_map(fit.local, basis,
                                               self.fitted.layers[skip.source].units)
                self.low_rank(skip.source, name, reads / p, one, np.ones(rank))
        self.low_rank(name, target, one, basis, np.full(rank, p))

    def couple(self) -> None:
        """Add every bank and hub."""
        for target in self.fitted.targets:
            if _needs_hub(self.fitted, target):
                self.hub(target)
        for skip, fit in self.fitted.banks.items():
            if not _needs_hub(self.fitted, skip.target):
                self.low_rank(*skip, fit.factors.a, fit.factors.b, fit.factors.gain)
            if fit.local is not None:
                self.local(*skip, fit.local)


def _build(
    fitted: Fitted, rows: Mapping[str, Values], fraction: int, shift: int, heat: float
) -> tuple[Program, dict[str, slice]]:
    made = _Lowering(fitted, dict(rows), fraction, shift, heat)
    made.couple()
    return made.builder.build(steps=STEPS), made.places

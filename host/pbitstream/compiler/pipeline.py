"""From a U-Net and its data to a program and a report, in streams of bounded memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Skip, Source, check_batch, check_skips, units
from pbitstream.compiler.curve import RankCurve
from pbitstream.compiler.factors import METHODS
from pbitstream.compiler.fit import Fitted, fit_banks, layer_of, needed_pairs
from pbitstream.compiler.gram import Gram
from pbitstream.compiler.interface import attach_interface, check_interface, parse_interface
from pbitstream.compiler.local import Weights, local_between
from pbitstream.compiler.lower import Lowered, lower
from pbitstream.compiler.sample import Sample
from pbitstream.compiler.sketch import sketch_banks
from pbitstream.errors import SpecError
from pbitstream.model import Model
from pbitstream.spec.words import MAX_RANK

__all__ = ["METHOD_NAMES", "Compiled", "compile_unet"]

Values = NDArray[np.float64]
Report = Callable[[str, int, int], None]

METHOD_NAMES = (*METHODS, "sketch")
RANK_DEPENDENT = ("paper", "cross", "random")
#: Layers above this have Gram matrices of half a gigabyte and more.
LARGEST_GRAM = 8192


@dataclass(frozen=True, eq=False)
class Compiled:
    """A compiled U-Net.

    Attributes
    ----------
    lowered
        The program, with the fit behind it and the places of all layers.
    curves
        R² on validation rows of every rank from 1, by skip; of the low-rank bank alone, fitted
        without local weights; empty where gains depend on the rank.
    rows
        Rows that were fitted.
    seconds
        Wall time by what was done.
    """

    lowered: Lowered
    curves: dict[Skip, Values]
    rows: int
    interface: str
    seconds: dict[str, float]
    settings: dict[str, Any]

    def model(self) -> Model:
        """Return the float model: scales, factors, local weights; and what was asked for."""
        tensors: dict[str, NDArray[Any]] = {}
        fitted = self.lowered.fitted
        for name, layer in fitted.layers.items():
            tensors[f"layer.{name}.mean"] = layer.mean
            tensors[f"layer.{name}.scale"] = np.array([layer.scale])
        for skip, fit in fitted.banks.items():
            stem = f"bank.{skip.source}-{skip.target}"
            for part in ("a", "b", "gain", "spectrum"):
                tensors[f"{stem}.{part}"] = np.ascontiguousarray(getattr(fit.factors, part))
            if fit.local is not None:
                tensors[f"{stem}.offsets"] = np.array(list(fit.local.weights), np.int64)
                tensors[f"{stem}.weights"] = np.array(list(fit.local.weights.values()))
        return Model(tensors, {f"compile.{key}": str(value)
                               for key, value in self.settings.items()})


def compile_unet(
    source: Source,
    skips: Sequence[Skip],
    *,
    rank: int = 16,
    method: str = "hbc",
    band: bool = True,
    stencil: Weights = "shared",
    interface: str = "none",
    seed: int = 0,
    report: Report | None = None,
) -> Compiled:
    """Fit banks between the layers of a U-Net, and quantise them into a stable program.

    Layers that a skip drives become free Langevin modules, all others are clamped to the U-Net's
    activations. The rows of the part ``fit`` are read once (6 or 7 times for ``sketch``), those of
    ``held-out`` once, for the curves.

    Parameters
    ----------
    rank
        Of every bank, 1 to 64.
    method
        One of `METHOD_NAMES`; ``sketch`` is ``hbc`` from a sketch, in time linear in the units.
    band, stencil
        See `fit_banks`.
    interface
        ``none``, ``quad``, ``paper`` or ``RxH``; see `pbitstream.compiler.interface`.
    seed
        Of random factors, of the sketch and of the interface's starts.

    Raises
    ------
    SpecError
        If a layer is missing, activations are not finite, there are too few rows for the rank, or
        an argument is out of range; the message names it.
    UnstableError
        If the quantised program is not stable.

    Notes
    -----
    Memory: O(D^2) for ``hbc``, O(D rank) for ``sketch``, and a sample of at most 256 MiB. Time per
    row: O(D^2) and O(D rank).
    """
    tell = report or (lambda what, done, total: None)
    if method not in METHOD_NAMES:
        raise SpecError(f"method must be one of {', '.join(METHOD_NAMES)}, not {method}")
    if not 1 <= rank <= MAX_RANK:
        raise SpecError(f"rank must be between 1 and {MAX_RANK}, not {rank}")
    form = parse_interface(interface)
    check_skips(skips, source.shapes)
    if form is not None:
        check_interface(form, skips, source.shapes)
    names = list(dict.fromkeys(layer for skip in skips for layer in skip))
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds[what] = now - began
        began = now

    sketched = method == "sketch"
    for name in names:
        if not sketched and units(source.shapes[name]) > LARGEST_GRAM:
            raise SpecError(f"layer {name} must have at most {LARGEST_GRAM:,} units for method "
                            f"{method}, not {units(source.shapes[name]):,}; use --method sketch, "
                            "which needs no Gram matrix")
    gram = Gram(names, () if sketched else needed_pairs(skips, method))
    sample = Sample(names)
    for batch in source.batches(names, "fit"):
        gram.add(batch.layers)
        sample.add(batch)
        tell("activations", gram.rows, 0)
    gram.check(rank)
    lap("moments")
    if sketched:
        fitted = _sketch(source, gram, skips, names, rank, band, stencil, seed, tell)
        curves = {skip: fit.factors for skip, fit in fitted.banks.items()}
    else:
        fitted = fit_banks(gram, source.shapes, skips, rank=rank, method=method, band=band,
                           stencil=stencil, seed=seed, report=report)
        # What a larger or smaller rank would have given.
        most = min(MAX_RANK, gram.rows - 1, *(units(source.shapes[name]) for name in names))
        wide = fit_banks(gram, source.shapes, skips, rank=most, method=method, band=False,
                         seed=seed, report=report)
        curves = {skip: fit.factors for skip, fit in wide.banks.items()}
    lap("factors")
    lowered = lower(fitted, sample.batch.layers)
    lap("quantise")
    if form is not None:
        lowered = attach_interface(lowered, source, form, sample.batch, seed=seed, report=report)
        lap("interface")
    # Of methods whose gains depend on the rank, a part of a wider fit is no fit of a lower rank.
    measured = {} if method in RANK_DEPENDENT else _curves(source, fitted, curves, names, tell)
    lap("validation curves")
    settings = {"skips": " ".join(f"{s}:{t}" for s, t in skips), "rank": rank, "method": method,
                "band": band, "stencil": stencil, "interface": interface, "seed": seed,
                "rows": gram.rows}
    return Compiled(lowered, measured, gram.rows, interface, seconds, settings)


def _sketch(
    source: Source, gram: Gram, skips: Sequence[Skip], names: list[str], rank: int, band: bool,
    stencil: Weights, seed: int, report: Report,
) -> Fitted:
    targets = {skip.target for skip in skips}
    layers = {name: layer_of(gram, name, source.shapes[name], name not in targets)
              for name in names}
    stencils = {skip: local_between(source.shapes[skip.source], source.shapes[skip.target],
                                    stencil) if band else None for skip in skips}
    return sketch_banks(lambda: source.batches(names, "fit"), layers, skips, gram.rows, rank=rank,
                        stencils=stencils, seed=seed, report=report)


def _curves(
    source: Source, fitted: Fitted, factors: dict[Skip, Any], names: list[str], report: Report
) -> dict[Skip, Values]:
    """Return R² over ranks on validation rows, of what other banks leave of the activations."""
    curves, done = {skip: RankCurve(own) for skip, own in factors.items()}, 0
    for batch in source.batches(names, "held-out"):
        values = check_batch(batch.layers, names)
        x = {name: fitted.layers[name].normalised(values[name]) for name in names}
        for skip, curve in curves.items():
            left = x[skip.target]
            for other, fit in fitted.banks.items():
                if other != skip and other.target == skip.target:
                    left = left - fit.predict(x[other.source])
                elif other.source == skip.target:
                    left = left - fit.back(x[other.target])
            curve.add(x[skip.source], left)
        done += len(batch)
        report("validation activations", done, 0)
    return {skip: curve.r2() for skip, curve in curves.items()} if done else {}

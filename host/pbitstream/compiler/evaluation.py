"""A compiled program judged on a device: what its free layers read, figures, and controls.

For every free layer: the substrate's readout; the exact equilibrium of the quantised program and
of the float fit behind it; a constant, the mean over the fit rows; and the substrate's readout for
another image. An answer counts only where the last two are far below it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Batch, Part, Source, check_batch
from pbitstream.compiler.equilibrium import clamped_units, equilibrium
from pbitstream.compiler.lower import Lowered
from pbitstream.devices.protocol import CLIP_NAMES, Device
from pbitstream.diffusion.metrics import ReadoutMetrics, readout_metrics
from pbitstream.errors import SpecError
from pbitstream.spec.words import BIAS

__all__ = ["SYSTEMS", "Evaluation", "biases", "evaluate"]

Values = NDArray[np.float64]
Report = Callable[[str, int, int], None]

#: What is compared, in the order of tables.
SYSTEMS = ("substrate", "equilibrium", "float", "constant", "shuffled")
#: Rows of one call of the device.
BATCH = 512


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one run.

    Attributes
    ----------
    layers
        By free layer and system, the metrics against the U-Net's activations.
    saturated
        Clips by name; ``clamp`` and ``conditioning`` are the values clipped before the device.
    values
        The substrate's activations by free layer, (rows, units).
    """

    layers: dict[str, dict[str, ReadoutMetrics]]
    saturated: dict[str, int]
    values: dict[str, Values]
    rows: int
    steps: int
    burn_in: int
    seed: int
    part: Part

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, with the R² that quantisation costs each layer."""
        return {
            "quantisation_loss": {layer: systems["float"].r2 - systems["equilibrium"].r2
                                  for layer, systems in self.layers.items()},
            "part": self.part, "rows": self.rows, "steps": self.steps, "burn_in": self.burn_in,
            "seed": self.seed, "saturated": dict(self.saturated),
            "layers": {layer: {name: {key: figure for key, figure in metrics.to_dict().items()
                                      if figure is not None}
                               for name, metrics in systems.items()}
                       for layer, systems in self.layers.items()},
        }


def biases(lowered: Lowered, batch: Batch) -> tuple[Values, int]:
    """Return the biases (n, units) that the conditioning net gives, and how many were clipped."""
    program = lowered.program
    if program.conditioning is None:
        return np.zeros((len(batch), program.topology.units)), 0
    assert batch.inputs is not None
    codes = program.conditioning.codes(batch.inputs, batch.rows)
    h, clipped = program.conditioning.biases(codes, program.topology)
    return np.asarray(h * BIAS.value(1), np.float64), clipped


def evaluate(
    lowered: Lowered,
    source: Source,
    device: Device,
    *,
    part: Part = "test",
    rows: int | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> Evaluation:
    """Relax a program for the rows of a part and judge every free layer.

    Parameters
    ----------
    rows
        Only the first so many; by default all. Memory grows with them.
    report
        Called with (what is being done, rows done, rows in all or 0 where that is not known).
    """
    tell = report or (lambda what, done, total: None)
    program, fitted = lowered.program, lowered.fitted
    device.load(program)
    names = list(fitted.layers)
    found: dict[str, dict[str, list[Values]]] = {
        name: {system: [] for system in ("substrate", "equilibrium", "float", "truth")}
        for name in fitted.targets
    }
    clips = dict.fromkeys((*CLIP_NAMES, "clamp", "conditioning"), 0)
    done = 0
    for batch in source.batches(names, part):
        for piece in _pieces(batch, None if rows is None else rows - done):
            check_batch(piece.layers, names)
            clamp, clipped = lowered.clamp(piece.layers)
            h, cut = biases(lowered, piece)
            clips["clamp"] += clipped
            clips["conditioning"] += cut
            readout = device.relax(h, clamp=clamp if clamp.size else None, steps=program.steps,
                                   burn_in=program.burn_in, seed=seed, first_chain=done)
            for name, count in readout.saturated.items():
                clips[name] += count
            exact = equilibrium(program, clamp, h)
            for name in found:
                place, layer = lowered.places[name], fitted.layers[name]
                for system, x in (("substrate", readout.mean), ("equilibrium", exact)):
                    found[name][system].append(layer.scale * x[:, place] + layer.mean)
                found[name]["truth"].append(np.asarray(piece.layers[name], np.float64))
            for name, own in _float(lowered, piece, h).items():
                found[name]["float"].append(own)
            done += len(piece)
            tell("relax", done, rows or 0)
        if rows is not None and done >= rows:
            break
    if not done:
        raise SpecError(f"the source has no rows of the part {part} to judge on")
    layers: dict[str, dict[str, ReadoutMetrics]] = {}
    values: dict[str, Values] = {}
    for name, parts in found.items():
        whole = {system: np.concatenate(part) for system, part in parts.items()}
        truth, mean = whole.pop("truth"), fitted.layers[name].mean
        values[name] = whole["substrate"]
        whole["constant"] = np.tile(mean, (len(truth), 1))
        whole["shuffled"] = np.roll(whole["substrate"], source.repeat, axis=0)
        layers[name] = {system: readout_metrics(whole[system], truth, mean) for system in SYSTEMS}
    return Evaluation(layers, clips, values, done, program.steps, program.burn_in, seed, part)


def _pieces(batch: Batch, most: int | None) -> list[Batch]:
    """Return a batch in pieces of at most 512 rows, no more than `most` rows together."""
    end = len(batch) if most is None else min(len(batch), most)
    return [
        Batch({name: values[cut] for name, values in batch.layers.items()},
              None if batch.inputs is None else batch.inputs[cut],
              None if batch.rows is None else batch.rows[cut])
        for cut in (slice(first, min(first + BATCH, end)) for first in range(0, end, BATCH))
    ]


def _float(lowered: Lowered, batch: Batch, h: Values) -> dict[str, Values]:
    """Return the activations of every free layer at the equilibrium of the float fit.

    Jacobi sweeps ``x_t = h_t + sum W^T x_s + sum W x_u``, which end for a bank graph without cycles
    among free layers after its depth, and converge for a stable one.
    """
    fitted, program = lowered.fitted, lowered.program
    coupled = any(map(fitted.is_free, fitted.banks))
    driven = h
    if h.any() and not coupled:
        # A hub takes part in what a bias does: h acts through (1 - p^2 Q Q^T)^-1.
        none = np.zeros((len(h), int(clamped_units(program).sum())))
        driven = equilibrium(program, none, h)
    x = {name: layer.normalised(np.asarray(batch.layers[name], np.float64))
         for name, layer in fitted.layers.items() if layer.clamped}
    x.update({name: np.zeros((len(h), fitted.layers[name].units)) for name in fitted.targets})
    for _ in range(200 if coupled else 1):
        new = {name: driven[:, lowered.places[name]].copy() for name in fitted.targets}
        for skip, fit in fitted.banks.items():
            new[skip.target] += fit.predict(x[skip.source])
            if fitted.is_free(skip):
                new[skip.source] += fit.back(x[skip.target])
        change = max(float(np.abs(new[name] - x[name]).max()) for name in new)
        x.update(new)
        if change < 1e-9:
            break
    return {name: fitted.layers[name].scale * x[name] + fitted.layers[name].mean
            for name in fitted.targets}

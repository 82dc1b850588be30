"""What a compilation says about itself: layers, banks, connections, margins, steps, cycles."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.activations import Skip
from pbitstream.compiler.pipeline import Compiled
from pbitstream.devices.board.placement import place
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.image import Image

__all__ = ["BOARDS", "ERRORS", "report_on"]

Values = NDArray[np.float64]

#: rms errors of a time mean, in states, whose windows are reported.
ERRORS = (0.05, 0.02, 0.01)
#: Images whose cycles are predicted: the largest of each number of lanes.
BOARDS = {lanes: Image(lanes=lanes, max_units=2048, max_rank_words=words)
          for lanes, words in ((32, 4096), (128, 1024))}


def report_on(compiled: Compiled) -> dict[str, Any]:
    """Return the report as plain data.

    The keys: ``settings``, ``rows``, ``layers``, ``banks`` (spectrum, R² by rank on validation
    rows, numbers and connections beside those of a dense coupling), ``interface``, ``margins``,
    ``steps_for_error``, ``cost``, ``board_cycles`` and ``seconds``.
    """
    lowered = compiled.lowered
    program, fitted = lowered.program, lowered.fitted
    margins = program.margins()
    net = program.conditioning
    return {
        "settings": dict(compiled.settings),
        "rows": compiled.rows,
        "digest": program.digest,
        "layers": [
            {"name": layer.name, "shape": list(layer.shape), "units": layer.units,
             "clamped": layer.clamped, "scale": layer.scale}
            for layer in fitted.layers.values()
        ],
        "modules": len(program.topology.modules),
        "hubs": sum(m.name.endswith(".hub") for m in program.topology.modules),
        "banks": [_bank(compiled, skip) for skip in fitted.banks],
        "interface": {
            "form": compiled.interface,
            "weights": 0 if net is None else net.weights,
            "parameters": 0 if net is None else net.parameters,
        },
        "field_fraction": program.topology.field_fraction,
        "burn_in": program.burn_in,
        "steps": program.steps,
        "margins": margins.to_dict(),
        "steps_for_error": {str(error): margins.steps_for(error) for error in ERRORS},
        "cost": vars(program.cost()),
        "board_cycles": {str(lanes): cycles(program, image) for lanes, image in BOARDS.items()},
        "seconds": dict(compiled.seconds),
    }


def _bank(compiled: Compiled, skip: Skip) -> dict[str, Any]:
    fitted = compiled.lowered.fitted
    fit = fitted.banks[skip]
    source, target = (fitted.layers[name].units for name in skip)
    curve = compiled.curves.get(skip)
    local = None
    if fit.local is not None:
        local = {"offsets": len(fit.local.weights), "numbers": fit.local.numbers,
                 "wires": fit.local.wires}
    return {
        "source": skip.source,
        "target": skip.target,
        "free": fitted.is_free(skip),
        "rank": fit.factors.rank,
        "spectrum": fit.factors.spectrum.tolist(),
        "r2_by_rank": None if curve is None else curve.tolist(),
        "local": local,
        "connections": {
            "low_rank": fit.factors.rank * (source + target + 1),
            "local": 0 if fit.local is None else fit.local.wires,
            "dense": source * target,
        },
    }


def cycles(program: Program, image: Image) -> int | str:
    """Return the predicted board cycles of a step, or why the image cannot hold the program."""
    try:
        return place(program, image).cycles_per_step
    except SpecError as error:
        return str(error)

"""How the time of ``pbitstream compile`` grows with the units of a layer, at fixed rank.

Activations of a decaying spectrum are made once and held, so that only the compiler is timed. Both
ways to the same bank: from a streaming sketch, O(n D k), and from Gram matrices, O(n D^2 + D^3).
The exponent is the slope of log time over log D.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from pbitstream.compiler.activations import Batch
    from pbitstream.compiler.synthetic import SyntheticSource

__all__ = ["DIMS", "compile_table", "measure_compile"]

#: Units of both layers, by method.
DIMS = {"sketch": (512, 1024, 2048, 4096), "hbc": (256, 512, 1024)}
RANK, ROWS = 16, 1024
#: Rounds are seconds long each; more than this add nothing.
MOST_ROUNDS = 3


def measure_compile(
    rounds: int, report: Callable[[str, int, int], None] | None = None
) -> dict[str, Any]:
    """Return the JSON document: median seconds of moments and factors, and their exponents."""
    from pbitstream.compiler.synthetic import SyntheticSource

    tell = report or (lambda what, done, total: None)
    rounds = min(rounds, MOST_ROUNDS)
    dims = sorted({dim for own in DIMS.values() for dim in own})
    times: dict[str, dict[int, list[float]]] = {method: {} for method in DIMS}
    for number, dim in enumerate(dims):
        source = SyntheticSource(dim, rows=ROWS)
        held = list(source.batches(source.skips[0], "fit"))
        for turn in range(rounds):
            tell(f"compile, {dim} units", number * rounds + turn, rounds * len(dims))
            for method, own in DIMS.items():
                if dim in own:
                    began = time.perf_counter()
                    _fit(method, held, source)
                    taken = time.perf_counter() - began
                    times[method].setdefault(dim, []).append(taken)
    return _document(times)


def _fit(method: str, held: "list[Batch]", source: "SyntheticSource") -> None:
    """Collect moments of the rows and fit the bank, by either way."""
    from pbitstream.compiler.fit import fit_banks, layer_of, needed_pairs
    from pbitstream.compiler.gram import Gram
    from pbitstream.compiler.sketch import sketch_banks

    skips, shapes, names = source.skips, source.shapes, tuple(source.skips[0])
    gram = Gram(names, needed_pairs(skips, method) if method == "hbc" else ())
    for batch in held:
        gram.add(batch.layers)
    if method == "hbc":
        fit_banks(gram, shapes, skips, rank=RANK, band=False)
        return
    layers = {name: layer_of(gram, name, shapes[name], name == names[0]) for name in names}
    sketch_banks(lambda: iter(held), layers, skips, gram.rows, rank=RANK,
                 stencils=dict.fromkeys(skips))


def _document(times: dict[str, dict[int, list[float]]]) -> dict[str, Any]:
    import numpy as np

    from pbitstream.cli.measure import median

    rows = []
    for method, by_dim in times.items():
        seconds = {dim: median(values) for dim, values in by_dim.items()}
        slope = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0]
        rows.append({"method": method,
                     "seconds": {str(dim): value for dim, value in seconds.items()},
                     "exponent": float(slope)})
    return {"rank": RANK, "rows_of_activations": ROWS, "rows": rows}


def compile_table(data: dict[str, Any]) -> "Table":
    """Return the table of `measure_compile`."""
    from pbitstream.cli.output import table

    dims = list(dict.fromkeys(dim for row in data["rows"] for dim in row["seconds"]))
    dims.sort(key=int)
    made = table(f"A bank of rank {data['rank']} from {data['rows_of_activations']:,} rows, "
                 "milliseconds", "method", *(f"D={dim}" for dim in dims), "exponent")
    for row in data["rows"]:
        seconds = row["seconds"]
        made.add_row(row["method"], *(f"{1000 * seconds[dim]:.0f}" if dim in seconds else "–"
                                      for dim in dims), f"{row['exponent']:.2f}")
    made.caption = ("exponent: of time over D; sketch needs time of order D at fixed rank, hbc "
                    "forms D x D matrices")
    return made

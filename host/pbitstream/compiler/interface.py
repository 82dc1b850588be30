"""Fitting a conditioning net: the biases that banks leave to be given, from a row's inputs.

What free modules need at the U-Net's own activations is ``h* = K x - J x``, with J all banks of the
quantised program. A net is fitted to h* in least squares over a sample of the fit rows. Its output
matrix is the exact least-squares solution for given hidden features (variable projection [1]_), so
only the layers before it are searched, by L-BFGS from several starts; NumPy alone.

``quad``   ``h = C^T phi(E z)``, phi from 4 to 16 numbers: 20 D = 2,560 weights at D = 128 and 128
           inputs.
``RxH``    ``h = C^T silu(A E z + a)``, R and H hidden widths.
``paper``  The form of [2]_ with a clamped encoder: ``g = W2 W1 z`` of rank 4 stands for the
           encoder's bias, ``h = W4 silu(W3 g + w3)`` through 16 numbers.

References
----------
.. [1] G. Golub, V. Pereyra, "Separable nonlinear least squares: the variable projection method and
   its applications", Inverse Problems 19, 2003.
.. [2] "Thermodynamic diffusion inference", arXiv 2604.14332.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.codes import codes
from pbitstream.compiler.activations import Batch, Skip, Source, units
from pbitstream.compiler.equilibrium import clamped_units
from pbitstream.compiler.lower import Lowered
from pbitstream.compiler.minimise import minimise
from pbitstream.conditioning import Conditioning, Stage
from pbitstream.coupling import apply_coupling
from pbitstream.errors import SpecError
from pbitstream.layers import Linear, Quad, Silu
from pbitstream.spec.words import BIAS, K2, MAX_LOW_RANK_DIM

__all__ = ["Form", "attach_interface", "check_interface", "missing_bias", "parse_interface"]

Values = NDArray[np.float64]
Report = Callable[[str, int, int], None]

QUAD_WIDTH = 4
PAPER_WIDTHS = 4, 16
#: Starts that are tried briefly, and iterations of a trial and of the best one.
STARTS, TRIAL, ITERATIONS = 4, 40, 300
#: Ridge of the output matrix over the mean square of the hidden features.
RIDGE = 1e-4
#: Hidden sums are held below this by a penalty, with this weight.
HIDDEN_LIMIT, PENALTY = 6.0, 0.1
#: Numbers between layers stay below this; 8 is the end of their words.
LARGEST = 2.0


@dataclass(frozen=True)
class Form:
    """Kind and hidden widths of an interface."""

    kind: str
    width: int = QUAD_WIDTH
    hidden: int = 0


def parse_interface(text: str) -> Form | None:
    """Return the form that ``none``, ``quad``, ``paper`` or ``RxH`` names; None for none."""
    if text == "none":
        return None
    if text == "quad":
        return Form("quad")
    if text == "paper":
        return Form("paper", *PAPER_WIDTHS)
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if match is None or "0" in (match[1].lstrip("0") or "0", match[2].lstrip("0") or "0"):
        raise SpecError(f"interface must be none, quad, paper or RxH such as 8x32, not {text}")
    return Form("silu", int(match[1]), int(match[2]))


def missing_bias(lowered: Lowered, batch: Batch) -> Values:
    """Return h* = K x - J x (n, units) of the free layers at given activations.

    Units of a hub are where the layers put them: at their equilibrium, with no bias.
    """
    program, fitted = lowered.program, lowered.fitted
    topology, tables = program.topology, program.tables
    x = np.zeros((len(batch), topology.units))
    for name, place in lowered.places.items():
        x[:, place] = fitted.layers[name].normalised(np.asarray(batch.layers[name], np.float64))
    k2 = tables["k2"] * K2.value(1)
    hub = np.ones(topology.units, bool)
    for place in lowered.places.values():
        hub[place] = False
    if hub.any():  # hubs are not coupled among each other
        x[:, hub] = apply_coupling(topology, tables, x.T).T[:, hub] / k2[hub]
    h = k2 * x - apply_coupling(topology, tables, x.T).T
    h[:, hub | clamped_units(program)] = 0.0
    return np.asarray(h)


def check_interface(
    form: Form, skips: Sequence[Skip], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise SpecError, before anything is fitted, if the free layers cannot have an interface."""
    targets = list(dict.fromkeys(skip.target for skip in skips))
    if len(targets) > 1 or units(shapes[targets[0]]) > MAX_LOW_RANK_DIM:
        raise SpecError("an interface drives one module, one --skip to a layer of at most "
                        f"{MAX_LOW_RANK_DIM} units, not {', '.join(targets)}; use --interface none")
    if units(shapes[targets[0]]) < form.width:
        raise SpecError(f"an interface of width {form.width} needs a layer of as many units, not "
                        f"{targets[0]} with {units(shapes[targets[0]])}")


def attach_interface(
    lowered: Lowered,
    source: Source,
    form: Form,
    sample: Batch,
    *,
    seed: int = 0,
    report: Report | None = None,
) -> Lowered:
    """Return the same system with a conditioning net fitted on a sample of the fit rows.

    Raises
    ------
    SpecError
        If the rows have no inputs.
    """
    if sample.inputs is None:
        raise SpecError("an interface needs inputs of every row, and the source gives none; use "
                        "--interface none")
    program = lowered.program
    (layer,) = lowered.fitted.targets
    (module,) = (m.name for m in program.topology.modules
                 if not m.clamped and not m.name.endswith(".hub"))
    features = None
    z = sample.inputs
    if source.features is not None:
        features = codes(source.features, BIAS, np.int16)
        assert sample.rows is not None
        z = np.concatenate([z, features[sample.rows] * BIAS.value(1)], axis=1)
    wanted = missing_bias(lowered, sample)[:, lowered.places[layer]]
    stages = _FITS[form.kind](form, z, wanted, module, lowered, sample,
                              np.random.default_rng(seed), report or (lambda what, done, of: None))
    net = Conditioning(sample.inputs.shape[1], stages, features)
    return replace(lowered, program=replace(program, conditioning=net))


class _Search:
    """Hidden layers ``features = hidden(u)``, u linear in z, with exact output weights.

    `forward` maps parameters to features (n, f), a function that turns a gradient with respect to
    the features into one with respect to the parameters, penalty included, and the penalty.
    """

    def __init__(
        self, forward: Callable[[Values], tuple[Values, Any, float]], wanted: Values
    ) -> None:
        self.forward, self.wanted = forward, wanted
        self.total = float((wanted**2).sum())

    def output(self, parameters: Values) -> Values:
        """Return C (f, units), the best output weights for these parameters."""
        return self._solve(self.forward(parameters)[0])

    def _solve(self, features: Values) -> Values:
        gram = features.T @ features
        gram[np.diag_indices(len(gram))] += RIDGE * float(np.trace(gram)) / len(gram)
        return np.asarray(np.linalg.solve(gram, features.T @ self.wanted))

    def __call__(self, parameters: Values) -> tuple[float, Values]:
        """Return 1 - R² about zero plus penalty, and the gradient; C is at its best, with none."""
        features, back, penalty = self.forward(parameters)
        c = self._solve(features)
        left = features @ c - self.wanted
        # The ridge is part of what C minimises, and grows with the features.
        share = RIDGE / features.shape[1] * float((c**2).sum())
        value = float((left**2).sum()) + share * float((features**2).sum())
        slope = back(2.0 / self.total * (left @ c.T + share * features))
        return value / self.total + penalty, np.asarray(slope).ravel()

    def best(self, starts: list[Values], report: Report, iterations: int) -> Values:
        """Return the parameters found from the most promising of some starts."""
        found = []
        for number, start in enumerate(starts):
            report("fit the interface, trials", number, len(starts))
            found.append(minimise(self, start, iterations=TRIAL))
        point, _ = min(found, key=lambda pair: pair[1])
        report("fit the interface", 0, 1)
        return minimise(self, point, iterations=iterations)[0]


def _linear_start(z: Values, wanted: Values, width: int) -> Values:
    """Return (width, inputs): the leading directions of a ridge regression, of unit output rms."""
    gram = z.T @ z / len(z)
    values, vectors = np.linalg.eigh(gram)
    half = (vectors * (np.maximum(values, 0) + 1e-3 * values[-1]) ** -0.5) @ vectors.T
    left = np.linalg.svd(half @ (z.T @ wanted), full_matrices=False)[0]
    found = (half @ left)[:, :width].T
    if len(found) < width:
        found = np.concatenate([found, np.zeros((width - len(found), len(gram)))])
    return np.asarray(found)


def _starts(
    z: Values, wanted: Values, width: int, rng: np.random.Generator, scale: float
) -> list[Values]:
    """Return encoders (width, inputs): the linear one, and others away from it."""
    linear = scale * _linear_start(z, wanted, width)
    size = scale / np.sqrt((z**2).sum(axis=1).mean())
    return [linear + weight * size * rng.standard_normal(linear.shape)
            for weight in np.linspace(0.1, 1.0, STARTS)]


def _fit_quad(
    form: Form, z: Values, wanted: Values, target: str, lowered: Lowered, sample: Batch,
    rng: np.random.Generator, report: Report,
) -> tuple[Stage, ...]:
    n = form.width
    # The order of pairs in phi.
    indices = [(i, j) for i in range(n) for j in range(i, n)]

    def forward(parameters: Values) -> tuple[Values, Any, float]:
        y = z @ parameters.reshape(n, -1).T
        phi = Quad().apply_float(y)

        def back(slope: Values) -> Values:
            pairs = slope[:, 1 + n : -1]
            found = slope[:, 1 : 1 + n].copy()
            for column, (i, j) in enumerate(indices):
                found[:, i] += pairs[:, column] * y[:, j]
                found[:, j] += pairs[:, column] * y[:, i]
            for i in range(n):
                others = np.delete(y, i, axis=1).prod(axis=1)
                found[:, i] += slope[:, -1] * others
            return np.asarray(found.T @ z)

        return phi, back, 0.0

    search = _Search(forward, wanted)
    starts = [start.ravel() for start in _starts(z, wanted, n, rng, 0.5)]
    encoder = search.best(starts, report, ITERATIONS).reshape(n, -1)
    encoder *= LARGEST / np.abs(z @ encoder.T).max(axis=0)[:, None]
    c = search.output(encoder.ravel())
    return (Stage((Linear.quantise(encoder), Quad(), Linear.quantise(c.T)), target),)


def _silu_search(z: Values, wanted: Values, hidden: int, width: int) -> _Search:
    """Return the search over (A, a, E) of ``silu(A E z + a)``; E is left out at width 0."""
    inputs = z.shape[1]

    def forward(parameters: Values) -> tuple[Values, Any, float]:
        e, a, bias = _cut(parameters, inputs, width, hidden)
        y = z if e is None else z @ e.T
        u = y @ a.T + bias
        gate = 1 / (1 + np.exp(-np.clip(u, -60, 60)))
        excess = np.sign(u) * np.maximum(np.abs(u) - HIDDEN_LIMIT, 0.0)

        def back(slope: Values) -> Values:
            inner = slope * gate * (1 + u * (1 - gate)) + 2 * PENALTY / len(z) * excess
            parts = [(inner.T @ y).ravel(), inner.sum(axis=0)]
            if e is not None:
                parts.insert(0, ((inner @ a).T @ z).ravel())
            return np.concatenate(parts)

        return u * gate, back, PENALTY / len(z) * float((excess**2).sum())

    return _Search(forward, wanted)


def _cut(
    parameters: Values, inputs: int, width: int, hidden: int
) -> tuple[Values | None, Values, Values]:
    """Return E (width, inputs) or None, A (hidden, width) and a (hidden,) of a flat vector."""
    encoder, rest = parameters[: width * inputs], parameters[width * inputs :]
    a, bias = rest[:-hidden], rest[-hidden:]
    shaped = encoder.reshape(width, inputs) if width else None
    return shaped, a.reshape(hidden, -1), bias


def _fit_silu(
    form: Form, z: Values, wanted: Values, target: str, lowered: Lowered, sample: Batch,
    rng: np.random.Generator, report: Report,
) -> tuple[Stage, ...]:
    search = _silu_search(z, wanted, form.hidden, form.width)
    starts = [
        np.concatenate([start.ravel(),
                        rng.standard_normal(form.hidden * form.width) / np.sqrt(form.width),
                        rng.standard_normal(form.hidden)])
        for start in _starts(z, wanted, form.width, rng, 1.0)
    ]
    found = search.best(starts, report, ITERATIONS)
    e, a, bias = _cut(found, z.shape[1], form.width, form.hidden)
    assert e is not None
    # Numbers between layers have words of +-8; what E gives up A takes.
    size = np.abs(z @ e.T).max(axis=0) / LARGEST
    layers = (Linear.quantise(e / size[:, None]), Linear.quantise(a * size, bias), Silu(),
              Linear.quantise(search.output(found).T))
    return (Stage(layers, target),)


def _fit_paper(
    form: Form, z: Values, wanted: Values, target: str, lowered: Lowered, sample: Batch,
    rng: np.random.Generator, report: Report,
) -> tuple[Stage, ...]:
    fitted = lowered.fitted
    skip = next(skip for skip in fitted.banks if skip.target == fitted.targets[0])
    encoder = fitted.layers[skip.source]
    activations = encoder.normalised(np.asarray(sample.layers[skip.source], np.float64))
    first = _linear_start(z, activations, form.width)
    code = z @ first.T
    second = np.linalg.lstsq(code, activations, rcond=None)[0].T
    size = np.abs(code).max(axis=0) / LARGEST
    g = code @ second.T
    search = _silu_search(g, wanted, form.hidden, 0)
    spread = 1 / np.sqrt((g**2).sum(axis=1).mean())
    starts = [np.concatenate([spread * scale * rng.standard_normal(form.hidden * g.shape[1]),
                              rng.standard_normal(form.hidden)])
              for scale in np.linspace(1.0, 4.0, STARTS)]
    found = search.best(starts, report, ITERATIONS)
    _, third, bias = _cut(found, g.shape[1], 0, form.hidden)
    return (
        Stage((Linear.quantise(first / size[:, None]), Linear.quantise(second * size))),
        Stage((Linear.quantise(third, bias), Silu(), Linear.quantise(search.output(found).T)),
              target),
    )


_FITS: dict[str, Callable[..., tuple[Stage, ...]]] = {
    "quad": _fit_quad, "silu": _fit_silu, "paper": _fit_paper,
}

"""A x = b as the equilibrium of coupled Langevin units.

The energy ``x^T (K - J) x / 2 - h^T x`` has its minimum, and its Boltzmann law its mean, at
``x = (K - J)^-1 h`` [1]_. At T = 0 the units flow there and are read out at 2^-20; at T > 0 their
time average is. The flow is the better solver: its error falls exponentially in the steps, that of
an average as the root of them. What remains is the rounding of A, of b, and of the states that the
couplings see. A digital computer would go on by iterative refinement: the same solver on the
residual ``b - A x``.

References
----------
.. [1] M. Aifer, K. Donatella, M. H. Gordon, S. Duffield, T. Ahle, D. Simpson, G. E. Crooks,
   P. J. Coles, "Thermodynamic Linear Algebra", arXiv:2308.05660, 2023.
"""

# Keeps ArrayLike short in help().
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.codes import half_up
from pbitstream.devices.protocol import Device, State
from pbitstream.errors import SpecError
from pbitstream.linear import prediction as predict
from pbitstream.linear.mapping import Layout, layouts
from pbitstream.linear.matrix import Scaled, check_error, check_rhs, scale_matrix
from pbitstream.linear.prediction import Prediction
from pbitstream.linear.running import CHAINS, Report, checkpoints, opened, relax_parts
from pbitstream.spec.words import BIAS, EXPOSED, STATE

__all__ = ["Solution", "solve"]

Values = NDArray[np.float64]

#: c dt (w_min + w_max); 2 is the fastest and leaves the stiffest mode hardly damped at T = 0.
OVER = 1.8
#: Largest |x| of the answer, of the first look for the size of x, and six deviations of noise
#: beside the answer; the rail is at 8.
REACH, FIRST_REACH, NOISE_REACH = 6.0, 4.0, 2.0
DEVIATIONS = 6
#: A look is ended with this of its start left, and taken to be no better than the second.
LOOK_LEFT, LOOK_TRUSTED = 0.05, 0.25
#: The bias grows by at most this from look to look.
GROWTH = 8.0
#: Least standard deviation of a unit in a look: two steps of exposed states, whose rounding is then
#: as good as random; without noise it holds smooth solutions of small curvature still.
DITHER = 2 * EXPOSED.value(1)
#: Share of the wanted error that the end of a flow may leave of its start.
FLOW_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Solution:
    """What a substrate answered to A x = b.

    Attributes
    ----------
    x
        float64 (n,).
    method
        ``flow`` or ``average``.
    predictions
        Steps and errors of both methods, before either ran; without the average where its window
        would be too long.
    wanted
        The relative rms error asked for: ``|x - A^-1 b| / |A^-1 b|``, Euclidean norms.
    residual
        ``|b - A x| / |b|``.
    steps
        Steps of the answer's method as run, with the looks and the burn-in.
    condition, scaled_condition
        Of A, and of it at unit diagonal, which decides the steps.
    gap, dt
        Smallest eigenvalue of K - J, and the time step; gap dt is the pace of the slowest mode.
    quantisation
        ``|U' - U| / |U|`` of A at unit diagonal, U' as the tables hold it, spectral norms.
    saturated
        Clipped updates.
    rate
        What a gradient flow gains per step, in powers of e: gap dt unless the stiffest mode is
        slower.
    history
        Steps so far, and x then.
    """

    x: Values
    method: str
    predictions: Mapping[str, Prediction]
    wanted: float
    residual: float
    steps: int
    condition: float
    scaled_condition: float
    gap: float
    dt: float
    quantisation: float
    saturated: int
    rate: float
    history: list[tuple[int, Values]]

    @property
    def prediction(self) -> Prediction:
        """That of the method that ran."""
        return self.predictions[self.method]


def solve(
    a: ArrayLike,
    b: ArrayLike,
    *,
    device: Device | None = None,
    error: float = 0.01,
    average: bool = False,
    seed: int = 0,
    report: Report = lambda what, done, total: None,
) -> Solution:
    """Solve A x = b on a substrate to a relative rms error.

    Short relaxations under growing biases, the first of which cannot saturate whatever b is, tell
    how large x is; then b is scaled so that the largest |x| is 6 (or the largest bias 8), and the
    units relax on from there.
    Nothing of the answer comes from the host's own eigenvectors, which serve predictions and the
    choice of scales. Steps: O(condition log(1 / error)) at T = 0, O(condition / error^2) for an
    average; a step is two multiplications per entry above A's diagonal and four per unit.

    Parameters
    ----------
    a : array, shape (n, n)
        Symmetric positive definite, n at most 2,048; a SciPy sparse matrix is made dense.
    b : array, shape (n,)
        Not all zero.
    device
        Open; an emulator by default. Its program is replaced.
    error
        Wanted ``|x - A^-1 b| / |A^-1 b|``, 0 to 1.
    average
        The time average at T > 0, 8 chains, instead of the gradient flow at T = 0; T makes the
        largest standard deviation a 24th of the range.
    seed
        Of the noise: of an average, and of the looks, in which it dithers the rounding.
    report
        Called with (what is being done, steps done, of how many).

    Raises
    ------
    SpecError
        If A or b is refused; if rounding A to the tables alone moves x by more than half of
        `error`, or that of b and of states does; or if the average would need too long a window.
    """
    check_error(error)
    system = scale_matrix(a)
    rhs = check_rhs(b, system.dim)
    pace = float(OVER / (system.values[0] + system.values[-1]))
    choices = list(layouts(system.matrix, pace))
    check_tables(system, choices[0], error)
    with opened(device) as substrate:
        return _Solver(system, rhs, choices, error, seed, substrate, report).run(average)


def check_tables(system: Scaled, layout: Layout, error: float) -> None:
    """Raise SpecError if rounding A moves a solution of random direction by over half an error."""
    shift = system.apply(1 / system.values, layout.quantised - system.matrix)
    moved = float(np.linalg.norm(shift * system.scale[:, None]) / np.linalg.norm(system.scale))
    if moved > predict.SHARE * error:
        raise predict.unreachable(
            error, moved / predict.SHARE, f"rounding A to the tables moves x by {moved:.2g}, at "
            f"condition number {system.scaled_condition:.3g}"
        )


class _Solver:
    """One problem on one device."""

    def __init__(self, system: Scaled, rhs: Values, choices: list[Layout], error: float,
                  seed: int, device: Device, report: Report) -> None:
        self.system, self.rhs, self.choices = system, rhs, choices
        self.error, self.seed, self.device, self.report = error, seed, device, report
        self.bias = rhs * system.scale
        self.rate = min(predict.decay_rate(system.values, choice.pace) for choice in choices)
        self.history: list[tuple[int, Values]] = []
        self.looked, self.saturated = 0, 0
        self.noise: NDArray[np.uint64] | None = None
        self.loaded: Layout | None = None

    def run(self, average: bool) -> Solution:
        """Look, choose the scales, predict, relax."""
        y, layout, scaled = self._look()
        predictions = self._predictions(y, layout, scaled, average)
        system = self.system
        if average:
            x = self._average(layout, scaled, predictions["average"])
        else:
            more = predictions["flow"].steps - self.looked
            x = self._settle(layout, scaled, y, more, 0.0) * system.scale
        shift = layout.quantised - system.matrix
        return Solution(
            x=x,
            method="average" if average else "flow",
            predictions=predictions,
            wanted=self.error,
            residual=float(np.linalg.norm(self.rhs - system.original @ x)
                           / np.linalg.norm(self.rhs)),
            steps=self.history[-1][0],
            condition=system.condition,
            scaled_condition=system.scaled_condition,
            gap=float(system.values[0]) * layout.stiffness,
            dt=layout.dt,
            quantisation=float(np.linalg.norm(shift, 2) / system.values[-1]),
            saturated=self.saturated,
            rate=self.rate,
            history=self.history,
        )

    def _look(self) -> tuple[Values, Layout, float]:
        """Return y with U y = S b to some per cent, and the scales of the answer.

        The first look has a bias so small that nothing clips whatever b is; every further one has
        up to 8 times more, from the state that the one before has shown.
        """
        layout = self.choices[0]
        bounded = FIRST_REACH * float(self.system.values[0] / np.linalg.norm(self.bias))
        scaled = min(bounded, self._largest_scale(layout))
        y = np.zeros(self.system.dim)
        while True:
            y = self._settle(layout, scaled, y, self._look_steps, layout.stiffness * DITHER**2)
            if not y.any():
                raise SpecError("A is too badly conditioned: no unit moves under the largest bias "
                                "that cannot saturate, at condition number "
                                f"{self.system.scaled_condition:.3g}; regularise A")
            layout, goal = self._scales(y)
            if goal <= GROWTH * scaled:
                return y, layout, goal
            scaled *= GROWTH

    def _scales(self, y: Values) -> tuple[Layout, float]:
        """Return the layout and x / y of least error from rounding A, h and x."""
        def moved(layout: Layout) -> float:
            return math.hypot(*self._rounding(layout, y, self._largest(layout, y)))

        best = min(self.choices, key=moved)
        return best, self._largest(best, y)

    def _largest(self, layout: Layout, y: Values) -> float:
        """Return the largest x / y that state and bias have room for."""
        return min(REACH / float(np.abs(y).max()), self._largest_scale(layout))

    def _largest_scale(self, layout: Layout) -> float:
        """Return by how much S b may be scaled to be a bias h / c."""
        return BIAS.value(BIAS.highest) / (layout.stiffness * float(np.abs(self.bias).max()))

    def _rounding(self, layout: Layout, y: Values, scaled: float) -> tuple[float, float]:
        """Return the relative errors from the rounding of A, and from those of h and of states.

        The first two are known roundings: ``S U^-1 (U' - U) y`` and ``S U^-1 dh / c``. The third is
        ``S U^-1 ((I - U) dX + dx / pace)`` with independent uniform roundings dX of the exposed
        states and dx of the stored ones.
        """
        system, values = self.system, self.system.values
        norm = float(np.linalg.norm(system.scale * y))
        h = layout.stiffness * scaled * self.bias
        of_bias = (half_up(h / BIAS.value(1)) * BIAS.value(1) - h) / (layout.stiffness * scaled)
        known = np.stack([(layout.quantised - system.matrix) @ y, of_bias], axis=1)
        tables, bias = np.linalg.norm(
            system.scale[:, None] * system.apply(1 / values, known), axis=0) / norm
        words = EXPOSED.value(1) * (1 / values - 1), STATE.value(1) / (layout.pace * values)
        spread = system.diagonal(words[0]**2 + words[1]**2) / 12
        states = math.sqrt(float(system.scale**2 @ spread)) / (norm * scaled)
        return float(tables), math.hypot(bias, states)

    @property
    def _look_steps(self) -> int:
        return math.ceil(-math.log(LOOK_LEFT) / self.rate)

    def _predictions(self, y: Values, layout: Layout, scaled: float,
                     average: bool) -> dict[str, Prediction]:
        tables, rounding = self._rounding(layout, y, scaled)
        if math.hypot(tables, rounding) > predict.SHARE * self.error:
            least = math.hypot(tables, rounding) / predict.SHARE
            raise predict.unreachable(
                self.error, least, f"x moves by {tables:.2g} from rounding A and by "
                f"{rounding:.2g} from rounding b and states, at condition number "
                f"{self.system.scaled_condition:.3g}"
            )
        system = self.system
        # Norms of x and y = x / S decay alike but for the spread of S.
        spread = float(system.scale.max() / system.scale.min())
        left = FLOW_SHARE * self.error / (spread * LOOK_TRUSTED)
        more = max(1, math.ceil(-math.log(left) / self.rate))
        decayed = spread * LOOK_TRUSTED * math.exp(-self.rate * more)
        found = {"flow": Prediction(self.looked + more, 0, 1, 0.0, decayed, tables, rounding)}
        variance = system.diagonal(predict.stationary_variance(system.values, layout.pace))
        # In units of c, like everything of `prediction`.
        heat = (NOISE_REACH / DEVIATIONS) ** 2 / float(variance.max())
        of_mean = heat * predict.mean_covariance(system, layout.pace)
        norm = float(np.linalg.norm(system.scale * y)) * scaled
        sample = math.sqrt(float(system.scale**2 @ of_mean)) / norm
        try:
            steps = predict.window(sample, self.error, system.values, layout.pace, CHAINS)
        except SpecError:
            if average:
                raise
            return found
        found["average"] = Prediction(
            steps, predict.burn_in_steps(system.values, layout.pace), CHAINS,
            heat * layout.stiffness, sample / math.sqrt(CHAINS * steps), tables, rounding,
        )
        return found

    def _settle(self, layout: Layout, scaled: float, y: Values, steps: int,
                temperature: float) -> Values:
        """Relax for some steps from x = scaled y, write the history, return y at the end."""
        state = None
        if self.noise is not None:
            units = np.rint(y * (scaled / STATE.value(1))).astype(np.int32)[None]
            state = State(units, self.noise)
        h = self._load(layout, scaled)
        for window in relax_parts(self.device, h, checkpoints(steps), temperature=temperature,
                                  state=state, seed=self.seed):
            y = window.state.units[0] * (STATE.value(1) / scaled)
            self.history.append((self.looked + window.steps, y * self.system.scale))
            self.report("flow to equilibrium", window.steps, steps)
        self.noise = window.state.noise
        self.looked += steps
        self.saturated += window.saturated
        return y

    def _load(self, layout: Layout, scaled: float) -> Values:
        """Load a layout unless it is there, and return the bias for a scale."""
        if layout is not self.loaded:
            self.device.load(layout.program)
            self.loaded = layout
        return layout.stiffness * scaled * self.bias

    def _average(self, layout: Layout, scaled: float, prediction: Prediction) -> Values:
        self.history.clear()
        h = self._load(layout, scaled)
        before = self.looked + prediction.burn_in
        for window in relax_parts(self.device, h, checkpoints(prediction.steps), seed=self.seed,
                                  temperature=prediction.temperature, burn_in=prediction.burn_in,
                                  chains=prediction.chains):
            x = window.mean * self.system.scale / scaled
            self.history.append((before + window.steps, x))
            self.report("average at T > 0", window.steps, prediction.steps)
        self.saturated += window.saturated
        return x

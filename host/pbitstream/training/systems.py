"""Random systems of the gradient laboratory, their fixed points and their true gradients.

A system is an energy, one sample with its target, the fixed point it relaxes to, and the gradient
of ``C = |x_out - y|^2 / 2`` there, by implicit differentiation: what estimates are compared with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import SpecError
from pbitstream.spec.topology import Module
from pbitstream.training.banks import LowRank
from pbitstream.training.energy import Gradient, Parameters, fixed_points, true_gradient
from pbitstream.training.substrate import Batch, FloatSubstrate, Settled

__all__ = ["PAPER", "SMALL", "Converged", "Shape", "System", "flat", "nudged", "random_system",
           "reference"]

Values = NDArray[np.float64]

#: Steps of 1/8 from 0 to where Newton's method takes over.
APPROACH, APPROACH_DT = 160, 1 / 8
#: Largest |dE/dx| of what counts as a fixed point.
RESIDUAL = 1e-11


@dataclass(frozen=True)
class Shape:
    """How random systems are made: modules of one size, all pairs coupled.

    ``A, B ~ N(0, 1/dim)``, one gain scaled so that ``lambda_max(J) = load k2``; ``h ~ N(0, 1/4)``,
    ``y ~ N(0, 1)`` on the last module.
    """

    modules: int
    dim: int
    rank: int
    k2: float
    k4: float
    load: float = 0.8


#: The systems of the slopes and of the table of relaxation budgets (physics.md 5a).
SMALL = Shape(3, 8, 4, 1.0, 1.0)
#: Two readings of D = 64, k = 16, J4 = 0.05 (arXiv 2604.23806): k4 = J4 with k2 = 1; and the
#: quartic of E = J2 z^2 + J4 z^4 with J2 = 0.1, so k2 = 2 J2 and k4 = 4 J4.
PAPER = {"k2 1, k4 .05": Shape(2, 64, 16, 1.0, 0.05), "k2 .2, k4 .2": Shape(2, 64, 16, 0.2, 0.2)}


@dataclass(frozen=True, eq=False)
class System:
    """An energy with one sample, its free fixed point (1, units) and its true gradient."""

    parameters: Parameters
    batch: Batch
    point: Values
    gradient: Gradient

    @property
    def names(self) -> list[str]:
        """What is compared: A, B and gains of all banks, and h; not the stiffness."""
        return [name for name in sorted(self.gradient) if name.startswith("bank") or name == "h"]


class Converged:
    """A substrate whose relaxations have converged: fixed points to machine precision.

    Steps and seeds do not matter; a start is where Newton's method begins.
    """

    def __init__(self) -> None:
        self._parameters: Parameters | None = None

    def load(self, parameters: Parameters) -> None:
        """Use these parameters from now on."""
        self._parameters = parameters

    def applied(self, nudge: float) -> float:
        """Return the nudge itself."""
        return nudge

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        """Return the fixed points of E + nudge C.

        Raises
        ------
        SpecError
            If Newton's method does not find one, as where a system has several.
        """
        p = self._parameters
        if p is None:
            raise SpecError("no parameters are loaded")
        if start is None:
            approach = FloatSubstrate(APPROACH_DT)
            approach.load(p)
            start = approach.settle(batch, nudge=nudge, steps=APPROACH, start=None, seed=seed)
        energy, h = nudged(p, batch, nudge)
        x = fixed_points(energy, h, start.x[-1], batch.mix)
        k2, k4 = (energy.arrays[name] for name in ("k2", "k4"))
        slope = ((k2 + k4 * x * x) * x - h - energy.field(x, batch.mix))[:, p.free]
        if not np.abs(slope).max() < RESIDUAL:
            raise SpecError(f"no fixed point at nudge {nudge:g}: |dE/dx| stays at "
                            f"{np.abs(slope).max():.1e}; lower lambda_max(J) or the nudge")
        return Settled(x[None], None)


def nudged(parameters: Parameters, batch: Batch, nudge: float) -> tuple[Parameters, Values]:
    """Return E + nudge C as parameters, and h of every sample: k2 + nudge and h + nudge y."""
    out = parameters.part(batch.output)
    k2 = parameters.arrays["k2"].copy()
    k2[out] += nudge
    h = np.tile(parameters.arrays["h"], (len(batch), 1))
    h[:, out] += nudge * batch.target
    return parameters.with_arrays({**parameters.arrays, "k2": k2}), h


def reference(parameters: Parameters, batch: Batch) -> System:
    """Find the free fixed points and the gradient of the mean cost, by implicit differentiation."""
    substrate = Converged()
    substrate.load(parameters)
    x = substrate.settle(batch, nudge=0.0, steps=1, start=None, seed=0).x[-1]
    out = parameters.part(batch.output)
    cost = np.zeros_like(x)
    cost[:, out] = x[:, out] - batch.target
    return System(parameters, batch, x, true_gradient(parameters, x, cost, batch.mix))


def random_system(rng: np.random.Generator, shape: Shape = SMALL) -> System:
    """Draw a system of a shape; E is convex, since lambda_max(J) < k2."""
    modules = tuple(Module(f"m{i}", "langevin", shape.dim) for i in range(shape.modules))
    banks = tuple(LowRank(s, t, shape.rank) for s, t in combinations(range(shape.modules), 2))
    units, scale = shape.modules * shape.dim, shape.dim**-0.5
    arrays: dict[str, Values] = {}
    for index in range(len(banks)):
        for name in ("a", "b"):
            arrays[f"bank{index}.{name}"] = scale * rng.standard_normal((shape.dim, shape.rank))
        arrays[f"bank{index}.gain"] = np.ones((1, shape.rank))
    arrays.update(h=0.5 * rng.standard_normal(units), k2=np.full(units, shape.k2),
                  k4=np.full(units, shape.k4))
    top = np.linalg.eigvalsh(Parameters(modules, banks, arrays).coupling_matrix())[-1]
    for index in range(len(banks)):
        arrays[f"bank{index}.gain"] *= shape.load * shape.k2 / top
    target = rng.standard_normal((1, shape.dim))
    batch = Batch(np.zeros((1, 0)), target, shape.modules - 1)
    return reference(Parameters(modules, banks, arrays), batch)


def flat(gradient: Mapping[str, Values], names: list[str]) -> Values:
    """Return some parameters' gradients as one vector."""
    return np.concatenate([gradient[name].ravel() for name in names])

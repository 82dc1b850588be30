"""The exact equilibrium of a quantised program without quartic terms, in float64.

Over the free units ``(K - J) x = h + J_c x_c``, with x_c the clamped values: what the mean of a
long relaxation tends to, so that a readout can be held against it.
"""

import numpy as np
from numpy.typing import NDArray

from pbitstream.coupling import apply_coupling
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.words import K2

__all__ = ["clamped_units", "equilibrium", "free_units"]

Values = NDArray[np.float64]


def clamped_units(program: Program) -> NDArray[np.bool_]:
    """Return which units are clamped."""
    return np.concatenate([np.full(m.dim, m.clamped) for m in program.topology.modules])


def free_units(program: Program) -> NDArray[np.bool_]:
    """Return which units are free."""
    return ~clamped_units(program)


def equilibrium(program: Program, clamp: Values, h: Values | None = None) -> Values:
    """Return the equilibrium x (n, units) for clamp values (n, clamped units) and biases.

    Parameters
    ----------
    h
        (n, units) in energy units, by default 0.

    Raises
    ------
    SpecError
        If a free unit is no Langevin unit or has a quartic term: then no linear solve gives it.

    Notes
    -----
    Cost: O(f^3 + n f^2) for f free units that are coupled among each other, O(n k) per unit else.
    """
    topology, tables = program.topology, program.tables
    free = free_units(program)
    linear = all(m.clamped or m.kind == "langevin" for m in topology.modules)
    if not linear or tables["k4"][free].any():
        raise SpecError("the equilibrium is linear only for Langevin units with k4 = 0")
    x = np.zeros((len(clamp), topology.units))
    x[:, ~free] = clamp
    field = apply_coupling(topology, tables, x.T).T[:, free]
    if h is not None:
        field = field + h[:, free]
    k2 = tables["k2"][free] * K2.value(1)
    if _coupled(program):
        eye = np.zeros((topology.units, int(free.sum())))
        eye[np.flatnonzero(free), np.arange(eye.shape[1])] = 1.0
        stiffness = np.diag(k2) - apply_coupling(topology, tables, eye)[free]
        x[:, free] = np.linalg.solve(stiffness, field.T).T
    else:
        x[:, free] = field / k2
    return x


def _coupled(program: Program) -> bool:
    modules = program.topology.modules
    return any(not modules[bank.source].clamped and not modules[bank.target].clamped
               for bank in program.topology.banks)

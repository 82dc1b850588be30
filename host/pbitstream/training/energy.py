"""The trainable energy: parameters in float64, its gradients, and the true gradient of a cost.

``E(x) = sum(k2/2 x^2 + k4/4 x^4 - h x) - sum over banks x_s^T J_st x_t`` over Langevin units. Its
derivatives are products of states, so readouts alone give them: those of banks in
`pbitstream.training.banks`, and dE/dh = -x, dE/dk2 = x^2 / 2, dE/dk4 = x^4 / 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import DTypeLike, NDArray

from pbitstream.spec.topology import Module
from pbitstream.training.banks import LowRank, TrainedBank

__all__ = ["Gradient", "Parameters", "energy_gradient", "fixed_points", "free_couplings",
           "true_gradient"]

Values = NDArray[np.float64]
#: Gradients by parameter name: ``bank0.a`` and so on, ``h``, ``k2``, ``k4``.
Gradient = dict[str, Values]


@dataclass(frozen=True, eq=False)
class Parameters:
    """Modules, banks and the arrays that are trained.

    Attributes
    ----------
    modules
        Langevin modules, clamped or free.
    banks
        Low-rank and band banks between different modules.
    arrays
        ``bank<b>.<name>`` as the kinds of bank have them, and per unit ``h``, ``k2``, ``k4``;
        those of clamped units are not used.
    """

    modules: tuple[Module, ...]
    banks: tuple[TrainedBank, ...]
    arrays: Mapping[str, Values]

    @property
    def units(self) -> int:
        """Number of units, clamped ones included."""
        return sum(module.dim for module in self.modules)

    @property
    def count(self) -> int:
        """Number of trained numbers: nonzero ones of all banks; h, k2, k4 of free units."""
        banks = sum(np.count_nonzero(v) for n, v in self.arrays.items() if n.startswith("bank"))
        return int(banks) + 3 * int(self.free.sum())

    @property
    def free(self) -> NDArray[np.bool_]:
        """Which units are free."""
        return np.concatenate([np.full(m.dim, not m.clamped) for m in self.modules])

    def part(self, module: int) -> slice:
        """Return the units of a module."""
        start = sum(m.dim for m in self.modules[:module])
        return slice(start, start + self.modules[module].dim)

    def own(self, bank: int, dtype: DTypeLike = np.float64) -> dict[str, Values]:
        """Return a bank's arrays by their short names, in some precision."""
        return {name: self.arrays[f"bank{bank}.{name}"].astype(dtype, copy=False)
                for name in self.banks[bank].names}

    def with_arrays(self, arrays: Mapping[str, Values]) -> "Parameters":
        """Return the same substrate with other numbers."""
        return replace(self, arrays=arrays)

    def field(
        self, x: Values, mix: Values | None = None, *, clamped: tuple[bool, ...] = (False, True)
    ) -> Values:
        """Return the banks' field of states x (samples, units) at the free units, as exact as x.

        `clamped` says which sources count: free ones (False), clamped ones (True).
        """
        f = np.zeros_like(x)
        mix = None if mix is None else mix.astype(x.dtype, copy=False)
        for index, bank in enumerate(self.banks):
            arrays = self.own(index, x.dtype)
            s, t = self.modules[bank.source], self.modules[bank.target]
            x_s, x_t = x[:, self.part(bank.source)], x[:, self.part(bank.target)]
            if not t.clamped and s.clamped in clamped:
                f[:, self.part(bank.target)] += bank.forward(arrays, x_s, mix)
            if not s.clamped and t.clamped in clamped:
                f[:, self.part(bank.source)] += bank.backward(arrays, x_t, mix)
        return f

    def coupling_matrix(self, mix: Values | None = None) -> Values:
        """Return J over all units, (units, units), at one mix (1, rows); for caps and oracles."""
        j = np.zeros((self.units, self.units))
        for index, bank in enumerate(self.banks):
            s, t = self.part(bank.source), self.part(bank.target)
            block = bank.forward(self.own(index), np.eye(s.stop - s.start), mix)
            j[s, t] += block
            j[t, s] += block.T
        return j


def energy_gradient(
    parameters: Parameters,
    x: Values,
    mix: Values | None = None,
    along: Values | None = None,
    less: Values | None = None,
) -> Gradient:
    """Return the mean over samples of dE/dtheta at states x, or of its derivative along v.

    In the precision of x.

    Parameters
    ----------
    x
        States (samples, units).
    mix
        Gain mix (samples, rows), where a bank has one.
    along
        Direction v (samples, units): then ``d/de dE/dtheta(x + e v)`` at e = 0 is returned, which
        for v = -lambda is the gradient of a cost; see `true_gradient`.
    less
        Other states y (samples, units), with the same clamps: what they give is subtracted, as
        ``x_s x_t - y_s y_t = (x - y)_s (x + y)_t / 2 + (x + y)_s (x - y)_t / 2``, so that nothing
        is lost where they are near. With one end of a bank clamped half of it is 0.
    """
    gradient: Gradient = {}
    samples, base, change = len(x), x, along
    if less is not None:
        base, change = (x + less) / 2, x - less
    if mix is not None:
        mix = mix.astype(x.dtype, copy=False)
    at_source, at_target, rows = base, base, mix
    if change is not None:
        at_source, at_target = np.concatenate([change, base]), np.concatenate([base, change])
        rows = None if mix is None else np.concatenate([mix, mix])
    for index, bank in enumerate(parameters.banks):
        s, t = parameters.part(bank.source), parameters.part(bank.target)
        own = parameters.own(index, x.dtype)
        if change is not None and less is not None and parameters.modules[bank.source].clamped:
            found = bank.gradient(own, base[:, s], change[:, t], mix, samples)
        else:
            found = bank.gradient(own, at_source[:, s], at_target[:, t], rows, samples)
        gradient.update({f"bank{index}.{name}": value for name, value in found.items()})
    square = base * base
    if change is None:
        gradient.update(h=-base.mean(axis=0), k2=square.mean(axis=0) / 2,
                        k4=(square * square).mean(axis=0) / 4)
    else:
        slope = base * change
        gradient.update(h=-change.mean(axis=0), k2=slope.mean(axis=0))
        if less is not None:
            square += change * change / 4
        gradient["k4"] = (slope * square).mean(axis=0)
    return gradient


def true_gradient(
    parameters: Parameters, x: Values, cost: Values, mix: Values | None = None
) -> Gradient:
    """Return dC/dtheta at the fixed points x by implicit differentiation.

    With H the Hessian of E over the free units, ``dC/dtheta = d/de dE/dtheta(x - e lambda)`` for
    ``H lambda = dC/dx``. O(units^3) per sample.

    Parameters
    ----------
    x
        Fixed points (samples, units); their residual bounds the error.
    cost
        dC/dx (samples, units), zero at clamped units.
    """
    free = parameters.free
    k2, k4 = parameters.arrays["k2"][free], parameters.arrays["k4"][free]
    hessian = -free_couplings(parameters, mix)
    if len(hessian) < len(x):
        hessian = np.repeat(hessian, len(x), axis=0)
    diagonal = np.arange(free.sum())
    hessian[:, diagonal, diagonal] += k2 + 3 * k4 * x[:, free] ** 2
    along = np.zeros_like(x)
    along[:, free] = -np.linalg.solve(hessian, cost[:, free, None])[..., 0]
    return energy_gradient(parameters, x, mix, along)


def free_couplings(parameters: Parameters, mix: Values | None) -> Values:
    """Return J among free units, (samples, n, n), or (1, n, n) where no mix reaches it."""
    kept = np.ix_(parameters.free, parameters.free)
    ends = [(parameters.modules[b.source], parameters.modules[b.target]) for b in parameters.banks]
    reached = any(
        isinstance(bank, LowRank) and bank.mixed and not (s.clamped or t.clamped)
        for bank, (s, t) in zip(parameters.banks, ends)
    )
    if mix is None:
        return parameters.coupling_matrix()[kept][None]
    rows = mix if reached else mix[:1]
    return np.stack([parameters.coupling_matrix(row[None])[kept] for row in rows])


def fixed_points(
    parameters: Parameters, h: Values, x: Values, mix: Values | None = None, *, rounds: int = 50
) -> Values:
    """Return the free fixed points near x, by Newton's method on dE/dx, to machine precision.

    Parameters
    ----------
    h
        Biases of every sample (samples, units).
    x
        Start (samples, units), clamps in place; close enough for Newton's method, such as the end
        of a relaxation.
    rounds
        Most Newton steps of a sample. O(units^3) each.
    """
    free = parameters.free
    k2, k4 = parameters.arrays["k2"][free], parameters.arrays["k4"][free]
    found = x.copy()
    for sample in range(len(x)):
        row = None if mix is None else mix[sample : sample + 1]
        j = parameters.coupling_matrix(row)
        for _ in range(rounds):
            now = found[sample]
            slope = (k2 + k4 * now[free] ** 2) * now[free] - h[sample, free] - (j @ now)[free]
            hessian = np.diag(k2 + 3 * k4 * now[free] ** 2) - j[np.ix_(free, free)]
            step = np.linalg.solve(hessian, slope)
            found[sample, free] -= step
            if np.abs(step).max() < 1e-14:
                break
    return found

"""Building a program from modules and float couplings, one call each."""

# Keeps ArrayLike short in help().
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.codes import codes
from pbitstream.compiler.quantise import quantise_low_rank, quantise_weights
from pbitstream.conditioning import Conditioning
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.noise import NOISE_SHIFTS, noise_gain
from pbitstream.spec.topology import (
    BandBank,
    Bank,
    Kind,
    LowRankBank,
    Module,
    SparseBank,
    Topology,
    check_module,
)
from pbitstream.spec.words import BETA, EXPOSED, K2, K4, X_MAX
from pbitstream.tables import band_rows

__all__ = ["ProgramBuilder", "colour_phases"]


class ProgramBuilder:
    """Collect modules and banks in values, then `build` the quantised program.

    Every method that adds a module returns its index, which the bank methods take.

    Parameters
    ----------
    dt_shift
        dt = 2^-dt_shift; the largest stable step is the best one.
    field_fraction
        Fraction bits F of the field: 16, 18, 20 or 22. Fields reach 2^(31-F).

    Examples
    --------
    >>> builder = ProgramBuilder()
    >>> left = builder.pbit("left", 4, beta=1.0)
    >>> right = builder.pbit("right", 4, beta=1.0)
    >>> builder.band(left, right, {0: [0.5] * 4})
    >>> builder.build().topology.phases
    ((0,), (1,))
    """

    def __init__(self, *, dt_shift: int = 3, field_fraction: int = 20) -> None:
        self.dt_shift = dt_shift
        self.field_fraction = field_fraction
        self._modules: list[Module] = []
        self._units: list[dict[str, NDArray[Any]]] = []
        self._codes: list[tuple[int, int, int, int]] = []
        self._banks: list[Bank] = []
        self._tables: dict[str, NDArray[Any]] = {}
        self._schedules: dict[int, NDArray[np.int16]] = {}
        self._scales: dict[int, NDArray[np.float64]] = {}

    def langevin(
        self,
        name: str,
        dim: int,
        *,
        k2: ArrayLike = 1.0,
        k4: ArrayLike = 0.0,
        temperature: float = 0.01,
        x_max: float = -EXPOSED.value(EXPOSED.lowest),
        scale: ArrayLike = 1.0,
        offset: ArrayLike = 0.0,
    ) -> int:
        """Add a Langevin module.

        ``x <- x + dt (field - k2 x - k4 x^3) + sqrt(2 T dt) xi``.

        Parameters
        ----------
        k2, k4
            Stiffness, a scalar or one value per unit: 2^-10 to 31.999, and 0 to 7.9998. A double
            well needs a self-coupling beside them: ``band(m, m, {0: w})`` makes k2 - 2 w of k2.
        temperature
            In energy units; the noise codes nearest to it are stored.
        x_max
            Largest |x| that occurs, from a calibration run; by default the rail at 8. With k4 > 0
            it decides the largest stable dt, ``2 / (lambda_max(K - J) + 3 k4 x_max^2)``.
        scale, offset
            value = scale * x + offset, scalars or one value per unit.
        """
        gain, shift = noise_gain(temperature, self.dt_shift)
        rail = -EXPOSED.lowest
        words = (0, gain, shift, min(X_MAX.raw(x_max), rail))
        return self._module(Module(name, "langevin", dim), words, k2, k4, scale, offset)

    def pbit(
        self,
        name: str,
        dim: int,
        *,
        beta: float = 1.0,
        scale: ArrayLike = 1.0,
        offset: ArrayLike = 0.0,
    ) -> int:
        """Add a p-bit module: m = +1 with probability sigma(2 beta field), else -1.

        `beta` is 0 to 15.9998; `scale` and `offset` as in `langevin`.
        """
        words = (BETA.raw(beta), 0, NOISE_SHIFTS[-1], 0)
        return self._module(Module(name, "pbit", dim), words, 0.0, 0.0, scale, offset)

    def clamped(self, name: str, dim: int, *, kind: Kind = "langevin") -> int:
        """Add a module that is held at the values each relaxation gives."""
        words = (0, 0, NOISE_SHIFTS[-1], 0)
        return self._module(Module(name, kind, dim, True), words, 0.0, 0.0, 1.0, 0.0)

    def low_rank(
        self,
        source: int,
        target: int,
        a: ArrayLike,
        b: ArrayLike,
        gain: ArrayLike,
        *,
        schedule: ArrayLike | None = None,
        projections: tuple[float, float] | None = None,
    ) -> int:
        """Couple two modules by ``J_ts = B diag(S) A^T``; returns the bank's index.

        `a` is (dim_s, rank), `b` (dim_t, rank), `gain` (rank,), `schedule` (rows, rank) the gains
        of every schedule row, `projections` the largest |z| forward and backward.
        """
        self._ends(source, target)
        limits = (self._limit(source), self._limit(target))
        tables = quantise_low_rank(
            np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(gain, np.float64),
            source=source, target=target, field_fraction=self.field_fraction, limits=limits,
            schedule=None if schedule is None else np.asarray(schedule, np.float64),
            projections=projections,
        )
        index = self._bank(tables.bank, {"a": tables.a, "b": tables.b, "gain": tables.gain})
        if tables.schedule is not None:
            self._schedules[index] = tables.schedule
        self._scales[index] = tables.scale
        return index

    def gain_scale(self, bank: int) -> NDArray[np.float64]:
        """Return what S of a low-rank bank is multiplied by in gains of a relaxation, (rank,).

        Its tables hold A and B at full range, and what that took from their columns.
        """
        return self._scales[bank]

    def band(self, source: int, target: int, weights: Mapping[int, ArrayLike]) -> int:
        """Couple by shifted diagonals, offset -> weights; returns the bank's index.

        ``f_t[i] += w_o[i] x_s[i+o]`` and its transpose. With s = t both are added, so offset 0
        counts twice and an undirected edge is given once: ``band(m, m, {1: 0.5})`` is a chain.

        Parameters
        ----------
        weights
            Of every offset, one weight per unit of t, 0 where i + o lies outside s; a scalar is
            taken for all units whose neighbour exists.
        """
        self._ends(source, target)
        dims = self._modules[source].dim, self._modules[target].dim
        rows = [_band_row(int(offset), w, *dims) for offset, w in weights.items()]
        bank = BandBank(source, target, tuple(int(offset) for offset in weights))
        raw = quantise_weights(np.array(rows), self.field_fraction, "weight")
        return self._bank(bank, {"w": raw})

    def sparse(
        self, source: int, target: int, indptr: ArrayLike, indices: ArrayLike, weights: ArrayLike
    ) -> int:
        """Couple by CSR weights, rows being units of t; emulator only; returns the bank's index."""
        self._ends(source, target)
        raw = quantise_weights(np.asarray(weights, np.float64), self.field_fraction, "weight")
        tables: dict[str, NDArray[Any]] = {
            "indptr": np.asarray(indptr, np.int32),
            "indices": np.asarray(indices, np.int32),
            "weights": raw,
        }
        return self._bank(SparseBank(source, target, len(raw)), tables)

    def build(
        self,
        *,
        phases: Sequence[Sequence[int]] | None = None,
        conditioning: Conditioning | None = None,
        steps: int = 256,
        burn_in: int = 64,
        provenance: Mapping[str, str] | None = None,
    ) -> Program:
        """Return the program; phases come from `colour_phases` unless given."""
        modules, banks = tuple(self._modules), tuple(self._banks)
        if phases is None:
            phases = colour_phases(modules, banks)
        topology = Topology(modules, banks, tuple(tuple(p) for p in phases),
                            self.field_fraction, self.dt_shift)
        tables = dict(self._tables)
        for name in ("k2", "k4", "scale", "offset"):
            tables[name] = np.concatenate([unit[name] for unit in self._units])
        columns = np.array(self._codes, np.int64).T
        for name, dtype, column in zip(
            ("beta", "noise_gain", "noise_shift", "x_max"),
            ("uint16", "uint16", "uint8", "uint16"),
            columns,
        ):
            tables[name] = column.astype(dtype)
        if self._schedules:
            tables["schedule.gain"] = self._schedule(topology)
        return Program(topology, tables, conditioning, steps, burn_in, provenance or {})

    def _module(
        self,
        module: Module,
        words: tuple[int, int, int, int],
        k2: ArrayLike,
        k4: ArrayLike,
        scale: ArrayLike,
        offset: ArrayLike,
    ) -> int:
        """Add a module; `words` are its codes of beta, noise gain, noise shift and x_max."""
        check_module(module)
        unit: dict[str, NDArray[Any]] = {
            name: codes(_per_unit(name, values, module), word, np.uint16)
            for name, values, word in (("k2", k2, K2), ("k4", k4, K4))
        }
        if module.kind == "langevin" and not module.clamped and unit["k2"].min() < 1:
            raise SpecError(f"k2 must be at least {K2.value(1):g}; for a double well add a band "
                            "bank of the module with itself, offset 0")
        for name, values in (("scale", scale), ("offset", offset)):
            unit[name] = _per_unit(name, values, module)
        self._modules.append(module)
        self._codes.append(words)
        self._units.append(unit)
        return len(self._modules) - 1

    def _bank(self, bank: Bank, tables: Mapping[str, NDArray[Any]]) -> int:
        index = len(self._banks)
        self._banks.append(bank)
        self._tables.update({f"bank{index}.{name}": table for name, table in tables.items()})
        return index

    def _ends(self, source: int, target: int) -> None:
        for end in (source, target):
            if not isinstance(end, int):
                raise SpecError(f"module must be the index that the builder returned, not {end!r}")
            if not 0 <= end < len(self._modules):
                raise SpecError(f"module must be between 0 and {len(self._modules) - 1}, "
                                f"not {end}")

    def _limit(self, module: int) -> float:
        return 1.0 if self._modules[module].kind == "pbit" else -EXPOSED.value(EXPOSED.lowest)

    def _schedule(self, topology: Topology) -> NDArray[np.int16]:
        """Return gains (rows, banks, largest rank); a bank without a schedule keeps its own."""
        lengths = {len(rows) for rows in self._schedules.values()}
        if len(lengths) > 1:
            raise SpecError(f"gain schedules must have one length, not {sorted(lengths)}")
        table = np.zeros((lengths.pop(), len(self._banks), topology.max_rank), np.int16)
        for index, bank in enumerate(self._banks):
            if isinstance(bank, LowRankBank):
                rows = self._schedules.get(index, self._tables[f"bank{index}.gain"][None])
                table[:, index, : bank.rank] = rows
        return table


def _per_unit(name: str, values: ArrayLike, module: Module) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if array.shape not in ((), (module.dim,)):
        raise SpecError(f"{name} of module {module.name} must be a number or have shape "
                        f"({module.dim},), not {array.shape}")
    return np.broadcast_to(array, module.dim).copy()


def _band_row(offset: int, weight: ArrayLike, dim_s: int, dim_t: int) -> NDArray[np.float64]:
    """Return one weight per unit of t; a scalar reaches the units whose neighbour exists."""
    array = np.asarray(weight, np.float64)
    if array.shape == (dim_t,):
        return array
    if array.shape != ():
        raise SpecError(f"weights of offset {offset} must be a number or have shape ({dim_t},), "
                        f"not {array.shape}")
    row = np.zeros(dim_t)
    low, high = band_rows(offset, dim_t, dim_s)
    row[low:high] = array
    return row


def colour_phases(
    modules: Sequence[Module], banks: Sequence[Bank]
) -> tuple[tuple[int, ...], ...]:
    """Return phases: all Langevin modules in one, p-bit modules in greedy colour classes.

    A p-bit module takes the first phase that holds no module it is coupled to.
    """
    neighbours: dict[int, set[int]] = {index: set() for index in range(len(modules))}
    for bank in banks:
        neighbours[bank.source].add(bank.target)
        neighbours[bank.target].add(bank.source)
    free = [index for index, module in enumerate(modules) if not module.clamped]
    langevin = [index for index in free if modules[index].kind == "langevin"]
    phases = [langevin] if langevin else []
    for index in free:
        if modules[index].kind == "pbit":
            for phase in phases:
                if not neighbours[index] & set(phase):
                    phase.append(index)
                    break
            else:
                phases.append([index])
    return tuple(tuple(sorted(phase)) for phase in phases)

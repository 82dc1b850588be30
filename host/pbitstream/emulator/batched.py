"""The emulator without numba: all chains of a call at once, in exact NumPy arithmetic.

Sums of low-rank banks are float64 GEMMs: they stay below 2^31, far under 2^53, so every product and
sum is exact (numerics, section 9). Slower than the compiled kernels; the same bits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.call import Call, Sums
from pbitstream.devices.protocol import CLIP_NAMES, State
from pbitstream.emulator.noise import advance
from pbitstream.program import Program
from pbitstream.spec.fixed import rhu
from pbitstream.spec.noise import FIELD_BITS, FIELD_MASK, FIELDS, NOISE_MEAN, STREAMS
from pbitstream.spec.sigmoid import (
    THRESHOLD_BITS,
    THRESHOLD_STEP_BITS,
    THRESHOLDS,
    sigmoid_table,
)
from pbitstream.spec.topology import BandBank, LowRankBank
from pbitstream.spec.words import (
    BETA,
    COUNTER_BITS,
    EXPOSED,
    K2,
    K4,
    PBIT_INPUT,
    PROJECTION_BITS,
    SPIN,
    STATE,
    X2,
)
from pbitstream.tables import band_rows, sparse_rows

__all__ = ["relax_batch"]

Codes = NDArray[np.int64]


def relax_batch(program: Program, call: Call, state: State) -> Sums:
    """Run all chains of a call from a full state; O(units * chains) memory."""
    batch = _Batch(program, call, state)
    for row in call.rows:
        batch.row = row
        for step in range(row.burn_in + row.steps):
            batch.step()
            if step >= row.burn_in:
                batch.collect()
    counts = np.minimum(np.stack([batch.clips[name] for name in CLIP_NAMES], axis=1),
                        (1 << COUNTER_BITS) - 1)
    after = State(batch.units.astype(np.int32), batch.noise)
    return Sums(batch.sums, batch.squares, after, counts)


@dataclass(frozen=True, eq=False)
class _Factors:
    """Float64 copies of the factors of a low-rank bank."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]


class _Batch:
    """All chains of a call: units (chains, units), noise (chains, 128), clip counts."""

    def __init__(self, program: Program, call: Call, state: State) -> None:
        self.topology, self.tables, self.call = program.topology, program.tables, call
        self.row = next(call.rows)
        repeat = call.chains
        self.units = state.units.astype(np.int64)
        self.noise = state.noise.copy()
        fraction = self.topology.field_fraction - EXPOSED.fraction
        self.h = np.repeat(call.h.astype(np.int64) << fraction, repeat, axis=0)
        gains = call.gains.astype(np.int64)
        self.gains = np.repeat(gains, repeat, axis=0) if len(gains) > 1 else gains
        chains = call.total_chains
        self.sums = np.zeros((chains, self.topology.units), np.int64)
        self.squares = np.zeros_like(self.sums)
        self.clips = {name: np.zeros(chains, np.int64) for name in CLIP_NAMES}
        self.thresholds = np.array(sigmoid_table(), np.int64)
        self.factors = {
            index: _Factors(self.tables[f"bank{index}.a"].astype(np.float64),
                            self.tables[f"bank{index}.b"].astype(np.float64))
            for index, bank in enumerate(self.topology.banks)
            if isinstance(bank, LowRankBank)
        }
        self.exposed = np.zeros_like(self.units)
        for index in range(len(self.topology.modules)):
            self._expose(index)

    def step(self) -> None:
        """Run the phases in order; each sees the exposed states at its own start."""
        for phase in self.topology.phases:
            fields = [self._field(module) for module in phase]
            for module, f in zip(phase, fields):
                part = self.topology.units_of(module)
                if self.topology.modules[module].kind == "langevin":
                    self.units[:, part] = self._langevin(module, f)
                else:
                    self.units[:, part] = self._pbit(module, f)
            for module in phase:
                self._expose(module)

    def collect(self) -> None:
        """Add the exposed states of free modules to the window."""
        for index, module in enumerate(self.topology.modules):
            part = self.topology.units_of(index)
            if module.clamped:
                continue
            shift = EXPOSED.fraction if module.kind == "pbit" else 0
            values = self.exposed[:, part] >> shift
            self.sums[:, part] += values
            if self.call.moments:
                self.squares[:, part] += values * values

    def _expose(self, module: int) -> None:
        part = self.topology.units_of(module)
        if self.topology.modules[module].kind == "pbit":
            self.exposed[:, part] = (2 * self.units[:, part] - 1) * SPIN
        else:
            rounded = rhu(self.units[:, part], STATE.fraction - EXPOSED.fraction)
            self.exposed[:, part] = np.clip(rounded, EXPOSED.lowest, EXPOSED.highest)

    def _clip(self, values: Codes, bits: int, counter: str) -> Codes:
        clipped = np.clip(values, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        self.clips[counter] += (clipped != values).sum(axis=1)
        return clipped

    def _field(self, module: int) -> Codes:
        f = self.h[:, self.topology.units_of(module)].copy()
        for index, source, target, forward in self.topology.ends():
            if target != module:
                continue
            bank = self.topology.banks[index]
            x = self.exposed[:, self.topology.units_of(source)]
            if isinstance(bank, LowRankBank):
                f += self._low_rank(x, index, bank, forward)
            elif isinstance(bank, BandBank):
                for offset, w in zip(bank.offsets, self.tables[f"bank{index}.w"]):
                    low, high = band_rows(offset, len(w), x.shape[1] if forward else f.shape[1])
                    weights, shifted = w[low:high].astype(np.int64), slice(low + offset,
                                                                           high + offset)
                    if forward:
                        f[:, low:high] += weights * x[:, shifted]
                    else:
                        f[:, shifted] += weights * x[:, low:high]
            else:
                rows = sparse_rows(self.tables[f"bank{index}.indptr"])
                columns = self.tables[f"bank{index}.indices"]
                near, far = (columns, rows) if forward else (rows, columns)
                weights = self.tables[f"bank{index}.weights"].astype(np.int64)
                np.add.at(f.T, far, (weights * x[:, near]).T)
        return f

    def _low_rank(self, x: Codes, index: int, bank: LowRankBank, forward: bool) -> Codes:
        r1, r2, r3, r4 = bank.shifts(self.topology.field_fraction)
        factors = self.factors[index]
        near, far = (factors.a, factors.b) if forward else (factors.b, factors.a)
        z_shift, u_shift = (r1, r2) if forward else (r3, r4)
        total: Codes = (x.astype(np.float64) @ near).astype(np.int64)
        z = self._clip(rhu(total, z_shift), PROJECTION_BITS, "projection")
        u = self._clip(rhu(self.gains[:, index, : bank.rank] * z, u_shift),
                       PROJECTION_BITS, "gain")
        return (u.astype(np.float64) @ far.T).astype(np.int64)

    def _langevin(self, module: int, f: Codes) -> Codes:
        part = self.topology.units_of(module)
        big_x, x24 = self.exposed[:, part], self.units[:, part]
        k2, k4 = self.call.k2[part].astype(np.int64), self.call.k4[part].astype(np.int64)
        x2 = rhu(big_x * big_x, 2 * EXPOSED.fraction - X2.fraction)
        stiffness = k2 + rhu(k4 * x2, K4.fraction + X2.fraction - K2.fraction)
        kappa = np.minimum(stiffness, K2.highest)
        self.clips["stiffness"] += (kappa != stiffness).sum(axis=1)
        align = K2.fraction + STATE.fraction - self.topology.field_fraction
        drift = (f << align) - kappa * x24
        after = x24 + rhu(drift, K2.fraction + self.topology.dt_shift)
        gain = int(self.row.noise_gain[module])
        if gain:
            after += rhu(self._gaussian(f.shape[1]) * gain, int(self.row.noise_shift[module]))
        return self._clip(after, STATE.bits, "state")

    def _gaussian(self, dim: int) -> Codes:
        n = np.empty((len(self.noise), dim), np.int64)
        for start in range(0, dim, STREAMS):
            words = advance(self.noise[:, : min(STREAMS, dim - start)])
            row = n[:, start : start + STREAMS]
            row[:] = -NOISE_MEAN
            for shift in range(0, FIELDS * FIELD_BITS, FIELD_BITS):
                row += ((words >> np.uint64(shift)) & np.uint64(FIELD_MASK)).astype(np.int64)
        return n

    def _pbit(self, module: int, f: Codes) -> Codes:
        shift = self.topology.field_fraction - PBIT_INPUT.fraction
        y = self._clip(rhu(f, shift), PBIT_INPUT.bits, "field")
        p = int(self.row.beta[module]) * y
        step = PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS
        table = self.thresholds[np.minimum(rhu(np.abs(p), step), THRESHOLDS - 1)]
        threshold = np.where(p >= 0, table, (1 << THRESHOLD_BITS) - table)
        return np.asarray(self._uniform(f.shape[1]) < threshold, np.int64)

    def _uniform(self, dim: int) -> Codes:
        w = np.empty((len(self.noise), dim), np.int64)
        for start in range(0, dim, STREAMS):
            row = start // STREAMS
            lanes = min(STREAMS, dim - start)
            words = self.noise[:, :lanes]
            if row % FIELDS == 0:
                advance(words)
            shift = np.uint64(FIELD_BITS * (row % FIELDS))
            w[:, start : start + lanes] = (words >> shift) & np.uint64(FIELD_MASK)
        return w

"""The slow, obvious oracle: one chain at a time, Python integers only, one line per rule.

Nothing here is shared with the fast kernels: that they agree in every bit is a test result.
Equations are those of numerics, sections 2 to 8. About 30,000 unit updates per second.
"""

from collections.abc import Callable

import numpy as np

from pbitstream.devices.call import Call, Sums
from pbitstream.devices.protocol import CLIP_NAMES, State
from pbitstream.program import Program
from pbitstream.spec.fixed import rhu, sat
from pbitstream.spec.noise import (
    FIELDS,
    NOISE_MEAN,
    STREAMS,
    fields,
    reset_spin,
    stream_state,
    xorshift64,
)
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

__all__ = ["Chain", "relax"]


class Chain:
    """One chain of one program: its units, its noise, its counters.

    Attributes
    ----------
    x
        x24 per Langevin unit, m (+1 or -1) per p-bit.
    noise
        128 stream words.
    row
        Row of settings of the present step.
    clips
        Counts by name: projection, gain, stiffness, state, field.
    """

    def __init__(self, program: Program, call: Call, local: int) -> None:
        self.program = program
        self.topology = program.topology
        self.call = call
        self.row = 0
        self.tables = {name: table.tolist() for name, table in program.tables.items()}
        self.input = local // call.chains
        self.h = call.h[self.input].tolist()
        self.gains = call.gains[self.input if len(call.gains) > 1 else 0].tolist()
        self.clips = dict.fromkeys(CLIP_NAMES, 0)
        chain = call.first_chain + local
        if call.state is None:
            self.noise = [stream_state(call.seed, chain, s) for s in range(STREAMS)]
        else:
            self.noise = call.state.noise[local].tolist()
        self.x = [0] * self.topology.units
        for index, module in enumerate(self.topology.modules):
            start = self.topology.starts[index]
            for i in range(module.dim):
                self.x[start + i] = self._first(index, i, start + i, local)

    def _first(self, module: int, i: int, unit: int, local: int) -> int:
        kind, clamped = self.topology.modules[module].kind, self.topology.modules[module].clamped
        if clamped:
            held = int(self.call.clamp[self.input, unit])
            return held << (STATE.fraction - EXPOSED.fraction) if kind == "langevin" else (
                1 if held > 0 else -1
            )
        if self.call.state is not None:
            stored = int(self.call.state.units[local, unit])
            return stored if kind == "langevin" else 2 * stored - 1
        if kind == "langevin":
            return 0
        return 2 * reset_spin(self.noise[i % STREAMS], i // STREAMS) - 1

    def exposed(self, module: int) -> list[int]:
        """Return X of every unit of a module."""
        units = self.x[self.topology.units_of(module)]
        if self.topology.modules[module].kind == "pbit":
            return [m * SPIN for m in units]
        return [sat(rhu(x, STATE.fraction - EXPOSED.fraction), EXPOSED.bits) for x in units]

    def _sat(self, value: int, bits: int, counter: str) -> int:
        clipped = sat(value, bits)
        self._count(counter, clipped != value)
        return clipped

    def _count(self, counter: str, clipped: bool) -> None:
        self.clips[counter] = min(self.clips[counter] + clipped, (1 << COUNTER_BITS) - 1)

    def field(self, module: int) -> list[int]:
        """Return the field f of every unit of a module, F fraction bits (numerics 4)."""
        fraction = self.topology.field_fraction
        start = self.topology.starts[module]
        f = [h << (fraction - EXPOSED.fraction)
             for h in self.h[start : start + self.topology.modules[module].dim]]
        for index, source, target, forward in self.topology.ends():
            if target != module:
                continue
            bank = self.topology.banks[index]
            x = self.exposed(source)
            if isinstance(bank, LowRankBank):
                self._add_low_rank(f, x, index, bank, forward)
            elif isinstance(bank, BandBank):
                self._add_band(f, x, index, bank, forward)
            else:
                self._add_sparse(f, x, index, forward)
        return f

    def _add_low_rank(
        self, f: list[int], x: list[int], index: int, bank: LowRankBank, forward: bool
    ) -> None:
        a, b = self.tables[f"bank{index}.a"], self.tables[f"bank{index}.b"]
        r1, r2, r3, r4 = bank.shifts(self.topology.field_fraction)
        near, far = (a, b) if forward else (b, a)
        z_shift, u_shift = (r1, r2) if forward else (r3, r4)
        for c in range(bank.rank):
            total = sum(near[i][c] * x[i] for i in range(len(x)))
            z = self._sat(rhu(total, z_shift), PROJECTION_BITS, "projection")
            product = self.gains[index][c] * z
            u = self._sat(rhu(product, u_shift), PROJECTION_BITS, "gain")
            for j in range(len(f)):
                f[j] += far[j][c] * u

    def _add_band(
        self, f: list[int], x: list[int], index: int, bank: BandBank, forward: bool
    ) -> None:
        for offset, w in zip(bank.offsets, self.tables[f"bank{index}.w"]):
            for i in range(len(f)):
                if forward and 0 <= i + offset < len(x):
                    f[i] += w[i] * x[i + offset]
                if not forward and 0 <= i - offset < len(x):
                    f[i] += w[i - offset] * x[i - offset]

    def _add_sparse(self, f: list[int], x: list[int], index: int, forward: bool) -> None:
        indptr, indices, weights = (
            self.tables[f"bank{index}.{name}"] for name in ("indptr", "indices", "weights")
        )
        for row in range(len(indptr) - 1):
            for entry in range(indptr[row], indptr[row + 1]):
                if forward:
                    f[row] += weights[entry] * x[indices[entry]]
                else:
                    f[indices[entry]] += weights[entry] * x[row]

    def _word(self, stream: int) -> int:
        self.noise[stream] = xorshift64(self.noise[stream])
        return self.noise[stream]

    def langevin(self, module: int, f: list[int]) -> list[int]:
        """Return x24' of every unit of a Langevin module (numerics 5)."""
        fraction, s = self.topology.field_fraction, self.topology.dt_shift
        gain = int(self.call.noise_gain[self.row, module])
        q = int(self.call.noise_shift[self.row, module])
        start = self.topology.starts[module]
        after = []
        for i, big_x in enumerate(self.exposed(module)):
            x24 = self.x[start + i]
            k2, k4 = int(self.call.k2[start + i]), int(self.call.k4[start + i])
            x2 = rhu(big_x * big_x, 2 * EXPOSED.fraction - X2.fraction)
            stiffness = k2 + rhu(k4 * x2, K4.fraction + X2.fraction - K2.fraction)
            kappa = min(K2.highest, stiffness)
            self._count("stiffness", kappa != stiffness)
            drift = (f[i] << (K2.fraction + STATE.fraction - fraction)) - kappa * x24
            kick = 0
            if gain:
                n = sum(fields(self._word(i % STREAMS))) - NOISE_MEAN
                kick = rhu(n * gain, q)
            after.append(self._sat(x24 + rhu(drift, K2.fraction + s) + kick, STATE.bits, "state"))
        return after

    def pbit(self, module: int, f: list[int]) -> list[int]:
        """Return m' of every unit of a p-bit module (numerics 6 and 7)."""
        beta = int(self.call.beta[self.row, module])
        words: dict[int, int] = {}
        after = []
        for i, field in enumerate(f):
            stream, row = i % STREAMS, i // STREAMS
            if row % FIELDS == 0:
                words[stream] = self._word(stream)
            w = fields(words[stream])[row % FIELDS]
            shift = self.topology.field_fraction - PBIT_INPUT.fraction
            p = beta * self._sat(rhu(field, shift), PBIT_INPUT.bits, "field")
            step = PBIT_INPUT.fraction + BETA.fraction - THRESHOLD_STEP_BITS
            j = min(rhu(abs(p), step), THRESHOLDS - 1)
            table = sigmoid_table()[j]
            threshold = table if p >= 0 else (1 << THRESHOLD_BITS) - table
            after.append(1 if w < threshold else -1)
        return after

    def step(self, number: int) -> None:
        """Run the phases in order; each sees the states at its own start."""
        self.row = number * len(self.call.beta) // (self.call.burn_in + self.call.steps)
        for phase in self.topology.phases:
            fields_of = {module: self.field(module) for module in phase}
            after = {}
            for module in phase:
                kind = self.topology.modules[module].kind
                update: Callable[[int, list[int]], list[int]] = (
                    self.langevin if kind == "langevin" else self.pbit
                )
                after[module] = update(module, fields_of[module])
            for module in phase:
                self.x[self.topology.units_of(module)] = after[module]


def relax(program: Program, call: Call) -> Sums:
    """Run a call chain by chain and return its sums, state and clip counts."""
    topology = program.topology
    sums = np.zeros((call.total_chains, topology.units), np.int64)
    squares = np.zeros_like(sums)
    units = np.zeros((call.total_chains, topology.units), np.int32)
    noise = np.zeros((call.total_chains, STREAMS), np.uint64)
    clips = np.zeros((call.total_chains, len(CLIP_NAMES)), np.int64)
    for local in range(call.total_chains):
        chain = Chain(program, call, local)
        for number in range(call.burn_in):
            chain.step(number)
        for number in range(call.burn_in, call.burn_in + call.steps):
            chain.step(number)
            for index, module in enumerate(topology.modules):
                if module.clamped:
                    continue
                for unit, x in zip(range(topology.units)[topology.units_of(index)],
                                   chain.exposed(index)):
                    value = x // SPIN if module.kind == "pbit" else x
                    sums[local, unit] += value
                    squares[local, unit] += value * value if call.moments else 0
        for index, module in enumerate(topology.modules):
            part = topology.units_of(index)
            stored = chain.x[part]
            units[local, part] = (
                stored if module.kind == "langevin" else [(m + 1) // 2 for m in stored]
            )
        noise[local] = np.array(chain.noise, np.uint64)
        clips[local] = [chain.clips[name] for name in CLIP_NAMES]
    return Sums(sums, squares, State(units, noise), clips)

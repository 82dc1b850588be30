"""Random but valid programs and calls, for suites that compare devices bit for bit.

Tables are drawn as integers, so nothing of the compiler stands between a draw and a device. Extreme
codes are common on purpose: every saturation counter moves in a fair share of the programs.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.builder import colour_phases
from pbitstream.devices.protocol import Settings, State
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError, UnstableError
from pbitstream.program import Program
from pbitstream.spec.noise import (
    NOISE_GAINS,
    NOISE_SHIFTS,
    STREAMS,
    WORD_MASK,
    noise_temperature,
)
from pbitstream.spec.topology import BandBank, Bank, LowRankBank, Module, SparseBank, Topology
from pbitstream.spec.words import (
    BETA,
    BIAS,
    CLAMP,
    DT_SHIFTS,
    EXPOSED,
    FACTOR_LIMIT,
    FIELD_FRACTIONS,
    GAIN,
    GAIN_SHIFTS,
    K2,
    K4,
    MAX_LOW_RANK_DIM,
    MAX_OFFSET,
    MAX_RANK,
    PROJECTION_SHIFTS,
    STATE,
)
from pbitstream.tables import band_rows, worst_field

__all__ = ["has_cycle", "is_alive", "random_call", "random_program"]

Tables = dict[str, NDArray[Any]]

#: Halvings of the couplings before a draw that is unstable or overflows is given up.
MAX_HALVINGS = 24


def random_program(
    rng: np.random.Generator,
    *,
    board: bool = False,
    alive: bool = False,
    max_dim: int = 640,
) -> Program:
    """Return a random program that ``load(program, force=True)`` accepts.

    Parameters
    ----------
    board
        Leave out sparse banks, which boards refuse.
    alive
        Draw again until `is_alive` says yes.
    max_dim
        Largest module; 128 streams make one row of units, so 640 reaches a fifth row of p-bits,
        which is the second word of a stream.
    """
    while True:
        program = _draw(rng, board, max_dim)
        if program is not None and (not alive or is_alive(program)):
            return program


def is_alive(
    program: Program, *, seed: int = 1, steps: int = 12, units: float = 0.5, changes: float = 0.5
) -> bool:
    """Return whether the program has a cycle and most of it keeps moving.

    At least the share `units` of the free units change their stored state in at least the share
    `changes` of `steps` steps at zero bias (and zero or positive clamps).
    """
    topology = program.topology
    if not has_cycle(topology):
        return False
    free = np.concatenate([np.full(m.dim, not m.clamped) for m in topology.modules])
    spin = np.concatenate([np.full(m.dim, m.kind == "pbit") for m in topology.modules])
    moved = np.zeros(topology.units, np.int64)
    state = None
    with Emulator(engine="numpy") as device:
        device.load(program, force=True)
        for _ in range(steps + 1):
            readout = device.relax(
                np.zeros((1, topology.units)), steps=1, seed=seed, state=state,
                clamp=spin[None, ~free].astype(np.float64),
            )
            if state is not None:
                moved += readout.state.units[0] != state.units[0]
            state = readout.state
    return bool((moved[free] >= changes * steps).mean() >= units)


def has_cycle(topology: Topology) -> bool:
    """Return whether banks between free modules close a loop; two parallel banks do."""
    group = list(range(len(topology.modules)))
    for bank in topology.banks:
        ends = bank.source, bank.target
        if any(topology.modules[end].clamped for end in ends):
            continue
        old, new = (group[end] for end in ends)
        if old == new:
            return True
        group = [new if g == old else g for g in group]
    return False


def random_call(
    program: Program,
    rng: np.random.Generator,
    *,
    max_steps: int = 4,
    max_chains: int = 3,
    max_rows: int = 1,
) -> dict[str, Any]:
    """Return random keyword arguments of `Device.relax` for a program.

    Settings have up to `max_rows` rows; a call with several cannot be cut into two.
    """
    topology = program.topology
    inputs, chains = (int(n) for n in rng.integers(1, max_chains + 1, 2))
    call: dict[str, Any] = {
        "h": _values(rng, BIAS.lowest, BIAS.highest, (inputs, topology.units)) * BIAS.value(1),
        "steps": int(rng.integers(1, max_steps + 1)),
        "burn_in": int(rng.integers(0, max_steps)),
        "seed": (0, 1, WORD_MASK, int(rng.integers(0, WORD_MASK, dtype=np.uint64)))[
            rng.integers(4)
        ],
        "chains": chains,
        "first_chain": int(rng.choice([0, int(rng.integers(0, 1 << 31)),
                                       (1 << 32) - inputs * chains])),
        "moments": bool(rng.integers(2)),
    }
    held = [
        rng.choice([-1.0, 1.0], (inputs, m.dim)) if m.kind == "pbit"
        else _values(rng, CLAMP.lowest, CLAMP.highest, (inputs, m.dim)) * CLAMP.value(1)
        for m in topology.modules if m.clamped
    ]
    if held:
        call["clamp"] = np.concatenate(held, axis=1)
    if topology.max_rank and rng.random() < 0.5:
        rows = int(rng.choice([1, inputs]))
        gains = np.zeros((rows, len(topology.banks), topology.max_rank))
        for index, bank in enumerate(topology.banks):
            if isinstance(bank, LowRankBank):
                raw = _values(rng, GAIN.lowest, GAIN.highest, (rows, bank.rank))
                gains[:, index, : bank.rank] = raw * 2.0**-bank.gain_fraction
        call["gains"] = gains
    if rng.random() < 0.5:
        rows = min(max_rows, call["steps"] + call["burn_in"])
        rows = int(rng.integers(1, rows + 1)) if rows > 1 else 1
        call["settings"] = _settings(topology, rng, rows)
    if rng.random() < 0.3:
        units = _values(rng, STATE.lowest, STATE.highest, (inputs * chains, topology.units))
        for index, module in enumerate(topology.modules):
            if module.kind == "pbit":
                units[:, topology.units_of(index)] &= 1
        words = rng.integers(1, WORD_MASK, (len(units), STREAMS), np.uint64, endpoint=True)
        call["state"] = State(units.astype(np.int32), words)
    return call


def _settings(topology: Topology, rng: np.random.Generator, rows: int) -> Settings:
    """Return random settings, in so many rows where they may have several."""
    names = {"langevin": ("k2", "k4", "temperature"), "pbit": ("beta",)}
    hottest = noise_temperature(NOISE_GAINS[-1], NOISE_SHIFTS[0], topology.dt_shift)
    one = len(topology.modules)
    several = (rows, one) if rows > 1 else one
    drawn: dict[str, Any] = {name: np.full(shape, np.nan) for name, shape in
                             (("k2", one), ("k4", one), ("temperature", several),
                              ("beta", several))}
    for index, module in enumerate(topology.modules):
        for name in () if module.clamped else names[module.kind]:
            if rng.random() < 0.5:
                drawn[name][..., index] = {
                    "k2": K2.value(int(rng.integers(1, K2.highest + 1))),
                    "k4": K4.value(int(rng.integers(0, K4.highest + 1))),
                    "temperature": rng.choice([0.0, 0.01, 1.0, hottest], rows),
                    "beta": rng.integers(0, BETA.highest + 1, rows) * BETA.value(1),
                }[name]
    return Settings(**{n: v for n, v in drawn.items() if rng.random() < 0.8})


def _values(
    rng: np.random.Generator, lowest: int, highest: int, shape: tuple[int, ...], drop: int = 14
) -> NDArray[np.int64]:
    """Return codes of one magnitude, up to `drop` bits short of full, or codes at the ends."""
    if rng.random() < 0.15:
        return rng.choice([lowest, highest, 0, -1], shape)
    shift = int(rng.integers(0, drop + 1))
    return rng.integers(lowest >> shift, highest >> shift, shape, endpoint=True)


def _draw(rng: np.random.Generator, board: bool, max_dim: int) -> Program | None:
    modules = tuple(_module(rng, index, max_dim) for index in range(rng.integers(2, 7)))
    if all(module.clamped for module in modules):
        modules = (replace(modules[0], clamped=False), *modules[1:])
    fraction, shift = int(rng.choice(FIELD_FRACTIONS)), int(rng.choice(DT_SHIFTS))
    banks: list[Bank] = []
    for _ in range(rng.integers(1, len(modules) + 3)):
        if banks and rng.random() < 0.2:
            ends = banks[-1].target, banks[-1].source
        else:
            ends = int(rng.integers(len(modules))), int(rng.integers(len(modules)))
        if ends[0] != ends[1] or modules[ends[0]].kind == "langevin":
            banks.append(_bank(rng, modules, ends, fraction, board))
    topology = Topology(modules, tuple(banks), _phases(rng, modules, banks), fraction, shift)
    tables = _unit_tables(rng, topology)
    for index, bank in enumerate(banks):
        for name, table in _bank_tables(rng, topology, bank).items():
            tables[f"bank{index}.{name}"] = table
    return _tame(rng, topology, tables)


def _module(rng: np.random.Generator, index: int, max_dim: int) -> Module:
    kind = "langevin" if rng.random() < 0.5 else "pbit"
    sizes = [(1, 1), (2, 12), (13, 128), (129, 200), (513, 640)]
    odds = [0.1, 0.6, 0.2, 0.08, 0.02] if kind == "langevin" else [0.1, 0.55, 0.15, 0.1, 0.1]
    low, high = sizes[int(rng.choice(5, p=odds))]
    dim = min(int(rng.integers(low, high + 1)), max_dim)
    return Module(f"m{index}", kind, dim, bool(rng.random() < 0.2))  # type: ignore[arg-type]


def _bank(rng: np.random.Generator, modules: tuple[Module, ...], ends: tuple[int, int],
          fraction: int, board: bool) -> Bank:
    dim_s, dim_t = (modules[end].dim for end in ends)
    kinds = ["low-rank"] * 4 * (max(dim_s, dim_t) <= MAX_LOW_RANK_DIM) + ["band"] * 2
    kind = rng.choice(kinds + ["sparse"] * (not board))
    if kind == "low-rank":
        rank = int(rng.integers(1, 6 if rng.random() < 0.9 else MAX_RANK + 1))
        a, b = (int(n) for n in rng.integers(6, 12, 2))
        wild = rng.random() < 0.3
        r1, r3 = (int(n) for n in (rng.choice(PROJECTION_SHIFTS, 2) if wild
                                   else rng.integers(6, 13, 2)))
        # r1 + r2 = r3 + r4 holds for every bank; draw that sum, then the gain's fraction.
        span = max(r1, r3), GAIN_SHIFTS[-1] + min(r1, r3)
        total = int(rng.integers(*span) if wild else np.clip(rng.integers(14, 23), *span))
        z, z_back = EXPOSED.fraction + a - r1, EXPOSED.fraction + b - r3
        return LowRankBank(*ends, rank, a, b, total - r1 - z + fraction - b, z, z_back)
    if kind == "sparse":
        return SparseBank(*ends, int(rng.integers(0, min(dim_s * dim_t, 3 * dim_t) + 1)))
    near = [0, 1, -1, 2, -3, dim_s - 1, 1 - dim_s, dim_s // 2, -(dim_t // 2),
            int(rng.integers(1 - MAX_OFFSET, MAX_OFFSET))]
    offsets = rng.permutation(sorted(set(near)))[: rng.integers(1, 6)]
    return BandBank(*ends, tuple(int(o) for o in offsets))


def _phases(
    rng: np.random.Generator, modules: tuple[Module, ...], banks: list[Bank]
) -> tuple[tuple[int, ...], ...]:
    """Return the default colouring, its phases in another order, or one phase per few modules."""
    phases = list(colour_phases(modules, banks))
    if rng.random() < 0.5:
        phases = [tuple(sorted(int(m) for m in part))
                  for phase in phases
                  for part in np.array_split(rng.permutation(phase), rng.integers(1, 3))
                  if len(part)]
        phases = [phases[i] for i in rng.permutation(len(phases))]
    return tuple(phases)


def _unit_tables(rng: np.random.Generator, topology: Topology) -> Tables:
    modules, units = topology.modules, topology.units
    tables: Tables = {name: np.zeros(units, np.uint16) for name in ("k2", "k4")}
    for name in ("beta", "noise_gain", "x_max"):
        tables[name] = np.zeros(len(modules), np.uint16)
    tables["noise_shift"] = np.full(len(modules), NOISE_SHIFTS[-1], np.uint8)
    tables["scale"], tables["offset"] = rng.standard_normal((2, units))
    stiffest = min(K2.highest, int(1.5 * (1 << topology.dt_shift) * K2.raw(1.0)))
    for index, module in enumerate(modules):
        part = topology.units_of(index)
        if module.kind == "pbit":
            tables["beta"][index] = rng.choice([0, 300, 4096, 20000, BETA.highest])
        elif not module.clamped:
            top = rng.choice([2, stiffest // 8, stiffest])
            tables["k2"][part] = rng.integers(1, top + 1, module.dim)
            top = rng.choice([0, 0, 200, K4.highest])
            tables["k4"][part] = rng.integers(top // 2, top + 1, module.dim)
            tables["x_max"][index] = rng.integers(0, -EXPOSED.lowest + 1)
            if rng.random() < 0.75:
                tables["noise_gain"][index] = rng.choice(NOISE_GAINS)
                tables["noise_shift"][index] = (rng.choice(NOISE_SHIFTS) if rng.random() < 0.4
                                                else rng.integers(9, 15))
    return tables


def _bank_tables(rng: np.random.Generator, topology: Topology, bank: Bank) -> Tables:
    dim_s, dim_t = (topology.modules[end].dim for end in (bank.source, bank.target))
    if isinstance(bank, LowRankBank):
        limits = -FACTOR_LIMIT, FACTOR_LIMIT
        return {
            "a": _values(rng, *limits, (dim_s, bank.rank), 4).astype(np.int16),
            "b": _values(rng, *limits, (dim_t, bank.rank), 4).astype(np.int16),
            "gain": _values(rng, GAIN.lowest, GAIN.highest, (bank.rank,), 8).astype(np.int16),
        }
    word = GAIN.lowest, GAIN.highest
    if isinstance(bank, BandBank):
        w = _values(rng, *word, (len(bank.offsets), dim_t)).astype(np.int16)
        for offset, row in zip(bank.offsets, w):
            low, high = band_rows(offset, dim_t, dim_s)
            row[:low], row[high:] = 0, 0
        return {"w": w}
    rows = np.bincount(rng.integers(0, dim_t, bank.entries), minlength=dim_t)
    return {
        "indptr": np.concatenate([[0], np.cumsum(rows)]).astype(np.int32),
        "indices": rng.integers(0, dim_s, bank.entries).astype(np.int32),
        "weights": _values(rng, *word, (bank.entries,)).astype(np.int16),
    }


def _tame(rng: np.random.Generator, topology: Topology, tables: Tables) -> Program | None:
    """Halve couplings that overflow a field or destabilise it until the program loads."""
    schedule = topology.max_rank > 0 and rng.random() < 0.2
    for _ in range(MAX_HALVINGS):
        if schedule:
            tables["schedule.gain"] = _schedule(topology, tables)
        try:
            program = Program(topology, {n: t.copy() for n, t in tables.items()})
            program.check(force=True)
            return program
        except UnstableError:
            linear = {i for i, m in enumerate(topology.modules)
                      if m.kind == "langevin" and not m.clamped}
            _halve(topology, tables, linear, linear, ("gain", "w", "weights"))
        except SpecError:
            worst = worst_field(topology, tables)
            wide = {i for i in range(len(topology.modules))
                    if worst[topology.units_of(i)].max() > worst.max() // 2}
            every = set(range(len(topology.modules)))
            _halve(topology, tables, wide, every, ("a", "b", "w", "weights"))
    return None


def _halve(topology: Topology, tables: Tables, one: set[int], other: set[int],
           names: tuple[str, ...]) -> None:
    for index, bank in enumerate(topology.banks):
        s, t = bank.source, bank.target
        if (s in one and t in other) or (t in one and s in other):
            for name in names:
                key = f"bank{index}.{name}"
                if key in tables:
                    tables[key] = np.fix(tables[key] / 2).astype(np.int16)


def _schedule(topology: Topology, tables: Tables) -> NDArray[np.int16]:
    """Return three rows: the program's own gains, half of them, and none."""
    rows = np.zeros((3, len(topology.banks), topology.max_rank), np.int16)
    for index, bank in enumerate(topology.banks):
        if isinstance(bank, LowRankBank):
            rows[0, index, : bank.rank] = tables[f"bank{index}.gain"]
            rows[1, index, : bank.rank] = tables[f"bank{index}.gain"] >> 1
    return rows

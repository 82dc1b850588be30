"""Random programs of p-bits in bands and sparse banks, calls of them, and what they should give."""

from typing import Any

import numpy as np

from pbitstream.compiler.builder import ProgramBuilder, colour_phases
from pbitstream.devices.call import Call, Sums
from pbitstream.devices.protocol import Settings
from pbitstream.emulator.batched import relax_batch
from pbitstream.emulator.device import initial_state
from pbitstream.program import Program
from pbitstream.spec.topology import BandBank, Bank, Module, SparseBank, Topology
from pbitstream.spec.words import BETA, MAX_CHAINS
from pbitstream.tables import band_rows

__all__ = ["WEIGHTS", "drawn_call", "drawn_program", "lattice", "same_sums", "slow"]

#: Weights of a program, each a choice for every edge.
WEIGHTS: dict[str, list[int]] = {
    "one": [64], "plus or minus": [-48, 48], "thinned": [0, 32, -32], "small": [-96, -32, 32, 64],
    "large": [*range(-300, 301, 20)], "any": [*range(-900, 901, 7)],
}
SIZES = (1, 5, 8, 60, 127, 128, 131, 264, 517, 530)


def drawn_program(rng: np.random.Generator, sizes: tuple[int, ...] = SIZES) -> Program:
    """Return a random program of p-bits in bands and sparse banks."""
    weights = WEIGHTS[str(rng.choice([*WEIGHTS]))]
    free = [Module(f"m{i}", "pbit", int(rng.choice(sizes))) for i in range(rng.integers(1, 4))]
    held = [Module(f"c{i}", str(rng.choice(["pbit", "langevin"])), int(rng.choice(sizes)), True)
            for i in range(rng.integers(0, 2))]  # type: ignore[arg-type]
    modules = tuple(free + held)
    banks: list[Bank] = []
    tables: dict[str, Any] = {}
    for _ in range(rng.integers(1, 5)) if len(modules) > 1 else ():
        source, target = (int(m) for m in rng.choice(len(modules), 2, replace=False))
        dim_s, dim_t = modules[source].dim, modules[target].dim
        name = f"bank{len(banks)}."
        if rng.random() < 0.6:
            near = {0, 1, -1, -3, dim_s - 1, 1 - dim_s, dim_s // 2, -(dim_t // 2)}
            offsets = rng.permutation(sorted(near))[: rng.integers(1, 6)]
            w = rng.choice(weights, (len(offsets), dim_t)).astype(np.int16)
            for offset, row in zip(offsets, w):
                low, high = band_rows(int(offset), dim_t, dim_s)
                row[:low], row[high:] = 0, 0
            banks.append(BandBank(source, target, tuple(int(o) for o in offsets)))
            tables[name + "w"] = w
        else:
            entries = int(rng.integers(0, min(dim_s * dim_t, 3 * dim_t) + 1))
            rows = np.bincount(rng.integers(0, dim_t, entries), minlength=dim_t)
            banks.append(SparseBank(source, target, entries))
            tables[name + "indptr"] = np.append(0, np.cumsum(rows)).astype(np.int32)
            tables[name + "indices"] = rng.integers(0, dim_s, entries).astype(np.int32)
            tables[name + "weights"] = rng.choice(weights, entries).astype(np.int16)
    phases = colour_phases(modules, banks)
    phases = tuple(phases[i] for i in rng.permutation(len(phases)))
    units = sum(module.dim for module in modules)
    for name, dtype, shape in (
        ("k2", np.uint16, units), ("k4", np.uint16, units), ("scale", np.float64, units),
        ("offset", np.float64, units), ("beta", np.uint16, len(modules)),
        ("noise_gain", np.uint16, len(modules)), ("x_max", np.uint16, len(modules)),
    ):
        tables[name] = np.zeros(shape, dtype)
    tables["noise_shift"] = np.full(len(modules), 22, np.uint8)
    tables["beta"][: len(free)] = rng.choice([0, 300, 4096, 20000, BETA.highest], len(free))
    fraction = int(rng.choice([16, 18, 20, 22]))
    return Program(Topology(modules, tuple(banks), phases, fraction), tables)


def drawn_call(program: Program, rng: np.random.Generator, most: int = 130) -> dict[str, Any]:
    """Return a random call with up to so many chains, some of it a schedule."""
    topology = program.topology
    inputs, chains = int(rng.integers(1, 4)), int(rng.choice([1, 2, 8, 63, 64, 65, most]))
    chains = min(chains, most)
    step = 2.0 ** -int(rng.choice([4, 6, 10, 12]))
    call: dict[str, Any] = {
        "h": rng.integers(-3, 4, (inputs, topology.units)) * step * int(rng.integers(0, 2)),
        "steps": int(rng.integers(1, 10)), "burn_in": int(rng.integers(0, 4)),
        "seed": int(rng.integers(0, 1 << 40)), "chains": chains,
        "first_chain": int(rng.choice([0, 7, 64, MAX_CHAINS - inputs * chains])),
        "moments": bool(rng.integers(0, 2)),
    }
    held = [rng.choice([-1.0, 1.0], (inputs, m.dim)) * (1.0 if m.kind == "pbit" else 2.0**-3)
            for m in topology.modules if m.clamped]
    if held:
        call["clamp"] = np.concatenate(held, axis=1)
    if rng.random() < 0.5:
        rows = int(rng.integers(1, call["steps"] + call["burn_in"] + 1))
        beta = rng.random((rows, len(topology.modules))) * 4
        beta[:, [m.clamped for m in topology.modules]] = np.nan
        call["settings"] = Settings(beta=beta)
    return call


def slow(program: Program, call: Call) -> Sums:
    return relax_batch(program, call, initial_state(program, call))


def same_sums(found: Sums | None, wanted: Sums) -> None:
    assert found is not None
    for ours, theirs in ((found.sums, wanted.sums), (found.squares, wanted.squares),
                         (found.state.units, wanted.state.units),
                         (found.state.noise, wanted.state.noise), (found.clips, wanted.clips)):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def lattice(side: int, weights: list[int], fraction: int = 20) -> Program:
    """Return a periodic square lattice in two colours, as bands; side is even."""
    rng = np.random.default_rng(side)
    row, column = (part.reshape(-1) for part in np.indices((side, side)))
    colour, place = (row + column) % 2, (row * side + column) // 2
    builder = ProgramBuilder(field_fraction=fraction)
    ends = [builder.pbit(name, side * side // 2, beta=0.8) for name in "ab"]
    bands: dict[int, Any] = {}
    for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        near = np.flatnonzero(colour == 1)
        far = (row[near] + down) % side * side + (column[near] + right) % side
        for i, offset in zip(place[near], place[far] - place[near]):
            bands.setdefault(int(offset), np.zeros(side * side // 2))[i] += (
                rng.choice(weights) * 2.0 ** (12 - fraction)
            )
    builder.band(*ends, bands)
    return builder.build()

"""P-bits by colour class against the enumerated Boltzmann law."""

from dataclasses import replace

import numpy as np
import pytest

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.coupling import coupling_matrix
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from physics_reference import (
    assert_within,
    ising_law,
    plug_in_divergence,
    scatter,
    spin_states,
    state_numbers,
)

CHAINS, DRAWS, THIN, BURN_IN = 4096, 64, 6, 200


def triangle():
    """Return three modules joined in an odd cycle, fields on the threshold table's grid."""
    rng = np.random.default_rng(31)
    builder = ProgramBuilder()
    modules = [builder.pbit(name, 3, beta=1.0) for name in "abc"]
    j = np.zeros((9, 9))
    for s, t in ((0, 1), (1, 2), (2, 0)):
        # Couplings of .25 to .75, on 1/128; half of them frustrate.
        w = rng.integers(32, 97, (2, 3)) / 128 * rng.choice([-1, 1], (2, 3))
        w[1, 2] = 0
        builder.band(modules[s], modules[t], {0: w[0], 1: w[1]})
        for i in range(3):
            j[3 * t + i, 3 * s + i] += w[0, i]
            if i < 2:
                j[3 * t + i, 3 * s + i + 1] += w[1, i]
    return builder.build(), j + j.T, rng.integers(-32, 33, 9) / 128


def machine():
    """Return two modules joined by a low-rank bank, at beta = 1.5, fields off the grid."""
    rng = np.random.default_rng(32)
    builder = ProgramBuilder()
    visible, hidden = builder.pbit("visible", 5, beta=1.5), builder.pbit("hidden", 4, beta=1.5)
    builder.low_rank(visible, hidden, rng.normal(size=(5, 2)), rng.normal(size=(4, 2)), [0.3, -0.2])
    program = builder.build()
    return program, coupling_matrix(program.topology, program.tables), rng.normal(size=9) / 8


def sample(program, h, seed):
    """Return the state numbers of DRAWS states of each of CHAINS chains."""
    with Emulator() as device:
        device.load(program)
        out = device.relax(h[None], steps=1, burn_in=BURN_IN, seed=seed, chains=CHAINS)
        draws = []
        for _ in range(DRAWS):
            out = device.relax(h[None], steps=THIN, seed=seed, chains=CHAINS, state=out.state)
            draws.append(state_numbers(out.state.units))
    return np.array(draws)


def all_at_once(j, h, beta, seed):
    """Return as many state numbers of the update that the topology refuses."""
    rng = np.random.default_rng(seed)
    m = rng.choice([-1.0, 1.0], (CHAINS, len(h)))
    draws = []
    for step in range(20 + DRAWS):
        m = np.where(np.tanh(beta * (m @ j + h)) > rng.uniform(-1, 1, m.shape), 1.0, -1.0)
        if step >= 20:
            draws.append(state_numbers(m > 0))
    return np.array(draws)


def check(program, j, h, beta, seed):
    law = ising_law(j, h, beta)
    numbers = sample(program, h, seed)
    divergence, floor = plug_in_divergence(numbers, law)
    assert divergence < 2 * floor, f"KL {divergence:.2e}, floor {floor:.2e}, seed {seed}"
    # The same samples, spin by spin: chains are independent, draws of one chain need not be.
    spins = spin_states(len(h))
    value, error = scatter(spins[numbers].mean(axis=0))
    assert_within(value, law @ spins, error, seed=seed, what="magnetisation of spin ")
    broken, _ = plug_in_divergence(all_at_once(j, h, beta, seed), law)
    assert broken > 20 * 2 * floor, f"all spins at once pass as well: {broken:.2e}, seed {seed}"


def test_odd_cycle_of_colour_classes_samples_the_boltzmann_law():
    program, j, h = triangle()
    assert np.array_equal(coupling_matrix(program.topology, program.tables), j)
    assert len(program.topology.phases) == 3
    check(program, j, h, 1.0, seed=33)
    with pytest.raises(SpecError, match="colour"):
        replace(program.topology, phases=((0, 1, 2),))


def test_low_rank_machine_samples_the_boltzmann_law():
    program, j, h = machine()
    check(program, j, h, 1.5, seed=34)


def test_single_spins_follow_the_hyperbolic_tangent_without_hidden_field():
    # Pairs of opposite fields; 512 units make four rows, so every field of a word is used.
    seed, steps = 35, 20000
    builder = ProgramBuilder()
    builder.pbit("units", 512, beta=2.0)
    h = np.concatenate([np.arange(256), -np.arange(256)])[None] / 256
    with Emulator() as device:
        device.load(builder.build())
        out = device.relax(h, steps=steps, seed=seed, chains=16)
    samples = steps * 16
    exact = np.tanh(2 * h[0])
    # Thresholds are rounded down to 2^-16, which takes up to 2^-15 from a mean.
    assert_within(out.mean[0], exact, np.sqrt((1 - exact**2) / samples), bias=2.0**-15,
                  seed=seed, what="mean of spin ")
    total = out.mean[0].sum()
    assert_within(total, 0, np.sqrt((1 - exact**2).sum() / samples), seed=seed, what="sum")


def test_rounding_of_the_threshold_index_moves_no_mean():
    # Fields spread over the steps of the table, none halfway: an index that was rounded down would
    # take half a step, 1/256, from every beta |field|. Halfway ones are rounded away from 0.
    seed, steps, chains, beta = 36, 10000, 16, 5057 / 4096
    builder = ProgramBuilder()
    builder.pbit("units", 1024, beta=beta)
    h = np.arange(1, 2048, 2)[None] / 2**12
    with Emulator() as device:
        device.load(builder.build())
        out = device.relax(h, steps=steps, seed=seed, chains=chains)
    exact = np.tanh(beta * h[0])
    error = np.sqrt((1 - exact**2).sum() / (steps * chains)) / len(exact)
    assert_within(out.mean[0].mean(), exact.mean(), error, bias=2.0**-15, seed=seed, what="mean")
    floored = np.tanh(beta * h[0] - 1 / 256)
    assert (exact - floored).mean() > 20 * error, "too few samples to see half a step"

"""Energy gradients against finite differences, of every kind of bank, alone and as differences."""

import numpy as np
import pytest

from pbitstream.spec.topology import Module
from pbitstream.training.banks import Band, LowRank
from pbitstream.training.energy import Parameters, energy_gradient

SAMPLES = 5
MIX = np.random.default_rng(1).random((SAMPLES, 3))
BANKS = {
    "through projections": LowRank(0, 1, 2),
    "through the matrix": LowRank(0, 1, 7),
    "mixed": LowRank(0, 1, 4, mixed=True),
    "band": Band(0, 1, (-1, 2), 9),
}


def parameters(bank: LowRank | Band, *, clamped: bool = False) -> Parameters:
    rng = np.random.default_rng(0)
    modules = (Module("a", "langevin", 9, clamped=clamped), Module("b", "langevin", 6))
    arrays = {"h": rng.normal(size=15), "k2": 1 + rng.random(15), "k4": rng.random(15)}
    if isinstance(bank, Band):
        arrays["bank0.w"] = rng.normal(size=(2, 6))
        arrays["bank0.w"][0, 0] = 0.0
    else:
        arrays["bank0.a"], arrays["bank0.b"] = (rng.normal(size=(d, bank.rank)) for d in (9, 6))
        arrays["bank0.gain"] = rng.normal(size=(3 if bank.mixed else 1, bank.rank))
    return Parameters(modules, (bank,), arrays)


def states(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(SAMPLES, 15))


def energy(p: Parameters, x: np.ndarray) -> float:
    k2, k4, h = (p.arrays[name] for name in ("k2", "k4", "h"))
    own = (k2 / 2 * x**2 + k4 / 4 * x**4 - h * x).sum()
    return float(own - (x * p.field(x, MIX)).sum() / 2) / len(x)


@pytest.mark.parametrize("kind", BANKS)
def test_gradients_are_slopes_of_the_energy(kind: str) -> None:
    p, x, step = parameters(BANKS[kind]), states(2), 1e-5
    found = energy_gradient(p, x, MIX)
    for name, array in p.arrays.items():
        for place in np.ndindex(array.shape):
            if array[place] == 0.0:
                assert found[name][place] == 0.0
                continue
            ends = []
            for sign in (1, -1):
                moved = array.copy()
                moved[place] += sign * step
                ends.append(energy(p.with_arrays({**p.arrays, name: moved}), x))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert found[name][place] == pytest.approx(slope, rel=1e-6, abs=1e-8), (name, place)


@pytest.mark.parametrize("clamped", [False, True])
@pytest.mark.parametrize("kind", BANKS)
def test_a_difference_is_exact_where_states_are_near(kind: str, clamped: bool) -> None:
    p, x = parameters(BANKS[kind], clamped=clamped), states(3)
    # As of a device: 20 fraction bits, which float32 holds, and the nudged states close together.
    x, y = (np.round(v * 2**20) / 2**20 for v in (x, x + 1e-3 * states(4)))
    if clamped:
        y[:, :9] = x[:, :9]
    one, other = (energy_gradient(p, v, MIX) for v in (x, y))
    double = energy_gradient(p, x, MIX, less=y)
    single = energy_gradient(p, x.astype(np.float32), MIX, less=y.astype(np.float32))
    for name in one:
        wanted = one[name] - other[name]
        size = np.abs(wanted).max()
        np.testing.assert_allclose(double[name], wanted, rtol=0, atol=1e-10 * size + 1e-14)
        np.testing.assert_allclose(single[name], wanted, rtol=0, atol=2e-6 * size)
        assert single[name].dtype == np.float32


def test_a_derivative_along_a_direction() -> None:
    for bank in BANKS.values():
        p, x, v = parameters(bank), states(5), states(6)
        along = energy_gradient(p, x, MIX, along=v)
        high, low = (energy_gradient(p, x + sign * 1e-5 * v, MIX) for sign in (1, -1))
        for name, value in along.items():
            np.testing.assert_allclose(value, (high[name] - low[name]) / 2e-5, rtol=1e-6, atol=1e-8)

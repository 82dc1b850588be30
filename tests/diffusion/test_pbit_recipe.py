"""The training recipe of p-bit generators: gradient, sampler and noise against enumeration."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from physics_reference import assert_within, spin_states

TOOLS = Path(__file__).parents[2] / "tools" / "digits"
VISIBLE, HIDDEN, CODES = 4, 3, 2


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    sys.path.insert(0, str(TOOLS))
    try:
        import pbit_recipe
    finally:
        sys.path.remove(str(TOOLS))
    return pbit_recipe


def machine(recipe, seed, *, band=True, condition=True):
    """Return a machine of a few spins whose numbers are all different from 0."""
    draw = np.random.default_rng(seed)
    shapes = {"a": (VISIBLE,), "b": (HIDDEN,), "p": (CODES, VISIBLE), "q": (CODES, HIDDEN),
              "u": (VISIBLE, 2), "w": (HIDDEN, 2)}
    mask = None
    if band:
        shapes["l"] = (VISIBLE, HIDDEN)
        mask = (draw.random((VISIBLE, HIDDEN)) < 0.5).astype(float)
    if condition:
        shapes |= {"g": (VISIBLE,), "un": (VISIBLE, 2), "wn": (HIDDEN, 2)}
    arrays = {name: 0.5 * draw.standard_normal(shape) for name, shape in shapes.items()}
    if band:
        arrays["l"] *= mask
    return recipe.Machine(arrays, mask)


def log_law(machine, code, c):
    """Return the log-probability of all states of x, by summing over h and x."""
    p = machine.arrays
    x, h = spin_states(VISIBLE), spin_states(HIDDEN)
    j = p["u"] @ p["w"].T + p.get("l", 0.0)
    energy = -(x @ j @ h.T) - ((p["a"] + p["p"][code]) @ x.T)[:, None]
    energy = energy - (p["b"] + p["q"][code]) @ h.T
    if c is not None:
        energy = energy - ((p["g"] * c) @ x.T)[:, None] - (c @ p["un"] @ p["wn"].T) @ h.T
    of_x = np.log(np.exp(-energy).sum(axis=1))
    return of_x - np.log(np.exp(of_x).sum())


@pytest.mark.parametrize(("band", "condition"), [(True, True), (False, False)])
def test_the_gradient_is_that_of_the_likelihood(recipe, band, condition) -> None:
    for code in range(CODES):
        drawn = machine(recipe, code, band=band, condition=condition)
        states = spin_states(VISIBLE)
        c = states[5] if condition else None
        seen = states[11]
        law = np.exp(log_law(drawn, code, c))
        one = np.array([code])
        held = None if c is None else c[None]
        # The gradient is linear in the law of the samples.
        parts = [recipe.gradient(drawn, seen[None], state[None], one, held) for state in states]
        for name, array in drawn.arrays.items():
            got = sum(p * part[name] for p, part in zip(law, parts))
            wanted = np.zeros_like(array)
            free = drawn.mask if name == "l" else np.ones_like(array)
            for index in zip(*np.nonzero(free)):
                moved = []
                for shift in (1e-5, -1e-5):
                    array[index] += shift
                    moved.append(log_law(drawn, code, c)[11])
                    array[index] -= shift
                wanted[index] = (moved[0] - moved[1]) / 2e-5
            np.testing.assert_allclose(got, wanted, atol=1e-6, err_msg=name)


def test_sampling_reaches_the_law(recipe) -> None:
    seed, count = 4, 20_000
    drawn = machine(recipe, seed)
    draw = np.random.default_rng(seed)
    c = spin_states(VISIBLE)[9]
    start = np.where(draw.random((count, VISIBLE)) < 0.5, 1.0, -1.0)
    x = drawn.sample(start, np.ones(count, np.int64), np.tile(c, (count, 1)), 60,
                     recipe.Thresholds(draw))
    numbers = (x > 0) @ (1 << np.arange(VISIBLE))
    law = np.exp(log_law(drawn, 1, c))
    share = np.bincount(numbers, minlength=len(law)) / count
    assert_within(share, law, np.sqrt(law * (1 - law) / count), seed=seed, what="share of state ")


def test_thresholds_turn_fields_into_p_bits(recipe) -> None:
    seed, count = 1, 200_000
    fields = np.array([-2.0, -0.3, 0.0, 0.7])
    thresholds = recipe.Thresholds(np.random.default_rng(seed))
    up = np.mean([fields > thresholds(count // 50, 4) for _ in range(50)], axis=(0, 1))
    law = 1 / (1 + np.exp(-2 * fields))
    # Reading a pool of 2^21 at random places 50 times draws a tenth of it: few numbers come twice.
    error = 1.2 * np.sqrt(law * (1 - law) / count)
    assert_within(up, law, error, seed=seed, what="share of +1 at field ")


def test_flipped_spins_keep_the_correlation(recipe) -> None:
    seed, count = 2, 100_000
    x = np.ones((count, 1))
    for kept in (0.0, 0.55, 1.0):
        y = recipe.flipped(x, kept, np.random.default_rng(seed))
        error = np.sqrt((1 - kept**2) / count) + 1e-12
        assert_within(y.mean(), kept, error, seed=seed, what="correlation")


def test_a_band_is_the_neighbourhood_of_a_pixel(recipe) -> None:
    mask = recipe.band_mask(128)
    assert mask.sum() == 968
    for i, j in ((0, 0), (9, 18), (9, 64 + 18), (9, 19), (7, 8), (63, 127)):
        place = j % 64
        near = max(abs(i // 8 - place // 8), abs(i % 8 - place % 8)) <= 1
        assert mask[i, j] == near


@pytest.mark.parametrize("rho", [(1.0, 0.0), (1.0, 0.5)])
def test_training_raises_the_likelihood(recipe, rho) -> None:
    """Two spins that the code fixes, and two that are equal: of 4 ln 2 = 2.77 nats .69 are left.

    The codes alone leave 1.39; that the last two are equal takes longer to find.
    """
    draw = np.random.default_rng(3)
    code = draw.integers(CODES, size=400)
    groups = np.stack([2 * code - 1, np.where(draw.random(400) < 0.5, 1, -1)], axis=1)
    data = np.repeat(groups, 2, axis=1).astype(np.float32)
    how = recipe.Recipe(iterations=1200, rank=3, band=False, hidden=HIDDEN)
    trained = recipe.train(data, code, CODES, rho, how, [0, 1])
    assert ("g" in trained.arrays) == (rho[1] > 0)
    held = recipe.flipped(data, rho[1], draw) if rho[1] > 0 else [None] * len(data)
    numbers = (data > 0) @ (1 << np.arange(VISIBLE))
    found = [log_law(trained, y, c)[n] for n, y, c in zip(numbers, code, held)]
    assert np.mean(found) > -1.45


def test_training_repeats_and_its_seed_matters(recipe) -> None:
    data = np.where(np.random.default_rng(0).random((50, 6)) < 0.5, 1, -1).astype(np.float32)
    code = np.zeros(50, np.int64)
    how = recipe.Recipe(iterations=5, rank=2, band=False, hidden=3)
    first, again, other = (recipe.train(data, code, 1, (1.0, 0.5), how, [seed, 1]).arrays
                           for seed in (0, 0, 1))
    for name, array in first.items():
        assert (array == again[name]).all()
        if name != "g":  # starts alike, and five updates along alike signs move it alike
            assert (array != other[name]).any(), name

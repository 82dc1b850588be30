"""The compiled Langevin update at the ends of every range; blocks of chains and what is left."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from engines import HAS_NUMBA, run
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.spec.words import EXPOSED, FIELD_FRACTIONS, FIELD_LIMIT, K2, STATE

pytestmark = pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")


def half_up(value: int, bits: int) -> int:
    return (value + (1 << bits >> 1)) >> bits


def updated(x24: int, x: int, f: int, k2: int, k4: int, kick: int, fraction: int, s: int) -> (
        tuple[int, int, int, int]):
    """Return x24', X' and whether kappa and x24 were clipped (numerics 5), in plain integers."""
    stiffness = k2 + half_up(k4 * half_up(x * x, 14), 12)
    kappa = min(K2.highest, stiffness)
    after = x24 + half_up((f << (30 - fraction)) - kappa * x24, 10 + s) + kick
    kept = min(max(after, STATE.lowest), STATE.highest)
    return kept, min(half_up(kept, 8), EXPOSED.highest), kappa != stiffness, kept != after


@pytest.fixture(scope="module")
def langevin() -> Callable[..., None]:
    """Return the update as something that Python can call."""
    from numba import njit

    from pbitstream.emulator import kernels as k
    from pbitstream.emulator.vectors import address, move

    def call(x24, x, f, k2, k4, kicks, fraction, s, clips):
        # One chain, 16 units at least, and no u that expands to anything.
        zero, one, nothing = np.int64(0), np.int64(1), address(x, 0)
        align, fall, down, up = k.shifts(fraction, s)
        move(address(x24, 0), address(x, 0), address(f, 0), zero, address(k2, 0), address(k4, 0),
             address(kicks, 0), zero, nothing, len(x24), nothing, zero, zero, one, align, fall,
             down, up, address(clips, k.CLIP_STIFFNESS), zero)

    compiled: Callable[..., None] = njit(call, _nrt=False)
    return compiled


@pytest.mark.parametrize(("fraction", "s"), list(itertools.product(FIELD_FRACTIONS, range(9))))
def test_langevin_update_is_exact_for_every_field(
    langevin: Callable[..., None], fraction: int, s: int
) -> None:
    from pbitstream.emulator import kernels as k

    rng = np.random.default_rng([fraction, s])
    count = 4000
    ends = [0, 1, -1, 255, 256, STATE.highest, STATE.lowest]
    x24 = np.where(rng.random(count) < 0.3, rng.choice(ends, count),
                   rng.integers(STATE.lowest, STATE.highest + 1, count))
    x = np.minimum((x24 + 128) >> 8, EXPOSED.highest)
    # Of every size, and where what is rounded turns.
    f = rng.integers(-FIELD_LIMIT, FIELD_LIMIT + 1, count) >> rng.integers(0, 31, count)
    f = np.where(rng.random(count) < 0.2, rng.choice([FIELD_LIMIT, -FIELD_LIMIT, 1 << 30,
                                                      -(1 << 30)], count), f)
    k2, k4 = (rng.integers(low, K2.highest + 1, count) >> rng.integers(0, 15, count)
              for low in (1, 0))
    k2 = np.maximum(k2, 1)
    kick = np.where(rng.random(count) < 0.5, 0, rng.integers(-(1 << 26), 1 << 26, count))
    wanted = np.array([updated(*(int(v) for v in row), fraction, s)
                       for row in zip(x24, x, f, k2, k4, kick)])
    new, new_x, clips = x24.astype(np.int32), x.astype(np.int16), np.zeros(k.CLIPS, np.int64)
    langevin(new, new_x, *(v.astype(np.int32) for v in (f, k2, k4, kick)), fraction, s, clips)
    np.testing.assert_array_equal(new, wanted[:, 0])
    np.testing.assert_array_equal(new_x, wanted[:, 1])
    assert clips[k.CLIP_STIFFNESS] == wanted[:, 2].sum()
    assert clips[k.CLIP_STATE] == wanted[:, 3].sum() > 0


@pytest.mark.parametrize("chains", [1, 2, 7, 8, 9, 15, 16, 17, 23])
def test_blocks_of_chains_equal_single_ones(chains: int) -> None:
    program = random_program(np.random.default_rng(3), max_dim=200)
    call = {**random_call(program, np.random.default_rng(4), max_rows=2), "chains": chains,
            "first_chain": 3}
    call.pop("state", None)
    inputs = len(call["h"])
    whole = run(program, {**call, "steps": 5, "burn_in": 2}, "numba", 1)
    for c in (0, chains - 1):
        for i in range(inputs):
            one = {**call, "h": call["h"][i : i + 1], "chains": 1, "steps": 5, "burn_in": 2,
                   "first_chain": 3 + i * chains + c}
            if "clamp" in call:
                one["clamp"] = call["clamp"][i : i + 1]
            if len(call.get("gains", ())) > 1:
                one["gains"] = call["gains"][i : i + 1]
            single = run(program, one, "numba", 1)
            np.testing.assert_array_equal(single.sums[0, 0], whole.sums[i, c])
            np.testing.assert_array_equal(single.clips[0, 0], whole.clips[i, c])

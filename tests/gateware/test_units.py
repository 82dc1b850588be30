"""The arithmetic of the update pipes against the spec's integers, a new unit every cycle."""

import random
from typing import Any

import pytest

from blocks import magnitude
from pbitstream.spec.fixed import rhu, sat
from pbitstream.spec.noise import NOISE_MEAN, NOISE_SHIFTS, fields
from pbitstream.spec.sigmoid import sigmoid_table
from pbitstream.spec.timing import UNIT_STAGES, WORD_STAGE
from pbitstream.spec.words import BETA, FIELD_FRACTIONS, K2, K4, STATE
from pbitstream_gateware.langevin import LangevinUnit
from pbitstream_gateware.pbit import PbitUnit
from simulation import simulate

UNITS = 2000


def stream(unit: Any, inputs: list[dict[str, int]], late: str, outputs: list[str]) -> list[Any]:
    """Feed one unit per cycle, `late` WORD_STAGE cycles after the rest, and collect the answers."""
    answers = []

    async def bench(ctx: Any) -> None:
        for cycle in range(len(inputs) + UNIT_STAGES):
            for name, value in inputs[min(cycle, len(inputs) - 1)].items():
                if name != late:
                    ctx.set(getattr(unit, name), value)
            behind = max(0, min(cycle - WORD_STAGE, len(inputs) - 1))
            ctx.set(getattr(unit, late), inputs[behind][late])
            if cycle >= UNIT_STAGES:
                answers.append(tuple(ctx.get(getattr(unit, name)) for name in outputs))
            await ctx.tick()

    simulate(unit, bench)
    return answers


def langevin(x24: int, f: int, k2: int, k4: int, fraction: int, s: int, gain: int, q: int,
             word: int) -> tuple[int, int, int]:
    x = sat(rhu(x24, 8), 16)
    stiffness = k2 + rhu(k4 * rhu(x * x, 14), 12)
    kappa = min(K2.highest, stiffness)
    drift = (f << 30 - fraction) - kappa * x24
    total = x24 + rhu(drift, 10 + s) + rhu((sum(fields(word)) - NOISE_MEAN) * gain, q)
    after = sat(total, STATE.bits)
    return after, int(kappa != stiffness), int(after != total)


@pytest.mark.parametrize("seed", [1, 2])
def test_langevin_unit(seed: int) -> None:
    draw = random.Random(seed)
    inputs = []
    for _ in range(UNITS):
        code = draw.randrange(len(FIELD_FRACTIONS))
        inputs.append({
            "state": magnitude(draw, 24), "field": magnitude(draw, 32),
            "k2": draw.randint(1, K2.highest) >> draw.randrange(14) or 1,
            "k4": draw.randint(0, K4.highest) >> draw.randrange(15),
            "fraction": code, "dt_shift": draw.randrange(9),
            "noise_gain": draw.choice([0, 4096, 8191, draw.randint(4096, 8191)]),
            "noise_shift": draw.choice(NOISE_SHIFTS),
            "word": draw.choice([0, (1 << 64) - 1, draw.getrandbits(64)]),
        })
    got = stream(LangevinUnit(), inputs, "word", ["after", "stiffness_clip", "state_clip"])
    for case, answer in zip(inputs, got):
        x24, f, k2, k4, code, *rest = case.values()
        assert answer == langevin(x24, f, k2, k4, FIELD_FRACTIONS[code], *rest), (seed, case)
    assert {clip for _, clip, _ in got} == {clip for *_, clip in got} == {0, 1}


def pbit(f: int, fraction: int, beta: int, w: int) -> tuple[int, int]:
    y = sat(rhu(f, fraction - 10), 18)
    p = beta * y
    table = sigmoid_table()[min((abs(p) + (1 << 14)) >> 15, 1023)]
    return int(w < (table if p >= 0 else 65536 - table)), int(y != rhu(f, fraction - 10))


@pytest.mark.parametrize("seed", [1, 2])
def test_pbit_unit(seed: int) -> None:
    draw = random.Random(seed)
    inputs = []
    for _ in range(UNITS):
        code = draw.randrange(len(FIELD_FRACTIONS))
        f = magnitude(draw, 32)
        beta = draw.randint(0, BETA.highest) >> draw.randrange(8)
        threshold = 32768
        for w in range(0, 65536, 4096):
            threshold = w if pbit(f, FIELD_FRACTIONS[code], beta, w)[0] else threshold
        # Close to the threshold, where a wrong unit shows.
        w = draw.choice([threshold + draw.randrange(-2, 4098), draw.getrandbits(16)]) % 65536
        inputs.append({"field": f, "fraction": code, "beta": beta, "number": w})
    got = stream(PbitUnit(), inputs, "number", ["after", "clip"])
    for case, answer in zip(inputs, got):
        f, code, beta, w = case.values()
        assert answer == pbit(f, FIELD_FRACTIONS[code], beta, w), (seed, case)
    assert {clip for _, clip in got} == {0, 1}

"""The chosen nudge is nearly the best: by the fit's own model, and by the true gradient."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.training.checkpoint import checkpoint_path, read_checkpoint
from pbitstream.training.denoising import Digits, denoiser
from pbitstream.training.imperfections import Independent
from pbitstream.training.nudging import choose_nudge, fit_nudge
from pbitstream.training.rules import Rule, cosine, estimate_gradient
from pbitstream.training.run import train_denoiser
from pbitstream.training.substrate import DeviceSubstrate, FloatSubstrate
from pbitstream.training.systems import random_system
from pbitstream.training.trainer import Recipe, Trainer, largest

CODES = (1, 2, 4, 8, 16, 32, 64, 128, 200)
SUBSTRATES = {
    "fixed": lambda: DeviceSubstrate(Emulator(), 3),
    "float": lambda: FloatSubstrate(1 / 8),
    "noise of their own": lambda: Independent(FloatSubstrate(1 / 8, 1e-6, 16)),
}
RECIPE = Recipe(updates=3, free_steps=40, nudged_steps=40, checkpoint_every=2)


@pytest.mark.parametrize(("order", "c"), [(2, 1.25), (2, 0.25), (1, 0.25)])
def test_the_fit_finds_the_minimum_of_its_model(order: int, c: float) -> None:
    b = 2.0 ** np.arange(-10, -3)
    bias, noise = 0.7, 3e-3 if order == 1 else 2e-5
    squares = ((2**order - 1) * bias * b**order) ** 2 + c * noise**2 / b**2
    best, found_bias, found_noise = fit_nudge(b, squares, order, c, (2**-10, 0.25))
    assert best == pytest.approx((noise**2 / order / bias**2) ** (1 / (2 * order + 2)), rel=0.02)
    assert found_bias == pytest.approx(bias, rel=0.1)
    assert found_noise == pytest.approx(noise, rel=0.1)
    everywhere = np.linspace(2**-10, 0.25, 5000)
    error = (bias * everywhere**order) ** 2 + (noise / everywhere) ** 2
    assert best == pytest.approx(everywhere[error.argmin()], rel=0.03)


def test_the_fit_ends_where_the_range_does() -> None:
    b = 2.0 ** np.arange(-10, -3)
    assert fit_nudge(b, b**4, 2, 1.25, (0.004, 0.2))[0] == pytest.approx(0.004)
    assert fit_nudge(b, b**-2, 2, 1.25, (0.004, 0.2))[0] == pytest.approx(0.2)
    assert fit_nudge(b, 0 * b, 2, 1.25, (0.004, 0.2)) == (0.2, 0.0, 0.0)
    dead = np.where(b < 2**-8, 0.0, 9 * b**4 + 1.25 * 2 * 0.03**6 / b**2)
    assert fit_nudge(b, dead, 2, 1.25, (2**-10, 0.2))[0] == pytest.approx(0.03, rel=0.02)


@pytest.mark.parametrize(("kind", "free", "nudged", "rule", "margin"), [
    ("fixed", 200, 200, "symmetric", 1e-4),
    ("fixed", 10, 40, "symmetric", 2e-3),
    ("noise of their own", 64, 1024, "symmetric", 1e-4),
    ("float", 200, 200, "symmetric", 1e-6),
    ("float", 20, 40, "one-sided", 0.03),
    ("fixed", 200, 200, "one-sided", 2e-3),
])
def test_no_nudge_of_a_grid_does_much_better(
    kind: str, free: int, nudged: int, rule: Rule, margin: float
) -> None:
    systems = [random_system(np.random.default_rng([31, number])) for number in range(3)]
    lost, ends = [], []
    for system in systems:
        on, p = SUBSTRATES[kind](), system.parameters
        gap = float(p.arrays["k2"].min()) - largest(p)
        chosen = choose_nudge(on, p, [system.batch], free_steps=free, nudged_steps=nudged,
                              rule=rule, names=system.names, gap=gap, seed=1)
        assert chosen.lowest <= chosen.nudge <= chosen.highest == pytest.approx(0.2)
        assert on.applied(chosen.nudge) == chosen.nudge
        found = [cosine(estimate_gradient(on, p, system.batch, nudge=b, free_steps=free,
                                          nudged_steps=nudged, rule=rule, seed=2).gradient,
                        system.gradient, system.names)
                 for b in (chosen.nudge, *(code / 1024 for code in CODES))]
        lost.append(max(found) - found[0])
        ends.append(max(found) - min(found[1], found[-1]))
    assert max(lost) < margin
    assert max(ends) > margin, "the choice matters"


def test_a_run_keeps_the_nudge_it_chose(tmp_path: Path) -> None:
    data = Digits(np.sign(np.random.default_rng(3).normal(size=(40, 64))), 16)

    def trainer(recipe: Recipe = RECIPE) -> Trainer:
        return Trainer(denoiser(0, 16), DeviceSubstrate(Emulator(), 4), data, recipe,
                       folder=tmp_path)

    run = trainer()
    run.run()
    assert run.chosen is not None
    code = run.chosen.nudge * 1024
    assert code == round(code)
    kept = read_checkpoint(checkpoint_path(tmp_path), run.parameters,
                           {**vars(RECIPE), "nudge": None})
    assert kept.notes["chosen"]["nudge"] == run.chosen.nudge
    resumed = trainer()
    assert resumed.chosen == run.chosen, "before any probe"
    result = train_denoiser(DeviceSubstrate(Emulator(), 4), data.images, data.images[:2],
                            replace(RECIPE, updates=1), folder=tmp_path / "b", hidden=16, batch=8,
                            read_steps=10)
    assert result.chosen is not None
    assert result.to_dict()["chosen_nudge"]["nudge"] == result.chosen.nudge


def test_a_rule_without_nudge_has_none_to_choose() -> None:
    system = random_system(np.random.default_rng(1))
    with pytest.raises(SpecError, match="rule implicit has no nudge to choose"):
        choose_nudge(FloatSubstrate(1 / 8), system.parameters, [system.batch], free_steps=1,
                     nudged_steps=1, rule="implicit")
    run = Trainer(denoiser(0, 16), FloatSubstrate(1 / 16), Digits(np.ones((4, 64)), 4),
                  replace(RECIPE, updates=1, rule="implicit"))
    run.run()
    assert run.chosen is None

"""Training runs on a small denoiser: they learn, resume in every bit, and stop with a reason."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pbitstream import Emulator, Program
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.training.checkpoint import checkpoint_path
from pbitstream.training.denoising import OUTPUT, Digits, denoiser, hats
from pbitstream.training.drift import DRIFT_BOUNDS
from pbitstream.training.rules import Rule, cosine, estimate_gradient
from pbitstream.training.run import train_denoiser
from pbitstream.training.substrate import Batch, DeviceSubstrate, FloatSubstrate, Substrate
from pbitstream.training.trainer import COLUMNS, DivergedError, Recipe, Trainer, cap_coupling

HIDDEN = 16
RECIPE = Recipe(updates=12, rate=6e-3, nudge=0.1, free_steps=40, nudged_steps=40,
                checkpoint_every=4)


def images(count: int = 40) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.sign(rng.normal(size=(1, 64)) + 0.3 * rng.normal(size=(count, 64)))


def substrate(kind: str) -> Substrate:
    return FloatSubstrate(1 / 16) if kind == "float" else DeviceSubstrate(Emulator(), 4)


def trainer(kind: str, recipe: Recipe = RECIPE, folder: Path | None = None) -> Trainer:
    return Trainer(denoiser(0, HIDDEN), substrate(kind), Digits(images(), 32), recipe,
                   folder=folder)


@pytest.mark.parametrize("kind", ["float", "device"])
def test_the_cost_falls(kind: str) -> None:
    run = trainer(kind, replace(RECIPE, updates=40))
    run.run()
    cost = run.history[:, 1]
    assert cost[-8:].mean() < 0.7 * cost[:4].mean()


def test_fixed_point_follows_float() -> None:
    costs = []
    for kind in ("float", "device"):
        run = trainer(kind)
        run.run()
        costs.append(run.history[:, 1])
    np.testing.assert_allclose(costs[1], costs[0], rtol=0.01)


def test_symmetric_estimates_the_implicit_gradient() -> None:
    parameters, batch = cap_coupling(denoiser(0, HIDDEN), 0.5), Digits(images(), 32)(0)
    found = {}
    for rule in ("symmetric", "implicit"):
        on = FloatSubstrate(1 / 16)
        on.load(parameters)
        found[rule] = estimate_gradient(on, parameters, batch, nudge=0.1, free_steps=300,
                                        nudged_steps=200, rule=rule).gradient
    assert cosine(found["symmetric"], found["implicit"]) > 0.999


@pytest.mark.parametrize("kind", ["float", "device"])
def test_a_resumed_run_equals_an_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    whole = trainer(kind)
    whole.run()

    class StopError(Exception):
        pass

    def stop(done: int, _: object) -> None:
        if done == 7:
            raise StopError

    with pytest.raises(StopError):
        trainer(kind, folder=tmp_path).run(stop)
    resumed = trainer(kind, folder=tmp_path)
    assert resumed.adam.done == 4
    resumed.run()
    for name, array in whole.averaged.arrays.items():
        np.testing.assert_array_equal(resumed.averaged.arrays[name], array)
    np.testing.assert_array_equal(resumed.history, whole.history)


def test_a_killed_run_keeps_a_whole_checkpoint(tmp_path: Path) -> None:
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import test_trainer as t; "
            "t.trainer('float', t.replace(t.RECIPE, updates=10**6, checkpoint_every=1), "
            "t.Path(sys.argv[2])).run()")
    child = subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent),
                              str(tmp_path)], stderr=subprocess.PIPE)
    try:
        while not checkpoint_path(tmp_path).exists():
            assert child.poll() is None, child.stderr.read().decode() if child.stderr else ""
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    kept = trainer("float", replace(RECIPE, updates=10**6, checkpoint_every=1), tmp_path)
    assert kept.adam.done >= 1


def test_checkpoints_of_something_else_are_refused(tmp_path: Path) -> None:
    trainer("float", folder=tmp_path).run()
    with pytest.raises(FileFormatError, match=r"made with rate = 0.006, not 0.001"):
        trainer("float", replace(RECIPE, rate=1e-3), tmp_path)
    with pytest.raises(FileFormatError, match="a checkpoint of another topology"):
        Trainer(denoiser(0, HIDDEN + 1), FloatSubstrate(1 / 16), Digits(images(), 32), RECIPE,
                folder=tmp_path)


def test_what_cannot_go_on_stops_with_the_reason(tmp_path: Path) -> None:
    wild = replace(RECIPE, rate=50.0, updates=60, checkpoint_every=1)
    with pytest.raises(DivergedError, match=r"lower the rate or the cap; .* holds the last"):
        with np.errstate(all="ignore"):
            trainer("float", wild, tmp_path).run()
    assert checkpoint_path(tmp_path).exists()
    with pytest.raises(SpecError, match="take more free steps, a larger nudge, or rule symmetric"):
        trainer("float", replace(RECIPE, rule="one-sided", free_steps=5)).run()
    with pytest.raises(SpecError, match="updates must be at least 1, not 0"):
        Recipe(updates=0)
    with pytest.raises(SpecError, match="nudge must be positive, not nan"):
        Recipe(updates=1, nudge=float("nan"))
    parameters, on = denoiser(0, HIDDEN), FloatSubstrate(1 / 16)
    on.load(parameters)
    batch = Digits(images(), 4)(0)
    wrong = Batch(batch.clamp, batch.target[:, :3], OUTPUT, batch.mix)
    with pytest.raises(SpecError, match=r"targets must be finite and of shape \(4, 64\)"):
        estimate_gradient(on, parameters, wrong, nudge=0.1, free_steps=4, nudged_steps=4)


def test_a_free_phase_far_from_rest_is_warned_of_or_refused(tmp_path: Path) -> None:
    restless = replace(RECIPE, free_steps=1, nudge=0.01)
    told: list[str] = []
    run = trainer("float", replace(restless, updates=4), tmp_path)
    run.run(warn=told.append)
    assert (run.history[:, COLUMNS.index("drift_over_nudge")] > DRIFT_BOUNDS["symmetric"]).sum() > 1
    assert told == run.warnings
    assert len(told) == 1, "once per run"
    assert told[0].startswith("update 1: the free phase still drifts by")
    assert told[0].endswith("good up to 10; take more free steps, a larger nudge")
    assert trainer("float", replace(restless, updates=4), tmp_path).warnings == told, "resumed"
    with pytest.raises(SpecError, match=r"good up to 10; .* nudge, a warm start, or"):
        trainer("float", replace(restless, rule="one-sided-matched", start="cold")).run()
    quiet = trainer("float", replace(RECIPE, updates=2))
    quiet.run(warn=told.append)
    assert (len(told), quiet.warnings) == (1, [])


@pytest.mark.parametrize(("rule", "refused"), [("one-sided", True), ("one-sided-matched", False)])
def test_noise_counts_as_drift_only_where_phases_do_not_share_it(rule: Rule, refused: bool) -> None:
    on = FloatSubstrate(1 / 16, temperature=0.1, segments=2)
    run = Trainer(denoiser(0, HIDDEN), on, Digits(images(), 8),
                  replace(RECIPE, updates=1, rule=rule, nudge=0.01))
    if refused:
        with pytest.raises(SpecError, match="and rule one-sided is good up to"):
            run.run()
    else:
        run.run()
        assert run.history[0, COLUMNS.index("drift_over_nudge")] > DRIFT_BOUNDS[rule]


def test_nudges_of_a_device_are_codes_of_k2() -> None:
    device = DeviceSubstrate(Emulator(), 4)
    assert device.applied(0.1) == 102 / 1024
    assert device.applied(-1e-9) == -1 / 1024
    assert FloatSubstrate(0.1).applied(0.1) == 0.1


def test_the_cap_bounds_the_coupling() -> None:
    parameters = denoiser(1, HIDDEN)
    free = parameters.free
    capped = cap_coupling(parameters, 0.3)
    j = capped.coupling_matrix(hats(np.array([0.5])))[np.ix_(free, free)]
    assert np.linalg.eigvalsh(j)[-1] <= 0.3 + 1e-12
    assert cap_coupling(capped, 0.31) is capped


def test_a_run_leaves_its_files(tmp_path: Path) -> None:
    result = train_denoiser(substrate("device"), images(), images(3), RECIPE, folder=tmp_path,
                            hidden=HIDDEN, batch=16, read_steps=20)
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint.safetensors", "history.csv", "model.safetensors", "program.safetensors"
    }
    program = Program.open(tmp_path / "program.safetensors")
    assert program.gain_rows == 20
    assert result.accounting.unit_updates == 16 * 120 * (2 * HIDDEN + 64)
    assert len(result.history) == 12

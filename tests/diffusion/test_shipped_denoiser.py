"""The shipped denoiser on the held-out digits, under fixed-point dynamics: what it must reach."""

from functools import lru_cache

import numpy as np

from pbitstream import Emulator, Program
from pbitstream.diffusion.denoiser import Denoiser, noisy_states
from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.evaluation import Evaluation, evaluate
from pbitstream.model import Model, shipped


@lru_cache(maxsize=1)
def evaluation() -> Evaluation:
    model = Model.open(shipped("digits-k16"))
    denoiser = Denoiser(model, Program.open(shipped("digits-k16.program")))
    rows = np.arange(len(denoiser.times))
    states = noisy_states(held_out_digits()[0], denoiser.times, rows)
    with Emulator() as device:
        return evaluate(denoiser, device, states, rows, seed=0)


def test_the_layer_and_its_output_are_followed() -> None:
    figures = evaluation().metrics["substrate"]
    assert figures.r2 >= 0.69
    assert figures.f_mse is not None
    assert figures.f_mse <= 0.63


def test_the_dynamics_lose_nothing_of_the_equilibrium() -> None:
    got, exact = evaluation().metrics["substrate"], evaluation().metrics["equilibrium"]
    assert exact.r2 - 0.01 <= got.r2 <= exact.r2 + 0.01


def test_controls_are_far_below() -> None:
    assert evaluation().metrics["constant"].r2 <= 0.02
    assert evaluation().metrics["shuffled"].r2 <= 0.02

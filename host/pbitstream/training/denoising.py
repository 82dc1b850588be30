"""A conditional denoiser made of Langevin units, trained by denoising score matching.

Clamped modules hold the noisy image x_in = c_in x_t (64 units) and features of the time t (64);
two hidden modules of 128 units with quartic stiffness and an output of 64 units without settle, and
the output is to equal F* = (x_0 - c_skip x_t) / c_out (`pbitstream.diffusion.schedule`). Banks from
the image have gains S(t), mixed from 8 rows by hat functions of t.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pbitstream.diffusion import schedule
from pbitstream.errors import SpecError
from pbitstream.spec.topology import Module
from pbitstream.training.banks import LowRank
from pbitstream.training.energy import Parameters
from pbitstream.training.substrate import Batch, Substrate

__all__ = ["OUTPUT", "Digits", "denoiser", "f_mse", "hats", "predict", "time_inputs"]

Values = NDArray[np.float64]

IMAGE, TIME, FIRST, SECOND, OUTPUT = range(5)
#: Rows of a gain schedule S(t): hat functions on an even grid over [0, 1].
HATS = 8
#: Time features are scaled up to the size of the hidden units' other inputs.
TIME_SCALE = 1.5
#: Ranks of image to hidden, image to output, time to any, and between free modules.
RANKS = (64, 48, 8, 64)


@dataclass(frozen=True)
class Digits:
    """Training images in [-1, 1], (images, 64), and how minibatches of them are drawn.

    A batch is a function of its number: image with replacement, t stratified over (0, 1], noise.
    """

    images: Values
    size: int = 128
    seed: int = 0

    def __call__(self, number: int) -> Batch:
        """Return minibatch `number`."""
        rng = np.random.default_rng((self.seed, number))
        clean = self.images[rng.integers(len(self.images), size=self.size)]
        t = np.maximum((np.arange(self.size) + rng.random(self.size)) / self.size, 1e-3)
        x = schedule.noisy(clean, rng.standard_normal(clean.shape), t)
        return denoising_batch(x, t, schedule.target(clean, x, t))


def denoising_batch(x: Values, t: Values, target: Values) -> Batch:
    """Return the minibatch of noisy images x_t (n, 64) at times t (n,), to give `target`."""
    x_in = schedule.preconditioning(t).c_in[:, None] * x
    return Batch(np.concatenate([x_in, time_inputs(t)], axis=1), target, OUTPUT, hats(t))


def hats(t: Values) -> Values:
    """Return the mix of gain rows at times t, (n, 8): ``max(0, 1 - |7 t - b|)`` for row b."""
    return np.asarray(np.maximum(0.0, 1 - np.abs((HATS - 1) * t[:, None] - np.arange(HATS))))


def time_inputs(t: Values) -> Values:
    """Return what the time module holds, (n, 64): 62 scaled features, 1, and 2 t - 1."""
    features = schedule.time_features(t, schedule.time_frequencies())
    half = features.shape[1] // 2
    waves = np.delete(features, [half - 1, 2 * half - 1], axis=1) * TIME_SCALE
    return np.concatenate([waves, np.ones((len(t), 1)), 2 * t[:, None] - 1], axis=1)


def denoiser(seed: int = 0, hidden: int = 128) -> Parameters:
    """Return an untrained denoiser; 78,360 numbers at 128 hidden units.

    A ~ N(0, 1 / dim_s), B ~ N(0, 1 / rank), halved into the output and between free modules;
    mixed gains ~ N(1, .01); h = 0, k2 = 1, k4 = 1 in hidden units and 0 in the output.
    """
    if not 1 <= hidden <= 128:
        raise SpecError(f"hidden must be between 1 and 128, not {hidden}")
    rng = np.random.default_rng(seed)
    modules = (
        Module("image", "langevin", 64, clamped=True),
        Module("time", "langevin", 64, clamped=True),
        Module("first", "langevin", hidden),
        Module("second", "langevin", hidden),
        Module("output", "langevin", 64),
    )
    image, output, time, free = RANKS
    banks = (
        LowRank(IMAGE, FIRST, image, mixed=True),
        LowRank(IMAGE, SECOND, image, mixed=True),
        LowRank(IMAGE, OUTPUT, output, mixed=True),
        LowRank(TIME, FIRST, time),
        LowRank(TIME, SECOND, time),
        LowRank(TIME, OUTPUT, time),
        LowRank(FIRST, SECOND, free),
        LowRank(FIRST, OUTPUT, free),
        LowRank(SECOND, OUTPUT, free),
    )
    arrays: dict[str, Values] = {}
    for index, bank in enumerate(banks):
        dim_s, dim_t = modules[bank.source].dim, modules[bank.target].dim
        small = 0.5 if bank.target == OUTPUT or not modules[bank.source].clamped else 1.0
        rows = HATS if bank.mixed else 1
        arrays[f"bank{index}.a"] = rng.normal(size=(dim_s, bank.rank)) * small / np.sqrt(dim_s)
        arrays[f"bank{index}.b"] = rng.normal(size=(dim_t, bank.rank)) / np.sqrt(bank.rank)
        spread = 0.1 if bank.mixed else 0.0
        arrays[f"bank{index}.gain"] = 1 + spread * rng.normal(size=(rows, bank.rank))
    units = sum(module.dim for module in modules)
    quartic = np.concatenate([
        np.full(module.dim, float(index in (FIRST, SECOND)))
        for index, module in enumerate(modules)
    ])
    arrays.update(h=np.zeros(units), k2=np.ones(units), k4=quartic)
    return Parameters(modules, banks, arrays)


def predict(
    substrate: Substrate, parameters: Parameters, x: Values, t: Values, steps: int, seed: int = 0
) -> Values:
    """Return F (n, 64) that a substrate settles to for noisy images at times t."""
    batch = denoising_batch(x, t, np.zeros_like(x))
    settled = substrate.settle(batch, nudge=0.0, steps=steps, start=None, seed=seed)
    return np.asarray(settled.x.mean(axis=0)[:, parameters.part(OUTPUT)])


def f_mse(
    substrate: Substrate, parameters: Parameters, images: Values, steps: int, seed: int = 1
) -> float:
    """Return the mean square of F - F* over images at the 20 sampling times.

    Noise is ``RandomState(seed)`` as in `pbitstream.diffusion.denoiser.noisy_states`.
    """
    from pbitstream.diffusion.denoiser import noisy_states

    times = schedule.sampling_times()
    states = noisy_states(images, times, np.arange(len(times)), seed)
    assert states.clean is not None
    t = times[states.rows]
    f = predict(substrate, parameters, states.x, t, steps)
    return float(((f - schedule.target(states.clean, states.x, t)) ** 2).mean())

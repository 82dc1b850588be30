"""What the trainings of a denoiser of digits share: their states, an average, held-out figures."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import SAMPLES, SAMPLING_SEEDS, VALIDATION_SEED, grid_states
from pbitstream.diffusion import schedule
from pbitstream.diffusion.distances import frechet_distance, moments
from pbitstream.diffusion.judge import Judge
from pbitstream.diffusion.sampler import sample
from pbitstream.model import Model

__all__ = ["AVERAGE", "Denoises", "drawn_states", "f_mse", "figures", "follow", "kept_figures"]

#: Share of the moving average of weights that an update leaves as it is.
AVERAGE = 0.999


class Denoises(Protocol):
    """A network that is trained."""

    def evaluate(self, x_in: NDArray[np.float64],
                 row: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
        """Return F of inputs (n, 64) at rows of the table of times, and what else there is."""


def drawn_states(images: NDArray[np.float64], draw: np.random.RandomState,
                 count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs, rows of the table of times and wanted F of drawn images at drawn times."""
    times = schedule.sampling_times()
    x0 = images[draw.randint(len(images), size=count)]
    row = draw.randint(len(times), size=count)
    x = schedule.noisy(x0, draw.standard_normal(x0.shape), times[row])
    arrays = (schedule.preconditioning(times).c_in[row][:, None] * x,
              schedule.target(x0, x, times[row]))
    inputs, wanted = (torch.from_numpy(a.astype(np.float32)) for a in arrays)
    return inputs, torch.from_numpy(row), wanted


@torch.no_grad()
def follow(average: torch.nn.Module, net: torch.nn.Module, iteration: int) -> None:
    """Move an average of weights; the first updates weigh more, as it starts from no training."""
    decay = min(AVERAGE, iteration / (iteration + 10))
    for kept, new in zip(average.parameters(), net.parameters()):
        kept.lerp_(new, 1.0 - decay)


def f_mse(net: Denoises, images: NDArray[np.float64]) -> float:
    """Return the mean square of F - F* over the images at the 20 sampling times."""
    states = grid_states(images, VALIDATION_SEED)
    return float(np.mean((net.evaluate(states.x_in, states.row)[0] - states.target) ** 2))


def figures(net: Denoises, validation: NDArray[np.float64]) -> str:
    """Return F-MSE and the Frechet distance of samples to the images that were held out."""
    c_in = schedule.preconditioning(schedule.sampling_times()).c_in
    judge = Judge.open("grey")
    real = moments(judge(validation).features)
    found = []
    for seed in SAMPLING_SEEDS:
        drawn = sample(lambda x, row: net.evaluate(c_in[row] * x, np.full(len(x), row))[0],
                       SAMPLES, seed)
        found.append(frechet_distance(real, moments(judge(drawn).features)))
    seeds = f"sampling seeds {SAMPLING_SEEDS.start} to {SAMPLING_SEEDS.stop - 1}"
    return (f"f_mse {f_mse(net, validation):.4f}, frechet {np.mean(found):.1f} +- "
            f"{np.std(found, ddof=1):.1f} over {seeds}")


def kept_figures(path: str) -> str:
    """Return the figures that a model trained with images held out has kept."""
    return Model.open(path).provenance["validation"]

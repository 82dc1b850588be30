"""Fit the model `digits-k16`: an image-clamped rank-16 bank with gains S(t) and an interface.

Bank (3,392 numbers) and interface (2,560) are fitted together, through the equilibrium of
``equilibrium.py``, on::

    weight * mean((d1 - d1_unet)^2) / scale^2 + (1 - weight) * mean((head(d1) - F*)^2)
    + 100 mean(max(|u| - 5.5, 0)^2)

where u runs over the interface's output, the bank's and their sum: a device holds each within +-8,
and without the last term two large parts cancel. The bank starts from the reduced-rank regression
of d1 on the image (SVD of G^-1/2 cov(x, d1)).

The shipped model, with every choice made on training images that were held out::

    train_unet.py --hold-out --out held-unet     fit_k16.py --unet held-unet --out held
    train_unet.py --out unet                     fit_k16.py --unet unet --validated held --out model
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import safetensors
import safetensors.numpy
import sklearn
import torch
from numpy.typing import NDArray
from torch import Tensor

from data import (
    STATES_SEED,
    TEST_SEED,
    VALIDATION_SEED,
    States,
    grid_states,
    load_split,
    training_images,
)
from equilibrium import TENSORS, interface_inputs, judge, terms
from pbitstream.diffusion import schedule
from unet_torch import UNet, load_unet

RANK = 16
LIMIT = 5.5  # where the penalty on parts of the field begins; 8 is the end of the format
_PAIRS = torch.triu_indices(4, 4)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unet", required=True, help="file written by train_unet.py")
    parser.add_argument("--out", required=True, help="model file to write (.safetensors)")
    parser.add_argument("--weight", type=float, default=0.5, help="of activations (%(default)s)")
    parser.add_argument("--iterations", type=int, default=3000, help="updates (%(default)s)")
    parser.add_argument("--batch", type=int, default=2048, help="states per update (%(default)s)")
    parser.add_argument("--rate", type=float, default=1e-2, help="first step size (%(default)s)")
    parser.add_argument("--draws", type=int, default=4, help="noise draws per state (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="start and batches (%(default)s)")
    parser.add_argument("--validated", help="held-out model whose figures to keep as provenance")
    parser.add_argument("--test", action="store_true", help="judge on the test images at the end")
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.time()
    with safetensors.safe_open(args.unet, "numpy") as file:
        metadata = dict(file.metadata())
        weights = {name: file.get_tensor(name) for name in file.keys()}
    images, validation = training_images(hold_out=metadata.pop("hold_out") == "1")
    states = grid_states(images, STATES_SEED, args.draws)
    net = load_unet(weights)
    d1 = net.evaluate(states.x_in, states.t)[1]
    print(f"{len(d1)} states after {time.time() - started:.0f} s", file=sys.stderr)
    model = {**weights, **fit(states, d1, net, args)}
    for name, shape in TENSORS.items():
        assert model[name].shape == shape, name

    held = {"validation": (validation, VALIDATION_SEED)} if len(validation) else {}
    if args.test:
        held["test"] = (load_split()[1], TEST_SEED)
    metadata["fit"] = (
        f"weight {args.weight}, {args.iterations} updates, batch {args.batch}, Adam {args.rate} "
        f"cosine, {args.draws} noise draws, seed {args.seed}, {len(images)} images"
    )
    metadata["fit.libraries"] = (
        f"torch {torch.__version__}, numpy {np.__version__}, scikit-learn {sklearn.__version__}"
    )
    if args.validated:
        with safetensors.safe_open(args.validated, "numpy") as file:
            kept = {k: v for k, v in file.metadata().items() if "validation" in k}
        metadata.update(kept)
    for name, (judged, seed) in held.items():
        figures = judge(model, grid_states(judged, seed))
        for key, value in figures.items():
            print(f"{name}.{key} {value:.4f}", file=sys.stderr)
        if name == "validation":
            metadata["fit.validation"] = ", ".join(f"{k} {v:.4f}" for k, v in figures.items())
    for key, array in terms(model, states).items():
        print(f"largest |{key}| {np.abs(array).max():.3f}", file=sys.stderr)
    safetensors.numpy.save_file(model, args.out, metadata)
    print(f"wrote {args.out} in {time.time() - started:.0f} s", file=sys.stderr)


def fit(
    states: States, d1: Tensor, net: UNet, args: argparse.Namespace
) -> dict[str, NDArray[np.float64]]:
    """Return the tensors of bank, interface and readout, fitted on `states`."""
    torch.manual_seed(args.seed)
    offset = d1.double().mean(dim=0).float()
    scale = (d1 - offset).double().square().mean().sqrt().float()
    wanted = (d1 - offset) / scale
    target = torch.from_numpy(states.target.astype(np.float32))
    z = torch.from_numpy(interface_inputs(states).astype(np.float32))
    row = torch.from_numpy(states.row)

    left, right = reduced_rank(z[:, :64].double(), wanted.double())
    start = {
        "a": left,
        "b": right,
        "gain": torch.ones(20, RANK),
        "encoder": torch.randn(4, 128) / 128**0.5,
        "transfer": 0.01 * torch.randn(16, 128),
    }
    free = {name: value.float().requires_grad_(True) for name, value in start.items()}
    optimiser = torch.optim.Adam(free.values(), lr=args.rate, betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, args.iterations)
    running = np.zeros(2)
    for iteration in range(1, args.iterations + 1):
        pick = torch.randint(len(z), (args.batch,))
        conditioned, banked = parts_of_field(free, z[pick], row[pick])
        predicted = conditioned + banked
        f = net.head((offset + scale * predicted).reshape(-1, 2, 8, 8)).flatten(1)
        activation = (predicted - wanted[pick]).square().mean()
        denoising = (f - target[pick]).square().mean()
        parts = torch.stack([conditioned, banked, predicted])
        excess = 100.0 * (parts.abs() - LIMIT).clamp(min=0.0).square().mean()
        optimiser.zero_grad(set_to_none=True)
        (args.weight * activation + (1.0 - args.weight) * denoising + excess).backward()
        optimiser.step()
        rate.step()
        step = max(0.01, 1.0 / iteration)
        running += step * (np.array([activation.item(), denoising.item()]) - running)
        if iteration % 1000 == 0 or iteration == args.iterations:
            told = f"{iteration:6d}  R^2 {1.0 - running[0]:.4f}  F-MSE {running[1]:.4f}"
            print(told, file=sys.stderr, flush=True)
    fitted = {name: value.detach().double().numpy() for name, value in free.items()}
    return scaled(fitted, float(scale), offset.double().numpy(), z.double().numpy())


def reduced_rank(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (64, k) and B (128, k) of the best rank-k map y = B A^T x in least squares."""
    x = x - x.mean(dim=0)
    values, vectors = torch.linalg.eigh(x.T @ x / len(x))
    whiten = vectors @ torch.diag(values.clamp(min=1e-4 * values.max()) ** -0.5) @ vectors.T
    left, gains, right = torch.linalg.svd(whiten @ (x.T @ y / len(x)), full_matrices=False)
    return whiten @ left[:, :RANK], right[:RANK].T * gains[:RANK]


def parts_of_field(free: dict[str, Tensor], z: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Return C^T phi(E z) and B diag(S(t)) A^T x: the torch twin of ``equilibrium.terms``."""
    y = z @ free["encoder"].T
    pairs = y[:, _PAIRS[0]] * y[:, _PAIRS[1]]
    phi = torch.cat([torch.ones_like(y[:, :1]), y, pairs, y.prod(dim=1, keepdim=True)], dim=1)
    driven = free["gain"][row] * (z[:, :64] @ free["a"])
    return phi @ free["transfer"], driven @ free["b"].T


def scaled(
    fitted: dict[str, NDArray[np.float64]],
    scale: float,
    offset: NDArray[np.float64],
    z: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Bring every tensor into the range of its fixed-point format without changing the map.

    Columns of A and B get a largest magnitude of 1, the gains absorb the rest; each |y_i| reaches 2
    on the training states, the rows of C absorb the rest.
    """
    a_size, b_size = np.abs(fitted["a"]).max(axis=0), np.abs(fitted["b"]).max(axis=0)
    y_size = np.abs(z @ fitted["encoder"].T).max(axis=0) / 2.0
    pairs = np.triu_indices(4)
    powers = np.concatenate([[1.0], y_size, y_size[pairs[0]] * y_size[pairs[1]], [y_size.prod()]])
    return {
        "bank.a": fitted["a"] / a_size,
        "bank.b": fitted["b"] / b_size,
        "bank.gain": fitted["gain"] * (a_size * b_size),
        "interface.encoder": fitted["encoder"] / y_size[:, None],
        "interface.transfer": fitted["transfer"] * powers[:, None],
        "readout.scale": np.array([scale]),
        "readout.offset": offset,
        "times": schedule.sampling_times(),
        "time_frequencies": schedule.time_frequencies(),
    }


if __name__ == "__main__":
    main()

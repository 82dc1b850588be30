"""Train encoder, banks, local bands, interface and head together, through the equilibrium.

The loss is the mean square of F - F* at the 20 sampling times, F from the exact equilibrium of
``codesign_torch.py``, and ``100 mean(max(|u| - 6, 0)^2)`` over everything that a device holds
within +-8. AdamW with a one-cycle rate; the weights written are their exponential moving average.

The shipped model, with every choice made on training images that were held out, and the same
without local bands, to compare::

    train_codesign.py --hold-out --out held
    train_codesign.py --validated held --out model        judge_codesign.py model
    train_codesign.py --no-local --out narrow             judge_codesign.py narrow

The model is copied into the package as it is: its program is compiled when it is opened. A run
takes 5 minutes on one idle core.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray

from codesign_torch import SUBSTRATE, Codesign
from data import STATES_SEED, grid_states, training_images
from denoising import AVERAGE, drawn_states, f_mse, figures, follow, kept_figures
from pbitstream.diffusion import schedule
from pbitstream.diffusion.codesign import CodesignedDenoiser, calibrated
from pbitstream.diffusion.denoiser import noisy_states
from pbitstream.model import Model

CALIBRATION_SEED = 4
CALIBRATION_IMAGES = 400
LIMIT = 6.0  # where the penalty on what a device holds begins; 8 is the end of the format


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="model file to write (.safetensors)")
    parser.add_argument("--hold-out", action="store_true", help="keep 287 training images back")
    parser.add_argument("--rank", type=int, default=16, help="of each bank (%(default)s)")
    parser.add_argument("--no-local", action="store_true", help="low-rank banks alone")
    parser.add_argument("--iterations", type=int, default=12000, help="updates (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="states per update (%(default)s)")
    parser.add_argument("--rate", type=float, default=2e-3, help="top step size (%(default)s)")
    parser.add_argument("--decay", type=float, default=0.01, help="of weights (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and noise (%(default)s)")
    parser.add_argument("--validated", help="held-out model whose figures to keep as provenance")
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.time()
    images, validation = training_images(hold_out=args.hold_out)
    net = train(images, validation, args)
    states = grid_states(images, STATES_SEED)
    counts = {name: sum(p.numel() for n, p in net.named_parameters() if n.startswith(name))
              for name in SUBSTRATE}
    # Of the square matrices that are trained, the neighbours' weights alone exist.
    counts["local"] = int(net.near.sum()) * len(net.local)
    digital = sum(p.numel() for n, p in net.named_parameters() if not n.startswith(SUBSTRATE))
    provenance = {
        "generator": "codesign",
        "training": f"rank {args.rank}, local {int(not args.no_local)}, {args.iterations} updates, "
        f"batch {args.batch}, AdamW {args.rate} one cycle, decay {args.decay}, EMA {AVERAGE}, "
        f"seed {args.seed}, {len(images)} images",
        "numbers": f"digital {digital}, " + ", ".join(f"{k} {v}" for k, v in counts.items()),
        "libraries": f"torch {torch.__version__}, numpy {np.__version__}, "
        f"scikit-learn {sklearn.__version__}",
        "source": "UCI optical digits, CC BY 4.0",
    }
    if args.hold_out:
        provenance["validation"] = figures(net, validation)
        print(provenance["validation"], file=sys.stderr)
    if args.validated:
        provenance["validation"] = kept_figures(args.validated)
    times = schedule.sampling_times()
    calibration = noisy_states(images[:CALIBRATION_IMAGES], times, np.arange(len(times)),
                               seed=CALIBRATION_SEED)
    model = calibrated(Model(net.tensors(states.x_in, states.row), provenance), calibration)
    apart = twins_apart(net, model, images[:20])
    if apart > 1e-3:
        raise RuntimeError(f"NumPy and torch differ by {apart} in F")
    model.save(Path(args.out))
    print(f"wrote {args.out} in {time.time() - started:.0f} s; NumPy and torch differ by "
          f"{apart:.1e} in F; {provenance}", file=sys.stderr)


def train(
    images: NDArray[np.float64], validation: NDArray[np.float64], args: argparse.Namespace
) -> Codesign:
    """Return the moving average of the weights after `args.iterations` updates."""
    torch.manual_seed(args.seed)
    draw = np.random.RandomState(args.seed)
    # The faster order of tensors for convolutions this thin.
    net = Codesign(args.rank, local=not args.no_local).to(memory_format=torch.channels_last)
    average = copy.deepcopy(net).requires_grad_(False)
    digital = [p for n, p in net.named_parameters() if not n.startswith(SUBSTRATE)]
    substrate = [p for n, p in net.named_parameters() if n.startswith(SUBSTRATE)]
    groups = [{"params": digital, "weight_decay": args.decay},
              {"params": substrate, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, args.iterations,
                                               pct_start=0.03)
    running, started = 1.0, time.time()
    for iteration in range(1, args.iterations + 1):
        inputs, row, wanted = drawn_states(images, draw, args.batch)
        f, _, held = net(inputs, row)
        error = (f - wanted).square().mean()
        excess = sum((u.abs() - LIMIT).clamp(min=0.0).square().mean() for u in held)
        optimiser.zero_grad(set_to_none=True)
        (error + 100.0 * excess).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        rate.step()
        follow(average, net, iteration)
        running += 0.01 * (error.item() - running)
        if iteration % 1000 == 0 or iteration == args.iterations:
            told = f", validation {f_mse(average, validation):.4f}" if len(validation) else ""
            print(f"{iteration:6d}  {time.time() - started:.0f} s, train {running:.4f}{told}",
                  file=sys.stderr, flush=True)
    return average


def twins_apart(net: Codesign, model: Model, images: NDArray[np.float64]) -> float:
    """Return the largest difference between the two forward passes, in F."""
    times = model["times"]
    states = noisy_states(images, times, np.arange(len(times)))
    denoiser = CodesignedDenoiser.of(model)
    numpy_f = denoiser.decode(denoiser.equilibrium(states), states)[0]
    torch_f = net.evaluate(denoiser.scaled(states), states.rows)[0]
    return float(np.abs(numpy_f - torch_f).max())


if __name__ == "__main__":
    main()

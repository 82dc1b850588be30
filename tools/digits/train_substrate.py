"""Train the denoiser without an encoder, through the equilibrium of its free units.

The loss is the mean square of F - F* at the 20 sampling times, and three penalties, with k2 = 1::

    5 max(lambda_max(J) - .87, 0)              keeps the energy strictly convex
    .5 max(-6 - lambda_min(J), 0)              allows a larger step, and so does
    .2 mean(max(k4^(1/2) x^2 - 5, 0)^2)

AdamW with a one-cycle rate; what a weight adds to the stencil that all pixels share decays. What is
written is the moving average, which is as convex as what it averages; its eigenvalues are computed,
and a model that is not strictly convex is refused.

The shipped model, with every choice made on training images that were held out::

    train_substrate.py --hold-out --out held
    train_substrate.py --validated held --out model        judge_substrate.py model

The model is copied into the package as it is: its program is compiled when it is opened. A run
takes 10 minutes on one idle core.
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
from torch import Tensor

from data import STATES_SEED, grid_states, training_images
from denoising import AVERAGE, drawn_states, f_mse, figures, follow, kept_figures
from pbitstream.diffusion.denoiser import noisy_states
from pbitstream.diffusion.substrate import SubstrateDenoiser
from pbitstream.model import Model
from substrate_torch import Substrate

CALIBRATION_IMAGES = 400
#: Largest eigenvalue of J that costs nothing, and that a model may have; 1 is the end of convexity.
EIGENVALUE, LARGEST_EIGENVALUE = 0.87, 0.97
#: Smallest eigenvalue of J that costs nothing; below, only a smaller step would be stable.
LOWEST = -6.0
#: Largest k4^(1/2) x^2 that costs nothing; three times it is what a quartic term adds to a step's
#: stiffness once units are scaled to one k4.
STRETCH = 5.0
#: Iterations after which the vectors of both are found anew; in between they are followed.
RENEWED = 100


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="model file to write (.safetensors)")
    parser.add_argument("--hold-out", action="store_true", help="keep 287 training images back")
    parser.add_argument("--maps", type=int, default=4, help="of 2 x 8 x 8 units (%(default)s)")
    parser.add_argument("--spread", type=int, default=64, help="units of z (%(default)s)")
    parser.add_argument("--rank", type=int, default=24, help="of each bank of z (%(default)s)")
    parser.add_argument("--gates", type=int, default=4, help="copies of the image (%(default)s)")
    parser.add_argument("--clocks", type=int, default=6, help="numbers for time (%(default)s)")
    parser.add_argument("--iterations", type=int, default=6000, help="updates (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="states per update (%(default)s)")
    parser.add_argument("--rate", type=float, default=1e-2, help="top step size (%(default)s)")
    parser.add_argument("--decay", type=float, default=0.1, help="of one place's (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and noise (%(default)s)")
    parser.add_argument("--validated", help="held-out model whose figures to keep as provenance")
    args = parser.parse_args()

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    started = time.time()
    images, validation = training_images(hold_out=args.hold_out)
    net = train(images, validation, args)
    save(net, images, validation, args)
    Path(f"{args.out}.partial").unlink()
    print(f"done in {time.time() - started:.0f} s", file=sys.stderr)


def save(
    net: Substrate, images: NDArray[np.float64], validation: NDArray[np.float64],
    args: argparse.Namespace,
) -> None:
    """Write the model with its provenance; RuntimeError if its energy is not strictly convex."""
    with torch.no_grad():
        lowest, *_, highest = torch.linalg.eigvalsh(net.coupling().double()).tolist()
    if highest > LARGEST_EIGENVALUE:
        raise RuntimeError(f"the largest eigenvalue of J is {highest}, not below "
                           f"{LARGEST_EIGENVALUE}; train longer or with a smaller rate")
    counts = net.numbers()
    provenance = {
        "generator": "substrate",
        "training": f"{args.maps} maps, spread {args.spread}, rank {args.rank}, {args.gates} gates,"
        f" {args.clocks} clocks, {args.iterations} updates, batch {args.batch}, AdamW {args.rate} "
        f"one cycle, decay {args.decay}, EMA {AVERAGE}, seed {args.seed}, {len(images)} images",
        "numbers": f"{sum(counts.values())}: "
        + ", ".join(f"{name} {count}" for name, count in counts.items()),
        "eigenvalues": f"of J in units of k2: {lowest:.3f} to {highest:.3f}",
        "libraries": f"torch {torch.__version__}, numpy {np.__version__}, "
        f"scikit-learn {sklearn.__version__}",
        "source": "UCI optical digits, CC BY 4.0",
    }
    if args.hold_out:
        provenance["validation"] = figures(net, validation)
    if args.validated:
        provenance["validation"] = kept_figures(args.validated)
    states = grid_states(images[:CALIBRATION_IMAGES], STATES_SEED)
    model = Model(net.tensors(states.x_in, states.row), provenance)
    apart = twins_apart(net, model, images[:20])
    if apart > 1e-3:
        raise RuntimeError(f"NumPy and torch differ by {apart} in F")
    model.save(Path(args.out))
    print(f"wrote {args.out}; NumPy and torch differ by {apart:.1e} in F; {provenance}",
          file=sys.stderr)


def train(
    images: NDArray[np.float64], validation: NDArray[np.float64], args: argparse.Namespace
) -> Substrate:
    """Return the moving average of the weights after `args.iterations` updates."""
    torch.manual_seed(args.seed)
    draw = np.random.RandomState(args.seed)
    net = Substrate(args.maps, args.spread, args.rank, args.gates, args.clocks)
    average = copy.deepcopy(net).requires_grad_(False)
    print(f"{sum(net.numbers().values())} numbers: {net.numbers()}", file=sys.stderr)
    own = [net.own, net.image_own]
    rest = [p for p in net.parameters() if not any(p is q for q in own)]
    groups = [{"params": own, "weight_decay": args.decay}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=args.rate, betas=(0.9, 0.99))
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, args.iterations,
                                               pct_start=0.05)
    running, started = 1.0, time.time()
    top = bottom = torch.zeros(net.units)
    for iteration in range(1, args.iterations + 1):
        inputs, row, wanted = drawn_states(images, draw, args.batch)
        f, units, j = net(inputs, row)
        error = (f - wanted).square().mean()
        if iteration % RENEWED == 1:
            vectors = torch.linalg.eigh(j.detach())[1]
            top, bottom = vectors[:, -1], vectors[:, 0]
        top, bottom = climbed(top, j), climbed(bottom, -j)
        excess = (top @ (j @ top) - EIGENVALUE).clamp(min=0.0)
        excess = 5.0 * excess + 0.5 * (LOWEST - bottom @ (j @ bottom)).clamp(min=0.0)
        stretch = (net.k4.sqrt() * units.square() - STRETCH).clamp(min=0.0).square().mean()
        optimiser.zero_grad(set_to_none=True)
        (error + excess + 0.2 * stretch).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        rate.step()
        follow(average, net, iteration)
        running += 0.01 * (error.item() - running)
        if iteration % 500 == 0 or iteration == args.iterations:
            told = f", validation {f_mse(average, validation):.4f}" if len(validation) else ""
            print(f"{iteration:6d}  {time.time() - started:.0f} s, train {running:.4f}, "
                  f"eigenvalues {float(bottom @ (j.detach() @ bottom)):.2f} to "
                  f"{float(top @ (j.detach() @ top)):.3f}{told}",
                  file=sys.stderr, flush=True)
            torch.save(average.state_dict(), f"{args.out}.partial")
    return average


@torch.no_grad()
def climbed(v: Tensor, j: Tensor) -> Tensor:
    """Return the vector three power iterations on, towards the largest eigenvalue of J."""
    for _ in range(3):
        v = j @ v - LOWEST * v  # the other end of J stays below in size
        v = v / v.norm()
    return v


def twins_apart(net: Substrate, model: Model, images: NDArray[np.float64]) -> float:
    """Return the rms difference of F between the equilibria; torch stops after few iterations."""
    times = model["times"]
    states = noisy_states(images, times, np.arange(len(times)))
    denoiser = SubstrateDenoiser.of(model)
    numpy_f = denoiser.decode(denoiser.equilibrium(states), states)[0]
    torch_f = net.evaluate(denoiser.scaled(states), states.rows)[0]
    return float(np.sqrt(((numpy_f - torch_f) ** 2).mean()))


if __name__ == "__main__":
    main()

"""Train the generators of digits made of p-bits, and write them into the package.

    python tools/digits/train_pbit.py digits-pbit              binary pixels, labels, one step
    python tools/digits/train_pbit.py digits-pbit-chain        binary pixels, two reverse steps
    python tools/digits/train_pbit.py digits-grey              four grey levels, labels
    python tools/digits/train_pbit.py digits-grey-unlabelled   four grey levels, clusters
    python tools/digits/train_pbit.py NAME --hold-out          what choices were made on

The recipe is in ``pbit_recipe.py``; NumPy alone trains a model in 10 to 60 s. Rank, band, length of
training and decay were chosen by the figures that ``--hold-out`` prints: a model of 1,150 images
draws on the emulator, in the integers that ship, and is compared with the other 287. Test images
take no part. Of the chain's images .030 equal a fitted one, of the 287 .028; rank 32, no band and
beta 1 draw at the same distance, but .047 of copies. The code without labels is the cluster, by
k-means, that an image's spins fall in: it needs no label either.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sklearn

from data import HELD_OUT
from pbit_recipe import MAPS, SIDE, Machine, Recipe, train
from pbitstream.diffusion.controls import k_means
from pbitstream.diffusion.digits import training_digits
from pbitstream.diffusion.generation import (
    GenerationMetrics,
    Reference,
    generation_metrics,
)
from pbitstream.diffusion.generators.judging import summary
from pbitstream.diffusion.generators.pbit import PbitGenerator
from pbitstream.diffusion.judge import Judge
from pbitstream.emulator.device import Emulator
from pbitstream.model import FOLDER, Model

PIXELS = SIDE * SIDE
#: Where the p-bits of a pixel change sign, in [-1, 1]: 8 of 16, or 2.67, 8 and 13.33.
THRESHOLDS = {"binary": (0.0,), "grey": (-2 / 3, 0.0, 2 / 3)}
#: Of every relaxation in training; what draws a grey model then averages four more.
SWEEPS = 15
CLUSTERS = 20
#: Of validation: image sets, and images of each.
SEEDS, COUNT = range(10, 20), 600


class Choice(NamedTuple):
    """What a model is."""

    judge: str
    code: str  # labels, k-means or none
    rho: tuple[float, ...]  # correlation with clean spins at t = 0, 1, ... T
    rank: tuple[int, ...]  # of the couplings of steps t = 1, ... T
    band: bool
    iterations: int
    decay: float = 1e-3
    average: float = 0.995
    clusters: int = CLUSTERS
    beta: float = 1.0  # at which step t = 1 is drawn; it is trained at 1


MODELS = {
    "digits-pbit": Choice("binary", "labels", (1.0, 0.0), (8,), True, 2000),
    "digits-pbit-chain": Choice("binary", "none", (1.0, 0.55, 0.0), (20, 24), True, 5000,
                                average=0.998, beta=0.9),
    "digits-grey": Choice("grey", "labels", (1.0, 0.0), (32,), False, 2000),
    "digits-grey-unlabelled": Choice("grey", "k-means", (1.0, 0.0), (32,), False, 2000),
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=MODELS, help="the model")
    parser.add_argument("--hold-out", action="store_true",
                        help=f"keep {HELD_OUT} training images back, print figures")
    parser.add_argument("--out", type=Path, help="file to write (.safetensors); by default the "
                        "package's, with --hold-out none")
    parser.add_argument("--seed", type=int, default=0, help="of start and batches (%(default)s)")
    parser.add_argument("--rank", type=int, nargs="+", help="instead of that of the shipped model, "
                        "for every step from the image to noise")
    for name, kind in (("iterations", int), ("decay", float), ("average", float),
                       ("clusters", int), ("beta", float)):
        parser.add_argument(f"--{name}", type=kind, help="likewise")
    parser.add_argument("--code", choices=("labels", "k-means", "none"), help="likewise")
    parser.add_argument("--band", action=argparse.BooleanOptionalAction, help="likewise")
    args = parser.parse_args()
    other = {name: value for name in Choice._fields
             if (value := getattr(args, name, None)) is not None}
    if not args.hold_out and args.out is None and (other or args.seed != 0):
        parser.error("what ships has fixed choices: others need --hold-out or --out")
    choice = MODELS[args.name]._replace(**other)
    if len(choice.rank) != len(choice.rho) - 1:
        parser.error(f"--rank must have one number for every step, {len(choice.rho) - 1}, not "
                     f"{len(choice.rank)}")
    if choice.band and choice.judge == "grey":
        parser.error("--band joins one p-bit per pixel, and a grey model has three")

    started = time.time()
    images, labels = training_digits()
    used = len(images) - HELD_OUT if args.hold_out else len(images)
    model = fit(images[:used], labels[:used], choice, args.seed)
    print(f"{args.name}: {time.time() - started:.0f} s; {model.provenance['training']}",
          file=sys.stderr)
    if args.hold_out:
        validate(model, images[:used], images[used:])
    path = args.out or (None if args.hold_out else FOLDER / f"{args.name}.safetensors")
    if path is not None:
        model.save(path)
        print(f"wrote {path} ({path.stat().st_size} bytes)", file=sys.stderr)


def fit(images: np.ndarray, labels: np.ndarray, choice: Choice, seed: int) -> Model:
    """Return the model trained on all of `images`."""
    spins = np.concatenate([np.where(images > at, 1, -1) for at in THRESHOLDS[choice.judge]],
                           axis=1).astype(np.float32)
    codes: dict[str, Callable[[], np.ndarray]] = {
        "labels": lambda: labels,
        "none": lambda: np.zeros(len(images), np.int64),
        "k-means": lambda: k_means(spins, choice.clusters, seed),
    }
    code = codes[choice.code]()
    count = int(code.max()) + 1
    frequency = np.bincount(code, minlength=count) / len(code)
    if choice.code == "labels":  # those are drawn uniformly
        frequency = np.full(count, 1.0 / count)
    tensors = {"code.frequency": frequency, "levels": levels(images, spins)}
    for t, rank in enumerate(choice.rank, 1):
        recipe = Recipe(choice.iterations, rank, choice.band, sweeps=SWEEPS, decay=choice.decay,
                        average=choice.average)
        rho = choice.rho[t - 1], choice.rho[t]
        machine = train(spins, code, count, rho, recipe, [seed, t])
        shipped = tensors_of(machine, choice.beta if t == 1 else 1.0)
        tensors |= {f"t{t}.{name}": array for name, array in shipped.items()}
    return Model(tensors, {
        "generator": "pbit",
        "judge": choice.judge,
        "code": choice.code,
        **({"burn_in": str(SWEEPS - 1), "steps": "1"} if choice.judge == "binary"
           else {"burn_in": str(SWEEPS), "steps": "4"}),
        "training": f"{choice.iterations} updates a step, rank "
        f"{', '.join(map(str, choice.rank))}{' and 3x3 band' if choice.band else ''}, "
        f"{f'{choice.clusters} clusters, ' if choice.code == 'k-means' else ''}"
        f"rho {', '.join(f'{r:g}' for r in choice.rho)}, decay {choice.decay:g}, average "
        f"{choice.average:g}, {f'beta {choice.beta:g}, ' if choice.beta != 1.0 else ''}"
        f"seed {seed}, {len(images)} images",
        "libraries": f"numpy {np.__version__}, scikit-learn {sklearn.__version__}",
        "source": "UCI optical digits, CC BY 4.0",
    })


def levels(images: np.ndarray, spins: np.ndarray) -> np.ndarray:
    """Return the pixel that every count of +1 among its p-bits stands for.

    Of a grey model the mean over the training images; a binary one is all or nothing.
    """
    if spins.shape[1] == PIXELS:
        return np.array([-1.0, 1.0])
    counts = (spins.reshape(len(images), -1, PIXELS) > 0).sum(axis=1)
    return np.array([images[counts == n].mean() for n in range(counts.max() + 1)])


def tensors_of(machine: Machine, beta: float) -> dict[str, np.ndarray]:
    """Return what ships of a step: bias tables with a row per code, factors, band by offset.

    The energy of these is that of the machine times `beta`.
    """
    p = machine.arrays
    tensors = {"visible.bias": beta * (p["a"] + p["p"]), "hidden.bias": beta * (p["b"] + p["q"]),
               "bank.a": beta * p["u"], "bank.b": p["w"]}
    if "l" in p:
        tensors["band.offsets"], tensors["band.weights"] = banded(beta * p["l"])
    if "g" in p:
        tensors |= {"clamped.diagonal": beta * p["g"], "clamped.a": beta * p["un"],
                    "clamped.b": p["wn"]}
    return tensors


def banded(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets o and weights w_o[i] of couplings (v, h): h_i sees x_(i + o)."""
    visible, hidden = band.shape
    near = [SIDE * row + column for row in (-1, 0, 1) for column in (-1, 0, 1)]
    offsets = [o - PIXELS * n for n in range(MAPS) for o in near]
    weights = np.zeros((len(offsets), hidden), band.dtype)
    for row, o in enumerate(offsets):
        i = np.arange(max(0, -o), min(hidden, visible - o))
        weights[row, i] = band[i + o, i]
    return np.array(offsets, np.int16), weights


def validate(model: Model, fitted: np.ndarray, held: np.ndarray) -> None:
    """Print the figures of samples against the held-out images, and those of the fitted images."""
    generator = PbitGenerator(model)
    judge = Judge.open(generator.judge)
    reference = Reference(judge(held), *judge.training)

    def figures(images: np.ndarray, labels: np.ndarray | None = None) -> GenerationMetrics:
        return generation_metrics(judge, images, labels=labels, training=fitted,
                                  reference=reference, resamples=2)

    rows: dict[str, list[GenerationMetrics]] = {"drawn": [], "fitted images": []}
    with Emulator() as device:
        for seed in SEEDS:
            drawn = generator.draw(device, COUNT, seed=seed)
            rows["drawn"].append(figures(drawn.images, drawn.labels))
            order = np.random.default_rng(seed).permutation(len(fitted))
            rows["fitted images"].append(figures(fitted[order[:COUNT]]))
    rows["held-out images"] = [figures(held)]
    for name, found in rows.items():
        told = {key: f"{value['mean']:.4g} +- {value['deviation'] or 0.0:.2g}"
                for key, value in summary(found).items() if value is not None}
        print(f"{name}: {told}")


if __name__ == "__main__":
    main()

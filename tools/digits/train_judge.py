"""Train the classifiers that judge generated digits, and write them into the package.

    python tools/digits/train_judge.py --hold-out      what choices were made on
    python tools/digits/train_judge.py                 writes digits-judge and digits-judge-binary

A judge is two 3x3 convolutions, a 2 x 2 maximum, 64 ReLU units whose outputs are the features, and
a linear layer to ten labels; `Judge` of `pbitstream.diffusion.judge` is its twin in NumPy. AdamW
with a cosine rate, half of the features dropped in training, seed 0. The binary one sees pixels
above 0 as +1 and the rest as -1.

A Frechet distance is in squared units of the features, which grow with the length of training and
shrink with decay; so these set its unit. They were chosen, with the drop-out, on the 287 images
held out of training: by accuracy, and by the distance between real images, which is to be near
that of the known judges (about 11 grey, 7 binary). Test images and models take no part. The file
holds the features of the training images, as bytes, for the distance inside a class and for the
control of real images.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import sklearn
import torch
from torch import nn

from data import HELD_OUT
from pbitstream.diffusion.digits import training_digits
from pbitstream.diffusion.distances import frechet_distance, moments
from pbitstream.diffusion.judge import KINDS, Judge
from pbitstream.model import FOLDER, Model

SEED = 0
BATCH = 64
RATE = 2e-3
DROPPED = 0.5
EPOCHS = 60
DECAY = {"grey": 0.01, "binary": 0.3}


class Classifier(nn.Module):
    """Two convolutions, 64 features, ten labels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.features = nn.Linear(32 * 4 * 4, 64)
        self.labels = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features (n, 64) and the logarithms of unscaled probabilities (n, 10)."""
        h = torch.relu(self.first(x.reshape(-1, 1, 8, 8)))
        h = torch.max_pool2d(torch.relu(self.second(h)), 2)
        features = torch.relu(self.features(h.flatten(1)))
        kept = nn.functional.dropout(features, DROPPED, self.training)
        return features, self.labels(kept)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hold-out", action="store_true",
                        help=f"keep {HELD_OUT} training images back, print figures, write nothing")
    parser.add_argument("--kind", choices=KINDS, help="one of the two (both)")
    parser.add_argument("--decay", type=float, help="instead of that of the shipped judges")
    parser.add_argument("--seed", type=int, default=SEED, help="of weights and order (%(default)s)")
    args = parser.parse_args()
    if not args.hold_out and (args.decay is not None or args.seed != SEED):
        parser.error("--decay and --seed need --hold-out: what ships has fixed ones")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    images, labels = training_digits()
    used = len(images) - HELD_OUT if args.hold_out else len(images)
    for kind in (args.kind,) if args.kind else KINDS:
        started = time.time()
        decay = DECAY[kind] if args.decay is None else args.decay
        net = train(shown(images[:used], kind), labels[:used], decay, args.seed)
        judge = export(net, kind, images[:used], labels[:used], decay)
        seconds = time.time() - started
        if args.hold_out:
            print(f"{kind}, decay {decay}: {seconds:.0f} s, {validation(judge, images, labels)}")
            continue
        path = FOLDER / f"{judge.file_name}.safetensors"
        judge.model.save(path)
        print(f"wrote {path} ({path.stat().st_size} bytes) in {seconds:.0f} s", file=sys.stderr)


def shown(images: np.ndarray, kind: str) -> np.ndarray:
    """Return what a judge of this kind sees of some images."""
    return np.where(images > 0, 1.0, -1.0) if kind == "binary" else images


def train(images: np.ndarray, labels: np.ndarray, decay: float, seed: int) -> Classifier:
    """Return the classifier after 60 passes over the images in whole batches."""
    torch.manual_seed(seed)
    draw = np.random.RandomState(seed)
    net = Classifier()
    x, y = torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
    batches = len(images) // BATCH
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=decay)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * batches)
    for _ in range(EPOCHS):
        order = draw.permutation(len(images))[: batches * BATCH].reshape(batches, BATCH)
        for batch in order:
            _, logits = net(x[batch])
            loss = nn.functional.cross_entropy(logits, y[batch])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            rate.step()
    return net.eval()


def export(
    net: Classifier, kind: str, images: np.ndarray, labels: np.ndarray, decay: float
) -> Judge:
    """Return the judge with the features of its training images; checks the twins' agreement."""
    tensors = {name: p.detach().numpy().copy() for name, p in net.named_parameters()}
    with torch.no_grad():
        features, logits = net(torch.from_numpy(shown(images, kind).astype(np.float32)))
    scale = float(features.max()) / 255.0
    tensors["training.features"] = np.round(features.numpy() / scale).astype(np.uint8)
    tensors["training.scale"] = np.array([scale], np.float32)
    tensors["training.labels"] = labels.astype(np.uint8)
    provenance = {
        "judge": kind,
        "training": f"{EPOCHS} epochs, batch {BATCH}, AdamW {RATE} cosine, decay {decay}, "
        f"half of the features dropped, seed {SEED}, {len(images)} images",
        "libraries": f"torch {torch.__version__}, numpy {np.__version__}, "
        f"scikit-learn {sklearn.__version__}",
        "source": "UCI optical digits, CC BY 4.0",
    }
    judge = Judge(Model(tensors, provenance))
    twin = judge(images)
    apart = float(np.abs(twin.features - features.numpy()).max())
    likely = float(np.abs(twin.probabilities - logits.softmax(1).numpy()).max())
    if apart > 1e-4 or likely > 1e-4:
        raise RuntimeError(f"NumPy and torch differ by {apart} in features, {likely} in labels")
    print(f"{kind}: NumPy and torch differ by {apart:.1e} in features, {likely:.1e} in "
          "probabilities", file=sys.stderr)
    return judge


def validation(judge: Judge, images: np.ndarray, labels: np.ndarray) -> str:
    """Return the figures of a judge on the images that were held out of its training."""
    cut = len(images) - HELD_OUT
    held, seen = judge(images[cut:]), judge(images[:cut])
    draw = np.random.RandomState(1)
    apart = [frechet_distance(moments(seen.features[draw.permutation(cut)[:600]]),
                              moments(held.features)) for _ in range(6)]
    right = float((held.labels == labels[cut:]).mean())
    return (f"accuracy {right:.4f}, confidence {held.probabilities.max(axis=1).mean():.3f}, "
            f"real images {np.mean(apart):.1f} +- {np.std(apart, ddof=1):.1f}")


if __name__ == "__main__":
    main()

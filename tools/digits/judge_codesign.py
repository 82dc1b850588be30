"""Judge a model of train_codesign.py on the test images: the last look, after every choice.

    python tools/digits/judge_codesign.py FLOAT_MODEL

prints F-MSE of the emulated substrate beside the exact equilibrium and the controls, then the
Frechet distance of 600 images drawn in 20 DDIM steps to the 360 test images, at six sampling seeds:
by the digital U-Net of digits-k16, by the exact equilibrium in float, and by the emulator.
"""

import argparse
from pathlib import Path

import numpy as np

from data import SAMPLES, SAMPLING_SEEDS, load_split
from pbitstream import Emulator
from pbitstream.diffusion.codesign import CodesignedDenoiser
from pbitstream.diffusion.denoiser import noisy_states
from pbitstream.diffusion.distances import frechet_distance, moments
from pbitstream.diffusion.evaluation import evaluate
from pbitstream.diffusion.generators.diffusion import (
    DiffusionGenerator,
    digital_images,
    equilibrium_images,
)
from pbitstream.diffusion.judge import Judge
from pbitstream.model import Model, shipped


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("float_model", type=Path, help="file written by train_codesign.py")
    denoiser = CodesignedDenoiser.of(Model.open(parser.parse_args().float_model))
    unet = Model.open(shipped("digits-k16"))
    test, rows = load_split()[1], np.arange(len(denoiser.times))
    judge = Judge.open("grey")
    real = moments(judge(test).features)
    found = []
    with Emulator() as device:
        states = noisy_states(test, denoiser.times, rows)
        for name, figures in evaluate(denoiser, device, states, rows).metrics.items():
            print(f"{name}: f_mse {figures.f_mse:.4f}, r2 {figures.r2:.4f}")
        for seed in SAMPLING_SEEDS:
            drawn = DiffusionGenerator(denoiser).draw(device, SAMPLES, seed=seed)
            ways = {
                "U-Net": digital_images(unet, SAMPLES, seed),
                "equilibrium": equilibrium_images(denoiser, SAMPLES, seed),
                "Langevin": drawn.images,
            }
            distances = {name: frechet_distance(real, moments(judge(images).features))
                         for name, images in ways.items()}
            found.append(list(distances.values()))
            told = ", ".join(f"{name} {value:.2f}" for name, value in distances.items())
            print(f"seed {seed}: {told}; clips {sum(drawn.clips.values())}", flush=True)
    for name, values in zip(distances, np.transpose(found)):
        print(f"{name}: {values.mean():.2f} +- {values.std(ddof=1):.2f}")


if __name__ == "__main__":
    main()

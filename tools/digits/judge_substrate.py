"""Judge a model of train_substrate.py on the test images: the last look, after every choice.

    python tools/digits/judge_substrate.py MODEL

prints the proof that its equilibrium is unique, F-MSE of the emulated substrate beside the exact
equilibrium and the controls, at T = 0, and with twice the burn-in and window, then the Frechet
distance of 600 images drawn in 20 DDIM steps to the 360 test images, at six sampling seeds: by the
digital U-Net of digits-k16, by the exact equilibrium in float, and by the emulator.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from data import SAMPLES, SAMPLING_SEEDS, load_split
from pbitstream import Emulator
from pbitstream.diffusion.denoiser import noisy_states
from pbitstream.diffusion.distances import frechet_distance, moments
from pbitstream.diffusion.evaluation import evaluate
from pbitstream.diffusion.generators.diffusion import (
    DiffusionGenerator,
    digital_images,
    equilibrium_images,
)
from pbitstream.diffusion.judge import Judge
from pbitstream.diffusion.substrate import SubstrateDenoiser
from pbitstream.model import Model, shipped

#: Every so manieth test image is looked at when settings are compared; all count in the figure.
EVERY = 6


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="file written by train_substrate.py")
    denoiser = SubstrateDenoiser.of(Model.open(parser.parse_args().model))
    program = denoiser.program
    print(f"{program}\n{program.margins()}\n{program.cost()}\n{dict(program.provenance)}")
    unet = Model.open(shipped("digits-k16"))
    test, rows = load_split()[1], np.arange(len(denoiser.times))
    judge = Judge.open("grey")
    real = moments(judge(test).features)
    found = []
    with Emulator() as device:
        states = noisy_states(test, denoiser.times, rows)
        whole = evaluate(denoiser, device, states, rows)
        for name, figures in whole.metrics.items():
            print(f"{name}: f_mse {figures.f_mse:.4f}, r2 {figures.r2:.4f}")
        print(f"clips {whole.saturated}, standard error {whole.standard_error:.4f}, "
              f"tau {whole.autocorrelation_time}", flush=True)
        states = noisy_states(test[::EVERY], denoiser.times, rows)
        for temperature, factor in ((None, 1), (0.0, 1), (None, 2)):
            few = evaluate(denoiser, device, states, rows, temperature=temperature,
                           burn_in=factor * program.burn_in, steps=factor * program.steps)
            apart = few.outputs["substrate"].f - few.outputs["equilibrium"].f
            print(f"temperature {temperature}, {few.burn_in} + {few.steps} steps: "
                  f"f_mse {few.metrics['substrate'].f_mse:.5f} (equilibrium "
                  f"{few.metrics['equilibrium'].f_mse:.5f}), rms of F off the equilibrium "
                  f"{np.sqrt((apart**2).mean()):.4f}", flush=True)
        for seed in SAMPLING_SEEDS:
            began = time.perf_counter()
            drawn = DiffusionGenerator(denoiser).draw(device, SAMPLES, seed=seed)
            seconds = time.perf_counter() - began
            ways = {
                "U-Net": digital_images(unet, SAMPLES, seed),
                "equilibrium": equilibrium_images(denoiser, SAMPLES, seed),
                "Langevin": drawn.images,
            }
            distances = {name: frechet_distance(real, moments(judge(images).features))
                         for name, images in ways.items()}
            found.append(list(distances.values()))
            told = ", ".join(f"{name} {value:.2f}" for name, value in distances.items())
            print(f"seed {seed}: {told}; clips {sum(drawn.clips.values())}; "
                  f"{1e3 * seconds / SAMPLES:.0f} ms per image", flush=True)
    for name, values in zip(distances, np.transpose(found)):
        print(f"{name}: {values.mean():.2f} +- {values.std(ddof=1):.2f}")


if __name__ == "__main__":
    main()

"""Quantise the float model of fit_k16.py and place everything `pbitstream infer` ships with.

    python tools/digits/compile_k16.py FLOAT_MODEL

writes digits-k16 (the model), digits-k16.program and digits-test (the held-out images) into the
package. No torch is needed; a changed spec needs this script again, and nothing else. Projections
are calibrated on training images only.
"""

import argparse
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from data import TRAINING, load_split
from pbitstream.diffusion.denoiser import compile_denoiser, noisy_states
from pbitstream.model import FOLDER, Model
from pbitstream.tensors import write_tensors

CALIBRATION_SEED = 4
CALIBRATION_IMAGES = 400


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("float_model", type=Path, help="file written by fit_k16.py")
    source = parser.parse_args().float_model
    with safetensors.safe_open(source, "numpy") as file:
        provenance = dict(file.metadata() or {})
    for key in ("pbitstream", "schema", "crc32", "sha256"):
        provenance.pop(key, None)
    model = Model(safetensors.numpy.load_file(source), provenance)
    images, test = load_split()
    rows = np.arange(len(model["times"]))
    calibration = noisy_states(
        images[:CALIBRATION_IMAGES], model["times"], rows, seed=CALIBRATION_SEED
    )
    program = compile_denoiser(model, calibration)
    program.margins().check()
    FOLDER.mkdir(exist_ok=True)
    model.save(FOLDER / "digits-k16.safetensors")
    program.save(FOLDER / "digits-k16.program.safetensors")
    codes = np.round((test + 1) * 8).astype(np.uint8)
    write_tensors(FOLDER / "digits-test.safetensors",
                  {"images": codes, "labels": test_labels()},
                  {"pbitstream": "images", "source": "UCI optical digits, CC BY 4.0"})
    print(f"program {program.digest}")
    print(program.margins())
    print(program.cost())


def test_labels() -> NDArray[np.uint8]:
    """Return the labels of the test images, in their order."""
    target = load_digits().target
    # The permutation of data.load_split.
    return target[np.random.RandomState(0).permutation(len(target))][TRAINING:].astype(np.uint8)


if __name__ == "__main__":
    main()

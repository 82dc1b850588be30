"""`pbitstream generate` draws, judges, writes, and refuses what does not fit together."""

import json

import numpy as np
import pytest
from PIL import Image

QUICK = ("--count", "60", "--quiet")


def test_document_and_files(run, tmp_path):
    done = run("generate", "--model", "digits-pbit", *QUICK, "--repeats", "2", "--json", "--seed",
               "4", "--out", "i.npy", "--plot", "i.png", "--animation", "i.gif")
    assert (done.code, done.err) == (0, "")
    data = json.loads(done.out)
    assert set(data) == {"model", "device", "seeds", "count", "generator", "judged", "digital",
                         "updates", "saturated", "seconds", "programs"}
    assert (data["seeds"], data["count"], data["digital"]) == ([4, 5], 60, None)
    assert data["updates"] == 2 * 60 * 2880
    assert set(data["judged"]["controls"]) == {"real", "k-means-20", "k-means-100", "classes"}
    assert data["judged"]["figures"]["accuracy"]["mean"] > 0.7
    work = tmp_path / "work"
    images = np.load(work / "i.npy")
    assert images.shape == (2, 60, 8, 8)
    assert set(np.unique(images)) == {-1.0, 1.0}
    with Image.open(work / "i.png") as picture:
        assert picture.size[0] > 400
    with Image.open(work / "i.gif") as animation:
        assert animation.n_frames > 10
    # The same seeds draw the same images, in other batches too.
    again = run("generate", "--model", "digits-pbit", *QUICK, "--seed", "5", "--no-judge",
                "--batch", "7", "--out", "j.npy")
    assert again.code == 0
    assert np.array_equal(np.load(work / "j.npy")[0], images[1])


def test_screen_of_a_labelled_model(run):
    done = run("generate", "--model", "digits-pbit", *QUICK, "--label", "7", "--label", "1")
    assert (done.code, done.err) == (0, "")
    for words in ("digits-pbit on emulator", "60 images, seed 0", "guidance 0.15", "label",
                  "unit updates per image", "saturated: nothing",
                  "wrote pbitstream-generate.png"):
        assert words in done.out, words
    assert "Frechet" not in done.out, "two digits are not the data"
    assert max(map(len, done.out.splitlines())) <= 80


def test_screen_of_a_diffusion_model(run):
    done = run("generate", *QUICK, "--sampling-steps", "5", "--steps", "64", "--warm", "8")
    assert (done.code, done.err) == (0, "")
    for words in ("digits-codesign on emulator", "5 DDIM steps, warm start with 8", "noise",
                  "digital U-Net", "table, 20 groups", "real images"):
        assert words in done.out, words
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(("message", "words"), [
    ("model must be one of", ("--model", "digits-nothing")),
    ("model must be one that draws images", ("--model", "digits-judge")),
    ("guidance must be left out: digits-codesign takes", ("--guidance", "1")),
    ("eta must be left out: digits-pbit takes", ("--model", "digits-pbit", "--eta", "1")),
    ("--label must be left out: digits-codesign takes no labels", ("--label", "1")),
    ("--label must be 0 to 9, not [11]", ("--model", "digits-pbit", "--label", "11")),
    ("--count must be at least 2 to be judged", ("--count", "1")),
    ("steps must divide the 20 rows", (*QUICK, "--sampling-steps", "7")),
    ("--animation must end in .gif", ("--animation", "x.png")),
    ("--seed, and those that follow it", ("--seed", "4294967295", "--repeats", "2")),
])
def test_what_is_refused(run, message, words):
    done = run("generate", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("pbitstream: error: ")
    assert message in done.err
    assert done.err.count("\n") == 1

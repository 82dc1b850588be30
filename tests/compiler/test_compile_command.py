"""``pbitstream compile``: files, figures, screen, picture, and refusals of bad input."""

import json

import numpy as np
import pytest

from pbitstream import Program
from pbitstream.cli import main
from pbitstream.compiler import interface, sources
from pbitstream.diffusion import digits
from pbitstream.model import Model, shipped


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    """Run on few digits, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("COLUMNS", "80")
    training, test = digits.training_digits(), digits.held_out_digits()
    monkeypatch.setattr(sources, "HELD_OUT", 10)
    monkeypatch.setattr(interface, "ITERATIONS", 30)
    monkeypatch.setattr(digits, "training_digits", lambda: (training[0][:40], training[1][:40]))
    monkeypatch.setattr(digits, "held_out_digits", lambda: (test[0][:4], test[1][:4]))


def refused(capsys, code, message, *words):
    capsys.readouterr()
    assert main(["compile", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pbitstream: error: ")
    assert message in err


def test_files_and_document(capsys, tmp_path):
    assert main(["compile", "digits", "--json", "-o", "small", "--rank", "8"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {
        "source", "device", "settings", "rows", "digest", "layers", "modules", "hubs", "banks",
        "interface", "field_fraction", "burn_in", "steps", "margins", "steps_for_error", "cost",
        "board_cycles", "seconds", "evaluation", "files",
    }
    assert json.loads((tmp_path / "small.report.json").read_text()) == document
    program = Program.open("small.program.safetensors")
    assert program.digest == document["digest"]
    program.check()
    (bank,) = document["banks"]
    assert bank["connections"] == {"low_rank": 8 * 257, "local": 1936, "dense": 128 * 128}
    assert bank["local"] == {"offsets": 27, "numbers": 164, "wires": 1936}
    assert len(bank["r2_by_rank"]) == 64
    assert bank["spectrum"] == sorted(bank["spectrum"], reverse=True)
    assert all(isinstance(cycles, int) for cycles in document["board_cycles"].values())
    figures = document["evaluation"]["layers"]["d1"]
    assert figures["substrate"]["r2"] > 0.5 > figures["constant"]["r2"]
    assert figures["substrate"]["f_mse"] < 1
    model = Model.open("small.safetensors")
    assert model["bank.e1-d1.a"].shape == (128, 8)
    assert model["bank.e1-d1.weights"].shape == (27, 128)
    assert model.provenance["compile.method"] == "hbc"


def test_the_same_words_give_the_same_program(capsys):
    digests = []
    for _ in range(2):
        assert main(["compile", "digits", "--json", "--rank", "4", "--interface", "quad",
                     "--seed", "7", "--no-band"]) == 0
        digests.append(json.loads(capsys.readouterr().out)["digest"])
    assert digests[0] == digests[1]


def test_screen_and_picture(capsys, tmp_path):
    assert main(["compile", "digits", "--skip", "e1:d1", "e2:d2", "--plot", "c.svg",
                 "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in ("Banks", "e1 – d1", "e2 – d2", "R² on validation rows by rank",
                  "Readout against the U-Net, 80 test rows", "control: constant",
                  "control: another image", "R² lost to quantisation: d1 ",
                  "exact equilibrium", "steps for an rms error of 0.01",
                  "predicted board cycles of a step, 128 lanes", "compiled.program.safetensors",
                  "wrote c.svg"):
        assert words in out, words
    assert max(map(len, out.splitlines())) <= 80
    assert (tmp_path / "c.svg").stat().st_size > 1000


@pytest.mark.parametrize("method", ["paper", "gram", "cross", "cca", "truncated", "random",
                                    "sketch"])
def test_every_method_compiles(method, capsys):
    assert main(["compile", "digits", "--json", "--method", method, "--rank", "4"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["settings"]["method"] == method
    found = document["evaluation"]["layers"]["d1"]
    assert found["substrate"]["r2"] == pytest.approx(found["equilibrium"]["r2"], abs=0.05)


@pytest.mark.parametrize(("code", "message", "words"), [
    (2, "skip e9:d1: the U-Net has no layer e9; it has e1, e2, bn, d2, d1", ["--skip", "e9:d1"]),
    (2, "skip must be ENCODER:DECODER, such as e1:d1, not 'e1'", ["--skip", "e1"]),
    (2, "rank must be between 1 and 64, not 65", ["--rank", "65"]),
    (2, "method must be one of hbc, paper", ["--method", "pca"]),
    (2, "interface must be none, quad, paper or RxH", ["--interface", "big"]),
    (2, "an interface drives one module", ["--skip", "e1:d1", "e2:d2", "--interface", "quad"]),
    (2, "--plot must end in .png or .pdf or .svg", ["--plot", "c.txt"]),
    (2, "there is no folder nowhere; make it first", ["-o", "nowhere/x"]),
    (2, "--data belongs to the folder of a diffusers U-Net", ["--data", "x.npy"]),
    (2, "method sketch fits one bank per module",
     ["--method", "sketch", "--skip", "e1:d1", "d2:d1"]),
])
def test_bad_words_are_refused(code, message, words, capsys, tmp_path):
    refused(capsys, code, message, "digits", *words)
    assert not list(tmp_path.glob("compiled*"))


def test_sources_that_are_none(capsys, tmp_path):
    refused(capsys, 5, "digit: no such file, did you mean", "digit")
    refused(capsys, 5, "no U-Net to compile: the model has no tensor unet.e1.in.weight",
            str(_without_unet(tmp_path)))
    refused(capsys, 2, "--data FILE.npy must bring the images", str(tmp_path))
    (tmp_path / "text.npy").write_text("no numbers")
    refused(capsys, 5, "text.npy: no NPY file of numbers", str(tmp_path), "--data", "text.npy")
    np.savez(tmp_path / "two.npz", a=np.zeros(3))
    refused(capsys, 5, "two.npz: no NPY file of numbers", str(tmp_path), "--data", "two.npz")
    refused(capsys, 5, "no U-Net to compile: the model has no tensor unet.d2.in.weight",
            "digits-codesign")
    np.save(tmp_path / "x.npy", np.zeros((4, 1, 8, 8)))
    refused(capsys, 5, "no config.json", str(tmp_path), "--data", "x.npy")


def _without_unet(folder):
    model = Model.open(shipped("digits-k16"))
    kept = {name: values for name, values in model.tensors.items() if name.startswith("bank.")}
    path = folder / "bare.safetensors"
    Model(kept).save(path)
    return path


def test_a_unet_with_nan_is_refused_by_layer(capsys, monkeypatch):
    forward = sources.unet.forward

    def broken(weights, x, t):
        found = forward(weights, x, t)
        found["d1"][3, 5] = np.nan
        return found

    monkeypatch.setattr(sources.unet, "forward", broken)
    refused(capsys, 2, "activations of layer d1 must be finite; 1 of", "digits")


def test_help_shows_examples(capsys):
    assert main(["compile", "--help"]) == 0
    out = capsys.readouterr().out
    assert "pbitstream compile digits --no-band --rank 64 --interface quad" in out


def test_nan_in_what_is_judged_is_refused_by_layer(capsys, monkeypatch):
    """The test rows are checked as the fitted ones are; there is no figure of a broken layer."""
    batches = sources.DigitsSource.batches

    def broken(self, layers, part):
        for batch in batches(self, layers, part):
            if part == "test":
                batch.layers["d1"][3, 5] = np.nan
            yield batch

    monkeypatch.setattr(sources.DigitsSource, "batches", broken)
    refused(capsys, 2, "d1", "digits", "--rank", "2")

"""`pbitstream infer`: document, pictures, files, options, refusals."""

import json
import os
import re
import sys

import numpy as np
import pytest

from pbitstream.devices.registry import device_schemes, open_device
from pbitstream.diffusion.denoiser import Denoiser, noisy_states
from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.evaluation import SYSTEMS, evaluate
from pbitstream.model import Model, shipped
from pbitstream.program import Program

SCHEMES = ", ".join(f"{name}:" for name in sorted(device_schemes()))
FIGURES = {"plain_cosine", "centred_cosine", "r2", "f_mse", "denoised_mse"}


@pytest.fixture(scope="module")
def denoiser():
    program = Program.open(shipped("digits-k16.program"))
    return Denoiser(Model.open(shipped("digits-k16")), program)


def document(done):
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out, parse_constant=lambda name: pytest.fail(name))


def test_document(run, small, tmp_path, denoiser):
    data = document(run("infer", "--json", "--seed", "5", *small))
    assert list(data) == ["device", "seed", "inputs", "noise", "metrics", "controls",
                          "standard_error", "autocorrelation_time", "saturated", "timing",
                          "program"]
    assert (data["device"], data["seed"], data["inputs"]) == ("emulator:", 5, 40)
    assert data["noise"] == list(denoiser.times)
    assert set(data["metrics"]) == FIGURES | {
        "noisy_mse", "digital_mse", "digital_f_mse", "equilibrium_r2", "equilibrium_f_mse",
        "equilibrium_mse"}
    assert set(data["controls"]) == {"constant", "shuffled"}
    assert all(set(control) == FIGURES for control in data["controls"].values())
    assert set(data["saturated"]) == {"projection", "gain", "stiffness", "state", "field",
                                      "conditioning"}
    timing = data["timing"]
    assert list(timing) == ["condition", "load", "relax", "read", "decode", "total", "reference"]
    assert sum(timing.values()) - timing["reference"] <= 2 * timing["total"]
    program = data["program"]
    assert program["digest"] == denoiser.program.digest
    assert set(program["margins"]) >= {"lambda_max", "lambda_min", "gap", "dt", "dt_limit",
                                       "headroom_bits"}
    assert set(program["cost"]) >= {"multiplications_per_step", "words", "cycles_per_step"}
    assert data["standard_error"] > 0
    assert abs(data["metrics"]["equilibrium_r2"] - data["metrics"]["r2"]) < 0.02
    assert abs(data["controls"]["constant"]["r2"]) < 1e-9
    assert not list((tmp_path / "work").iterdir()), "--json alone writes no picture"


def test_bits_do_not_depend_on_batch_threads_or_engine(run, small):
    words = ("infer", "--json", "--out", "out.npy", *small)
    first = document(run(*words))
    image = np.load("out.npy")
    assert image.shape == (2, 20, 8, 8)
    assert image.dtype == np.float64
    others = ["--batch", "7"], ["-d", "emulator:?threads=1"], ["-d", "emulator:?engine=numpy"]
    for other in others:
        again = document(run(*words, *other))
        assert np.load("out.npy").tobytes() == image.tobytes()
        assert again["metrics"] == pytest.approx(first["metrics"], abs=1e-9)
        assert again["standard_error"] == pytest.approx(first["standard_error"], rel=1e-9)
    document(run(*words, "--seed", "1"))
    assert np.load("out.npy").tobytes() != image.tobytes()


def test_screen_and_picture(run, small, tmp_path):
    done = run("infer", *small)
    assert (done.code, done.err) == (0, "")
    for word in ("digits-k16 on emulator (", "not a physical substrate", "2 images",
                 "t = 0.05 to 1.00", "seed 0", "substrate", "float64 equilibrium", "digital U-Net",
                 "constant control", "shuffled control", "noisy input", "condition", "decode",
                 "reference", "total: substrate path only", "no coupling among free", "headroom",
                 "Layer: the 128", "F MSE:", "shuffled: the", "multiplications",
                 "standard error", "saturated",
                 "wrote pbitstream-infer.png"):
        assert word in done.out, word
    assert "\x1b" not in done.out
    assert "λ" not in done.out, "eigenvalues of no coupling"
    assert max(map(len, done.out.splitlines())) <= 80
    assert (tmp_path / "work" / "pbitstream-infer.png").read_bytes().startswith(b"\x89PNG")


def test_colour_and_width(run, small, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    done = run("infer", "--quiet", *small)
    assert done.err == ""
    assert "▀" in done.out
    monkeypatch.setenv("NO_COLOR", "1")
    plain = run("infer", "--quiet", *small).out
    assert "▀" not in plain
    assert "█" in plain


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_numbers_are_never_broken(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    done = run("infer", "--count", "1", "--steps", "16", "--noise", "0.4", "--quiet")
    lines = done.out.splitlines()
    assert any(re.search(r"relax +\d+\.\d{3} +[\d,]+\.\d (µs|ms)( |$)", line) for line in lines)
    beside = any("Timing" in line and "Margins" in line for line in lines)
    assert beside == (width >= 80)
    if width >= 60:
        assert "…" not in done.out
        assert re.search(r"substrate +0\.\d{4} +0\.\d{4} +-?0\.\d{4} +\d\.\d{4} +\d\.\d{4}",
                         done.out)


def test_words_for_one(run):
    held = run("infer", "--count", "1", "--steps", "16", "--noise", "0.4").out
    assert "\n1 image, test digits; " in held
    np.save("a.npy", held_out_digits()[0][:1])
    assert "\n1 image, 1 file; " in run("infer", "a.npy", "--steps", "16", "--noise", "0.4").out


def test_saturation_beyond_a_hundredth_is_a_warning(run, small):
    words = ("infer", "--noise", "0.4", "--burn-in", "0", *small)
    assert "warning" not in run(*words).out
    hot = " ".join(run(*words, "--temperature", "100").out.split())
    found = re.search(r"saturated: state ([\d,]+) of 8,192 unit updates warning: ([\d.]+) % of",
                      hot)
    assert found
    assert float(found[2]) == pytest.approx(int(found[1].replace(",", "")) / 81.92, abs=0.06)


def test_a_folder_that_cannot_be_written(run, small, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    words = ("infer", "--noise", "0.4", *small)
    done = run(*words)
    note = "pbitstream: note: no picture is written: "
    assert (done.code, done.err) == (
        0, f"{note}--plot pbitstream-infer.png: cannot be written; choose another place\n")
    assert "wrote" not in done.out
    assert run(*words, "--plot", "a.png").code == 2
    monkeypatch.undo()

    def fail(*args):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("pbitstream.cli.plot.write_whole", fail)
    done = run(*words)
    assert (done.code, done.err) == (0, f"{note}pbitstream-infer.png: Read-only file system\n")
    assert "wrote" not in done.out
    assert run(*words, "--plot", "a.png").code == 5


def test_nearest_noise_level_is_named(run, small):
    assert document(run("infer", "--json", "--noise", "0.52", *small))["noise"] == [0.5]
    assert "noise t = 0.50, the table's nearest to 0.52" in run(
        "infer", "--noise", "0.52", *small).out
    assert "nearest" not in run("infer", "--noise", "0.5", *small).out


@pytest.mark.parametrize("name", ["figure.png", "figure.pdf", "figure.SVG"])
def test_plot_formats(run, small, tmp_path, name):
    assert f"wrote {name}" in run("infer", "--noise", "0.3", "--plot", name, *small).out
    assert [path.name for path in (tmp_path / "work").iterdir()] == [name]


def test_one_image_has_no_shuffled_control(run):
    data = document(run("infer", "--json", "--count", "1", "--steps", "8", "--noise", "0.4"))
    assert data["controls"]["shuffled"] is None
    assert data["standard_error"] is None, "a window of 8 steps has no 16 segments"
    out = run("infer", "--count", "1", "--steps", "8", "--noise", "0.4").out
    assert "shuffled" not in out
    assert "unknown, the window is shorter than 16 steps" in out


def test_noisy_input_of_the_user_gives_the_same_images(run, small, denoiser):
    images, _ = held_out_digits()
    states = noisy_states(images[:2], denoiser.times, np.array([denoiser.nearest_row(0.4)]))
    np.save("xt.npy", states.x)
    document(run("infer", "--json", "--noise", "0.4", "--out", "a.npy", *small))
    data = document(run("infer", "xt.npy", "--json", "--steps", "32", "--noise", "0.4", "--noisy",
                        "--out", "b.npy"))
    assert np.load("a.npy").tobytes() == np.load("b.npy").tobytes()
    unknown = {name for name, value in data["metrics"].items() if value is None}
    assert unknown == {"f_mse", "denoised_mse", "noisy_mse", "digital_mse", "digital_f_mse",
                       "equilibrium_f_mse", "equilibrium_mse"}
    assert data["controls"]["constant"]["f_mse"] is None
    screen = run("infer", "--noise", "0.4", "xt.npy", "--steps", "32", "--noisy")
    assert screen.code == 0
    assert "clean" not in screen.out
    assert "F MSE:" not in screen.out


def test_own_images_and_options_may_be_mixed(run, denoiser):
    np.save("a.npy", held_out_digits()[0][:1])
    np.save("b.npy", held_out_digits()[0][1:2])
    first = document(run("infer", "--json", "--noise", "0.4", "--steps", "16", "--count", "2"))
    mixed = document(run("infer", "a.npy", "--json", "--noise", "0.4", "b.npy", "--steps", "16"))
    assert mixed["metrics"] == first["metrics"]


def test_chains_temperature_and_burn_in_reach_the_substrate(run, small):
    words = ("infer", "--json", "--noise", "0.4", *small)
    base = document(run(*words))["standard_error"]
    assert document(run(*words, "--chains", "16"))["standard_error"] < base / 2.5
    cold = (*words, "--temperature", "0")
    assert document(run(*cold, "--burn-in", "64"))["standard_error"] < base / 20
    assert document(run(*cold))["standard_error"] is None, "still on its way, all steps alike"
    screen = run(*(word for word in cold if word != "--json")).out
    assert "unknown, the window is too short against the correlation" in screen


def test_burn_in_brings_the_readout_to_its_equilibrium(run, small):
    def distance(*words):
        found = document(run("infer", "--json", "--noise", "0.4", "--temperature", "0", *small,
                             *words))["metrics"]
        return abs(found["r2"] - found["equilibrium_r2"])

    assert 4 * distance() < distance("--burn-in", "0")


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (2, "--noisy needs IMAGE files and the --noise T they have", ["--noisy"]),
        (2, "noise must be a diffusion time in (0, 1], not 0", ["--noise", "0"]),
        (2, "noise must be a diffusion time in (0, 1], not 1.5", ["--noise", "1.5"]),
        (2, "--noise: must be a finite number, not 'nan'; see pbitstream infer --help",
         ["--noise", "nan"]),
        (2, "--count must be at most 360, the number of images, not 361",
         ["--count", "361"]),
        (2, "steps must be between 1 and 16777215, not 0", ["--steps", "0"]),
        (2, "burn_in must be between 0 and 16777215, not -1", ["--burn-in", "-1"]),
        (2, "--chains: must be at least 1, not 0; see pbitstream infer --help", ["--chains", "0"]),
        (2, "--batch: must be at least 1, not -2; see pbitstream infer --help", ["--batch", "-2"]),
        (2, "temperature must be 0 or more, not -1", ["--temperature", "-1"]),
        (2, "--out must end in .npy, not 'x.txt'", ["--out", "x.txt"]),
        (2, "--out no/x.npy: there is no folder no; make it first", ["--out", "no/x.npy"]),
        (2, "--plot must end in .png or .pdf or .svg, not 'x.gif'", ["--plot", "x.gif"]),
        (2, f"device must be a URL that starts with one of {SCHEMES}, not 'emulater:'",
         ["-d", "emulater:"]),
        (2, "emulator: takes the options engine and threads, not speed",
         ["-d", "emulator:?speed=9"]),
        (2, "threads must be a whole number, not 'two'", ["-d", "emulator:?threads=two"]),
        (5, "gone.png: No such file or directory", ["gone.png"]),
    ],
)
def test_refusals(refused, code, message, words):
    refused(code, message, "infer", *words)


def test_a_missing_extra_is_named(run, refused, small, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    what = "figures need matplotlib, which is missing; pip install 'pbitstream[plot]'"
    refused(3, what, "infer", "--plot", "x.png", *small)
    done = run("infer", *small)
    assert (done.code, done.err) == (0, f"pbitstream: note: no picture is written: {what}\n")
    assert run("infer", "--quiet", *small).err == ""


def test_references_do_not_depend_on_how_they_are_cut(denoiser, monkeypatch):
    rows = np.arange(3)
    states = noisy_states(held_out_digits()[0][:5], denoiser.times, rows)
    monkeypatch.setattr("pbitstream.diffusion.evaluation.REFERENCE_BATCH", 4)
    told = []
    with open_device() as device:
        result = evaluate(denoiser, device, states, rows, steps=1,
                          report=lambda *what: told.append(what))
    whole = denoiser.reference(states)
    np.testing.assert_allclose(result.outputs["digital"].layer, whole, rtol=0, atol=1e-12)
    equal = denoiser.equilibrium(states)
    np.testing.assert_allclose(result.outputs["equilibrium"].layer, equal, rtol=0, atol=1e-12)
    assert [done for what, done, _ in told if what == "digital references"] == [0, 4, 8, 12, 15]


def test_evaluation_without_a_screen(denoiser):
    images, _ = held_out_digits()
    rows = np.array([4, 9])
    told = []
    with open_device() as device:
        result = evaluate(denoiser, device, noisy_states(images[:3], denoiser.times, rows), rows,
                          steps=32, report=lambda *what: told.append(what))
    assert tuple(result.outputs) == tuple(result.metrics) == SYSTEMS
    assert result.images == 3
    assert told[0] == ("relax", 0, 6)
    assert ("relax", 6, 6) in told
    assert told[-2:] == [("digital references", 0, 6), ("digital references", 6, 6)]
    assert result.updates == 6 * 128 * (32 + 32)
    assert result.timing["reference"] > 0
    shuffled = result.outputs["shuffled"].layer.reshape(3, 2, -1)
    own = result.outputs["substrate"].layer.reshape(3, 2, -1)
    for image in range(3):
        np.testing.assert_array_equal(shuffled[image], own[(image - 1) % 3])
    for name in SYSTEMS:
        assert len(result.by_time[name]) == 2
        mean = np.mean([metrics.denoised_mse for metrics in result.by_time[name]])
        assert mean == pytest.approx(result.metrics[name].denoised_mse)

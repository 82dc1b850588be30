"""Image files of the user: what is read, and what is refused with which line."""

import sys

import numpy as np
import pytest
from PIL import Image

from pbitstream.diffusion.digits import held_out_digits, read_images, training_digits
from pbitstream.errors import FileFormatError, MissingExtraError

GREY = (np.arange(64) * 4).astype(np.uint8).reshape(8, 8)
AS_VALUES = GREY.reshape(1, 64) / 127.5 - 1


def test_shipped_digits():
    images, labels = held_out_digits()
    assert images.shape == (360, 64)
    assert images.dtype == np.float64
    assert (images.min(), images.max()) == (-1, 1)
    assert (images * 8 == np.round(images * 8)).all()
    assert np.bincount(labels).size == 10


def test_training_digits_are_the_others():
    from sklearn import datasets

    images, labels = training_digits()
    assert (images.shape, images.dtype, labels.dtype) == ((1437, 64), np.float64, np.int64)
    order = np.random.RandomState(0).permutation(1797)
    every, numbers = datasets.load_digits(return_X_y=True)
    rest, rest_labels = held_out_digits()
    np.testing.assert_array_equal(np.concatenate([images, rest]), every[order] / 8 - 1)
    np.testing.assert_array_equal(np.concatenate([labels, rest_labels]), numbers[order])


def test_training_digits_name_the_extra_that_brings_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pbitstream\[digits\]'"):
        training_digits()


def test_png_of_every_kind_reads_alike():
    grey = Image.fromarray(GREY)
    grey.save("grey.png")
    grey.convert("RGB").save("colour.png")
    grey.convert("RGBA").save("alpha.png")
    Image.fromarray(GREY.astype(np.uint16) * 257).save("deep.png")
    for name in ("grey", "colour", "alpha", "deep"):
        np.testing.assert_allclose(read_images([f"{name}.png"]), AS_VALUES, atol=0.005)
    clear = np.full((8, 8, 4), 255, np.uint8)
    clear[..., 3] = 0
    Image.fromarray(clear).save("clear.png")
    assert (read_images(["clear.png"]) == -1).all(), "what is transparent is background"


@pytest.mark.parametrize("shape", [(8, 8), (64,), (1, 8, 8), (1, 64)])
def test_npy_shapes(shape):
    np.save("a.npy", GREY.reshape(shape))
    np.save("b.npy", AS_VALUES.reshape(shape))
    np.testing.assert_array_equal(read_images(["a.npy"]), AS_VALUES)
    np.testing.assert_array_equal(read_images(["b.npy"]), AS_VALUES)


def test_several_files_are_one_after_the_other():
    np.save("a.npy", np.zeros((2, 64)))
    np.save("b.npy", np.ones((3, 8, 8)))
    assert read_images(["a.npy", "b.npy"]).mean(axis=1).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((28, 28)),
         "shape must be (8, 8), (64,), (n, 8, 8) or (n, 64) with n >= 1, not (28, 28)"),
        (np.zeros((0, 64)),
         "shape must be (8, 8), (64,), (n, 8, 8) or (n, 64) with n >= 1, not (0, 64)"),
        (np.float64(1), "shape must be (8, 8), (64,), (n, 8, 8) or (n, 64) with n >= 1, not ()"),
        (np.zeros(64, np.int32),
         "pixels must be uint8 of 0..255, floats in [-1, 1] or bool, not int32"),
        (np.zeros(64, complex),
         "pixels must be uint8 of 0..255, floats in [-1, 1] or bool, not complex128"),
        (np.full(64, np.nan), "pixels must be finite; it holds NaN or infinity"),
        (np.linspace(0, 16, 64), "floats must lie in [-1, 1], not in [0, 16]; x / 8 - 1 would be"),
        (np.linspace(-3, 1, 64), "floats must lie in [-1, 1], not in [-3, 1]"),
    ],
)
def test_arrays_that_are_no_images(refused, array, reason):
    np.save("a.npy", array)
    refused(5, f"a.npy: {reason}", "infer", "a.npy", "--noise", "0.4")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (GREY, "pixels must be floats, not uint8"),
        (GREY > 9, "pixels must be floats, not bool"),
        (np.full(64, 7.0), ("noisy pixels must lie within +-6.000, not in [7, 7]; "
                            "x_t = alpha x_0 + sigma e, x_0 in [-1, 1]")),
        (np.full(64, -np.inf), "pixels must be finite; it holds NaN or infinity"),
    ],
)
def test_arrays_that_are_no_noisy_images(refused, array, reason):
    np.save("a.npy", array)
    refused(5, f"a.npy: {reason}", "infer", "a.npy", "--noisy", "--noise", "0.4")


def test_bool_is_ink():
    np.save("a.npy", GREY > 99)
    np.testing.assert_array_equal(read_images(["a.npy"])[0], np.where(GREY > 99, 1, -1).ravel())


@pytest.mark.parametrize(
    ("array", "text"),
    [
        ((AS_VALUES + 1) / 2, ("a.npy: all its floats lie in [0, 1] and are read as mid-grey to "
                               "white; if 0 is the background, save 2 x - 1")),
        (GREY // 17, ("a.npy: its uint8 go up to 14 and are read as 0..255, nearly black; if 0..16 "
                      "is their range, save x / 8 - 1 as floats")),
    ],
)
def test_values_of_another_scale_are_noted(run, array, text):
    np.save("a.npy", array)
    words = ("infer", "a.npy", "--noise", "0.4", "--steps", "1", "--json")
    assert run(*words).err == f"pbitstream: note: {text}\n"
    assert run(*words, "--quiet").err == ""
    noted = []
    np.save("a.npy", AS_VALUES)
    np.save("b.npy", GREY)
    read_images(["a.npy", "b.npy"], note=noted.append)
    assert not noted


def test_largest_noisy_pixels_fit_the_device_at_every_time(run):
    np.save("a.npy", np.full(64, 5.99))
    assert run("infer", "a.npy", "--noisy", "--noise", "0.05", "--steps", "1").code == 0


def test_files_that_are_no_images(refused, tmp_path):
    Image.new("L", (28, 28)).save("large.png")
    refused(5, "large.png: an image must be 8x8 pixels, not 28x28; scale it down first",
            "infer", "large.png")
    (tmp_path / "work" / "a.txt").write_text("no image at all")
    refused(5, "a.txt: neither PNG nor NPY; save the image as one of them", "infer", "a.txt")
    refused(5, "large.png: already-noisy input must be NPY of floats, not PNG",
            "infer", "large.png", "--noisy", "--noise", "0.1")


def test_damaged_files(tmp_path):
    Image.fromarray(GREY).save("a.png")
    np.save("a.npy", AS_VALUES)
    for name, kind in (("a.png", "PNG"), ("a.npy", "NPY file")):
        path = tmp_path / "work" / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(FileFormatError, match=f"a damaged {kind}"):
            read_images([path])


def test_pickles_are_never_loaded(refused):
    np.save("a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="damaged NPY"):
        read_images(["a.npy"])

"""Torch U-Nets by forward hooks, the folder of a diffusers model, and stand-ins for both."""

import json
import sys
import types

import numpy as np
import pytest

from pbitstream.compiler.activations import Skip
from pbitstream.compiler.hooks import (
    TorchSource,
    diffusers_calls,
    diffusers_skips,
    open_diffusers,
)
from pbitstream.compiler.pipeline import compile_unet
from pbitstream.errors import FileFormatError, MissingExtraError, SpecError

torch = pytest.importorskip("torch")
nn = torch.nn


class Tiny(nn.Module):
    """A U-Net of one level on 1 x 6 x 6 images; takes images and times like diffusers does."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down_blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.SiLU())])
        self.mid = nn.Conv2d(2, 2, 3, padding=1)
        self.up_blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.SiLU())])
        self.head = nn.Conv2d(2, 1, 3, padding=1)
        self.unused = nn.Linear(2, 2)
        self.twice = Pair()
        self.config = {"sample_size": 6, "in_channels": 1}

    def forward(self, x, t):
        e = self.down_blocks[0](x)
        d = self.up_blocks[0](torch.cat([e, self.mid(e)], dim=1))
        self.twice(d)
        return self.head(d)


class Pair(nn.Module):
    def forward(self, x):
        return {"a": x}


def images(count=60):
    return np.random.default_rng(0).uniform(-1, 1, (count, 1, 6, 6))


def tiny_source(count=60):
    module = Tiny()
    return TorchSource(module, diffusers_calls(module, images(count)))


def test_shapes_and_activations_are_those_of_the_module():
    source = tiny_source()
    assert source.shapes["down_blocks.0"] == (2, 6, 6)
    assert source.shapes["head"] == (1, 6, 6)
    assert "unused" not in source.shapes
    (x, t), _ = next(iter(source.calls("fit")))
    batch = next(iter(source.batches(["down_blocks.0", "head"], "fit")))
    with torch.no_grad():
        e = source.module.down_blocks[0](x).flatten(1).double().numpy()
        out = source.module(x, t).flatten(1).double().numpy()
    np.testing.assert_array_equal(batch.layers["down_blocks.0"], e)
    np.testing.assert_array_equal(batch.layers["head"], out)
    assert not source.module._forward_hooks
    assert not source.module.down_blocks[0]._forward_hooks


def test_a_torch_unet_compiles_and_its_parts_do_not_overlap():
    source = tiny_source()
    compiled = compile_unet(source, [Skip("down_blocks.0", "up_blocks.0")], rank=4)
    assert compiled.rows == 48 * 4
    bank = compiled.lowered.fitted.banks["down_blocks.0", "up_blocks.0"]
    assert bank.local is not None
    assert 0 < compiled.curves["down_blocks.0", "up_blocks.0"][3] <= 1
    fit, held = (np.concatenate([call[0][0].numpy() for call in (c for c in source.calls(part))])
                 for part in ("fit", "held-out"))
    assert (len(fit), len(held)) == (192, 48)


@pytest.mark.parametrize(("layer", "message"), [
    ("up_blocks.7", "the U-Net has no layer up_blocks.7"),
    ("unused", "layer unused returned no tensor in a forward pass"),
    ("twice", "layer twice returned no tensor"),
])
def test_layers_that_cannot_be_read_are_named(layer, message):
    with pytest.raises(SpecError, match=message):
        next(iter(tiny_source().batches([layer], "fit")))
    with pytest.raises(SpecError, match=f"the U-Net has no layer {layer}"):
        compile_unet(tiny_source(), [Skip("down_blocks.0", layer)], rank=2)


def test_nan_in_a_layer_is_named():
    source = tiny_source()
    with torch.no_grad():
        source.module.up_blocks[0][0].bias.fill_(float("nan"))
    with pytest.raises(SpecError, match=r"activations of layer up_blocks\.0 must be finite"):
        compile_unet(source, [Skip("down_blocks.0", "up_blocks.0")], rank=2)


def test_a_source_without_rows_is_refused():
    with pytest.raises(SpecError, match="calls must yield at least one forward pass"):
        _ = TorchSource(Tiny(), lambda part: iter(())).shapes


@pytest.mark.parametrize(("data", "message"), [
    (np.zeros((5, 1, 8, 8)), r"data must have shape \(images, 1, 6, 6\), not \(5, 1, 8, 8\)"),
    (np.zeros((1, 1, 6, 6)), "data must hold at least 2 images, one to hold out, not 1"),
    (np.full((4, 1, 6, 6), np.nan), "data must be finite"),
])
def test_images_that_do_not_fit_are_refused(data, message):
    with pytest.raises(SpecError, match=message):
        diffusers_calls(Tiny(), data)


def test_the_digits_unet_in_numpy_and_torch_gives_one_program_nearly(digits_source):
    import importlib.util
    from pathlib import Path

    folder = Path(__file__).parents[2] / "tools" / "digits"
    spec = importlib.util.spec_from_file_location("unet_torch", folder / "unet_torch.py")
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    from pbitstream.diffusion import schedule

    net = twin.load_unet(dict(digits_source.model.tensors))

    def calls(part):
        for x_in, _, _, t in digits_source.states(part):
            features = schedule.time_features(t, schedule.time_frequencies())
            yield (torch.tensor(x_in, dtype=torch.float32),
                   torch.tensor(features, dtype=torch.float32)), None

    skip = [Skip("e1", "d1")]
    by_numpy = compile_unet(digits_source, skip, rank=4, band=False).lowered.fitted
    by_torch = compile_unet(TorchSource(net, calls), skip, rank=4, band=False).lowered.fitted
    one, two = (fitted.banks["e1", "d1"].factors.matrix() for fitted in (by_numpy, by_torch))
    np.testing.assert_allclose(one, two, atol=1e-3 * np.abs(one).max())


def test_without_diffusers_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pbitstream\[diffusers\]'"):
        open_diffusers(tmp_path)


def test_a_stand_in_for_diffusers(tmp_path, monkeypatch):
    """The attribute names that are used: from_pretrained, config, down_blocks, up_blocks."""

    class UNet2DModel:
        @staticmethod
        def from_pretrained(folder, *, local_files_only, use_safetensors):
            assert local_files_only
            assert use_safetensors
            if "sample_size" not in json.loads((tmp_path / "config.json").read_text()):
                raise OSError("no weights")
            return Tiny()

    monkeypatch.setitem(sys.modules, "diffusers",
                        types.SimpleNamespace(UNet2DModel=UNet2DModel))
    with pytest.raises(FileFormatError, match=r"no config.json; name the folder of a UNet2DModel"):
        open_diffusers(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileFormatError, match="not a UNet2DModel: no weights"):
        open_diffusers(tmp_path)
    (tmp_path / "config.json").write_text('{"sample_size": 6}')
    module = open_diffusers(tmp_path)
    assert diffusers_skips(module) == ["down_blocks.0.resnets.0:up_blocks.0"]
    module.up_blocks = nn.ModuleList()
    with pytest.raises(SpecError, match="no down_blocks or no up_blocks"):
        diffusers_skips(module)


def test_a_real_diffusers_folder(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    model = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1,
        block_out_channels=(4, 8), norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    model.save_pretrained(tmp_path / "net")
    module = open_diffusers(tmp_path / "net")
    data = np.random.default_rng(0).uniform(-1, 1, (40, 1, 8, 8))
    source = TorchSource(module, diffusers_calls(module, data))
    (text,) = diffusers_skips(module)
    first, last = text.split(":")
    # Both ends of the outermost skip are maps of the image's size.
    assert source.shapes[first] == source.shapes[last] == (4, 8, 8)
    compiled = compile_unet(source, [Skip(first, last)], rank=4)
    assert [m.name for m in compiled.lowered.program.topology.modules][-1] == f"{last}.hub"
    (tmp_path / "net" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileFormatError, match="not a UNet2DModel"):
        open_diffusers(tmp_path / "net")

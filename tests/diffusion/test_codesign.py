"""The co-designed denoiser: unit orders, stencils, its torch twin, its program's equilibrium."""

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbitstream import Emulator
from pbitstream.diffusion import unet
from pbitstream.diffusion.codesign import (
    LARGEST,
    OFFSETS,
    CodesignedDenoiser,
    calibrated,
    neighbours,
    unit_order,
)
from pbitstream.diffusion.denoiser import Denoiser, Noisy, noisy_states
from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.evaluation import evaluate
from pbitstream.model import Model, shipped

TOOLS = Path(__file__).parents[2] / "tools" / "digits"


@lru_cache(maxsize=1)
def denoiser() -> CodesignedDenoiser:
    return CodesignedDenoiser.of(Model.open(shipped("digits-codesign")))


def some_states(images: int = 3, seed: int = 5) -> Noisy:
    times = denoiser().times
    return noisy_states(held_out_digits()[0][:images], times, np.arange(len(times)), seed)


@pytest.mark.parametrize("name", ["e1", "e2", "bn", "d1"])
def test_units_count_pixels_then_channels_of_the_map_that_a_module_is(name: str) -> None:
    channels, rows, _ = unet.MODULES[name]
    r = 8 // rows
    tensor = np.arange(128).reshape(channels, rows, rows)
    for unit, entry in enumerate(unit_order(name)):
        pixel, c = divmod(unit, 2)
        y, x = divmod(pixel, 8)
        assert entry == tensor[(c * r + y % r) * r + x % r, y // r, x // r]


def test_the_offsets_are_those_of_a_3x3_stencil_and_nothing_else() -> None:
    near = neighbours()
    wanted = {(t, s) for t in range(128) for s in range(128)
              if abs(t // 16 - s // 16) <= 1 and abs(t // 2 % 8 - s // 2 % 8) <= 1}
    row, target = np.nonzero(near)
    assert set(zip(target, target + np.array(OFFSETS)[row])) == wanted
    assert near.any(axis=1).all()
    assert (len(OFFSETS), near.sum()) == (21, 4 * 22**2)


def test_the_encoder_alone_is_that_of_the_whole_unet() -> None:
    model = Model.open(shipped("digits-k16"))
    x, t = np.random.RandomState(0).standard_normal((40, 64)), np.linspace(0.05, 1.0, 40)
    whole, encoder = unet.forward(model.tensors, x, t), unet.encode(model.tensors, x, t)
    assert encoder.keys() == {"e1", "e2", "bn"}
    for name, module in encoder.items():
        assert (module == whole[name]).all()


@pytest.mark.parametrize("local", [True, False])
def test_torch_and_numpy_agree(local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(TOOLS))
    twin: Any = importlib.import_module("codesign_torch")
    torch.manual_seed(0)
    net = twin.Codesign(3, local=local)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.startswith("local"):
                parameter.copy_(0.1 * torch.randn(128, 128))
            if name.endswith("out.weight"):
                parameter *= 5.0  # outputs of order 1, as after training
            if name == "bn.out.bias":
                parameter[:4] += 12.0  # beyond what a clamped unit can hold
    states = some_states()
    x_in = denoiser().scaled(states)
    f, d1 = net.evaluate(x_in, states.rows)
    model = calibrated(Model(net.tensors(x_in, states.rows)), states)
    ours = CodesignedDenoiser.of(model)
    layer = ours.equilibrium(states)
    assert ours.clamps(states).max() == LARGEST
    np.testing.assert_allclose(layer, d1, atol=1e-4 * np.abs(d1).max())
    np.testing.assert_allclose(ours.decode(layer, states)[0], f, atol=1e-4 * np.abs(f).max())
    # Units are scaled to what a device holds, and the mean is left to the readout.
    x = (layer - model["readout.offset"]) / model["readout.scale"]
    assert np.abs(x).max() == pytest.approx(6.0, rel=1e-4)
    assert np.abs(x.mean(axis=0)).max() < 1e-3


def test_the_program_at_t_0_settles_at_the_equilibrium_of_the_float_model() -> None:
    states = some_states()
    with Emulator() as device:
        found = evaluate(denoiser(), device, states, np.arange(20), temperature=0.0, burn_in=96,
                         steps=1)
    apart = found.outputs["substrate"].layer - denoiser().equilibrium(states)
    spread = denoiser().equilibrium(states).std()
    # Factors of 10 bits err by 2^-10 of the largest of their column, some 2^-8 of its rms; A and B
    # do, in three banks.
    assert np.sqrt((apart**2).mean()) < np.sqrt(6) * 2.0**-8 * spread
    assert sum(found.saturated.values()) == 0


def test_the_shipped_model_follows_its_equilibrium_and_denoises() -> None:
    states = some_states(images=20, seed=1)
    with Emulator() as device:
        found = evaluate(denoiser(), device, states, np.arange(20))
    figures = found.metrics
    assert figures["substrate"].r2 > 0.999
    got, exact = figures["substrate"].f_mse, figures["equilibrium"].f_mse
    assert got is not None
    assert exact is not None
    assert abs(got - exact) < 0.002
    assert got < 0.45
    constant, shuffled = figures["constant"].f_mse, figures["shuffled"].f_mse
    assert constant is not None
    assert shuffled is not None
    assert min(constant, shuffled) > 2 * got
    assert found.standard_error == pytest.approx(0.0177 * denoiser().model["readout.scale"][0],
                                                 rel=0.05)


def test_inputs_are_encoded_alike_in_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    states = some_states()
    together = list(denoiser().inputs(states))
    monkeypatch.setattr("pbitstream.diffusion.denoiser.INPUT_BATCH", 7)
    for one, other in zip(together, denoiser().inputs(states)):
        assert one.clamp is not None
        assert other.clamp is not None
        np.testing.assert_allclose(one.clamp, other.clamp, atol=1e-12)
        assert (one.values == other.values).all()
        assert one.row == other.row


def test_it_is_a_denoiser_of_the_same_face() -> None:
    base: Denoiser = denoiser()
    states = some_states(images=1)
    assert base.units == slice(384, 512)
    assert base.nearest_row(0.5) == 9
    assert base.clamps(states).shape == (20, 384)
    assert (base.reference(states) == base.equilibrium(states)).all()
    assert base.program.margins().gap == 1.0
    assert base.program.conditioning is not None
    assert base.program.conditioning.weights == 2560

"""The denoiser without an encoder: its banks, its torch twin, its program, and its uniqueness."""

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pbitstream import Emulator
from pbitstream.coupling import coupling_matrix
from pbitstream.devices.protocol import State
from pbitstream.diffusion.codesign import OFFSETS
from pbitstream.diffusion.denoiser import Denoiser, Noisy, noisy_states
from pbitstream.diffusion.digits import held_out_digits
from pbitstream.diffusion.evaluation import evaluate
from pbitstream.diffusion.generators.diffusion import DiffusionGenerator
from pbitstream.diffusion.substrate import (
    OWN_OFFSETS,
    SubstrateDenoiser,
    compile_substrate,
    dense_band,
    settle,
)
from pbitstream.errors import SpecError
from pbitstream.model import Model, shipped
from pbitstream.spec.words import BIAS

TOOLS = Path(__file__).parents[2] / "tools" / "digits"


@lru_cache(maxsize=1)
def denoiser() -> SubstrateDenoiser:
    return SubstrateDenoiser.of(Model.open(shipped("digits-substrate")))


def some_states(images: int = 3, seed: int = 5, rows: Any = range(20)) -> Noisy:
    times = np.arange(1, 21) / 20
    return noisy_states(held_out_digits()[0][:images], times, np.array(rows), seed)


def convex(draw: np.random.Generator, units: int) -> tuple[np.ndarray, ...]:
    """Return h, J, k2, k4 with the largest eigenvalue of K - J at least .2."""
    k2, k4 = draw.uniform(0.5, 2.0, units), draw.uniform(0.1, 2.0, units)
    j = draw.standard_normal((units, units))
    j += j.T
    scaled = np.linalg.eigvalsh(j / np.sqrt(np.outer(k2, k2)))
    return 3.0 * draw.standard_normal((5, units)), 0.8 / scaled[-1] * j, k2, k4


def test_a_band_inside_a_module_has_each_pair_once() -> None:
    draw = np.random.default_rng(0)
    weights = draw.standard_normal((len(OWN_OFFSETS), 128))
    for row, offset in zip(weights, OWN_OFFSETS):
        row[128 - offset :] = 0.0
    matrix = dense_band(weights, own=True)
    assert (matrix == matrix.T).all()
    for row, offset in zip(weights, OWN_OFFSETS):
        twice = 2.0 if offset == 0 else 1.0
        np.testing.assert_array_equal(np.diag(matrix, offset), twice * row[: 128 - offset])
    assert set(OWN_OFFSETS) == {abs(offset) for offset in OFFSETS}


def test_the_equilibrium_is_where_slow_descent_ends_from_anywhere() -> None:
    draw = np.random.default_rng(1)
    h, j, k2, k4 = convex(draw, 12)
    found = settle(h, j, k2, k4)
    x = draw.uniform(-8.0, 8.0, h.shape)
    np.testing.assert_allclose(settle(h, j, k2, k4, x), found, atol=1e-7)
    for _ in range(20000):
        x += 2e-3 * (h + x @ j - k2 * x - k4 * x**3)
    np.testing.assert_allclose(x, found, atol=1e-6)


def test_no_equilibrium_is_reported_where_the_energy_is_not_convex_and_none_is_found() -> None:
    h = np.zeros((1, 2))
    with pytest.raises(SpecError, match="largest eigenvalue of J below k2"):
        settle(h + np.array([1.0, np.nan]), np.eye(2), np.ones(2), np.ones(2))


def twin(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("substrate_torch")


def test_the_derivatives_are_those_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    tools = twin(monkeypatch)
    monkeypatch.setattr(tools, "PLAN", (8,) * 8)
    monkeypatch.setattr(tools, "BACK", 12)
    h, j, k2, k4 = convex(np.random.default_rng(2), 4)
    root = np.sqrt(k2)  # the twin's units have k2 = 1
    arrays = h / root, j / np.outer(root, root), k4 / k2**2
    inputs = [torch.from_numpy(array).requires_grad_() for array in arrays]

    def symmetric(h: Any, j: Any, k4: Any) -> Any:
        return tools.equilibrium(h, 0.5 * (j + j.T), k4)

    assert torch.autograd.gradcheck(symmetric, inputs, eps=1e-5, atol=1e-5)
    np.testing.assert_allclose(symmetric(*inputs).detach().numpy() / root,
                               settle(h, j, k2, k4), atol=1e-7)


@lru_cache(maxsize=1)
def small_model() -> Model:
    """Return a small model that was not trained, from the torch twin."""
    torch = pytest.importorskip("torch")
    tools: Any = importlib.import_module("substrate_torch")
    torch.manual_seed(0)
    net = tools.Substrate(2, 16, 3, 2, 2)
    with torch.no_grad():
        net.log_k4 += 0.3 * torch.randn(net.units)
        net.gates *= 1.5
    states = some_states()
    x_in = Denoiser.scaled(denoiser(), states)
    tensors = net.tensors(x_in, states.rows)
    model = Model({**tensors, "f": net.evaluate(x_in, states.rows)[0]})
    assert net.numbers()["band"] == (16 * 22**2 + 4 * 64) // 2 + 8 * 22**2
    return model


def test_torch_and_numpy_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    twin(monkeypatch)
    model, states = small_model(), some_states()
    ours = SubstrateDenoiser.of(model)
    f = ours.decode(ours.equilibrium(states), states)[0]
    np.testing.assert_allclose(f, model["f"], atol=1e-4 * np.abs(f).max())
    # Units are scaled to what a device holds, and so that k4 is the same everywhere.
    assert np.abs(ours.settled(states)).max() == pytest.approx(4.0, rel=1e-3)
    assert np.ptp(model["k4"]) == 0.0


def test_the_program_has_the_couplings_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    twin(monkeypatch)
    model = small_model()
    ours = SubstrateDenoiser(model, compile_substrate(model))
    topology = ours.program.topology
    found = coupling_matrix(topology, ours.program.tables)[128:]
    float_j = np.concatenate([ours._drive, ours._coupling], axis=1)
    # Band weights have 10 fraction bits, factors 10 bits.
    assert np.abs(found - float_j).max() < 2.0**-9 * max(1.0, np.abs(float_j).max())


def test_the_shipped_equilibrium_is_unique_by_proof() -> None:
    program = denoiser().program
    margins, tables = program.margins(), program.tables
    topology = program.topology
    free = np.concatenate([np.full(m.dim, not m.clamped) for m in topology.modules])
    assert margins.gap is not None
    assert margins.gap > 0.02
    assert tables["k4"][free].min() > 0
    # The same by hand: K - J is positive definite, and 3 k4 x^2 only adds to it.
    j = coupling_matrix(topology, tables)[np.ix_(free, free)]
    k = np.diag(tables["k2"][free] / 2.0**10)
    np.linalg.cholesky(k - j)
    assert np.linalg.eigvalsh(k - j)[0] == pytest.approx(margins.gap, abs=1e-9)
    program.check()


def test_different_starts_end_in_one_state_on_unseen_inputs() -> None:
    states = some_states(images=4, rows=range(0, 20, 3))
    ours, program = denoiser(), denoiser().program
    topology, conditioning = program.topology, program.conditioning
    assert conditioning is not None
    raw = conditioning.codes(ours.scaled(states), states.rows)
    h = conditioning.biases(raw, topology)[0] * BIAS.value(1)
    draw = np.random.default_rng(3)
    ends = []
    with Emulator() as device:
        device.load(program)
        for _ in range(2):
            units = draw.integers(-(7 << 20), 7 << 20, (len(states), topology.units))
            start = State(units.astype(np.int32), np.ones((len(states), 128), np.uint64))
            clamp = ours.clamps(states)
            for part, module in enumerate(topology.modules):
                if module.clamped:
                    where = topology.units_of(part)
                    codes = np.floor(clamp[:, where] * 2.0**12 + 0.5)
                    start.units[:, where] = codes.astype(np.int64) << 8
            readout = device.relax(h, steps=1, burn_in=600, seed=0, clamp=clamp,
                                   state=start, settings=_cold(topology))
            ends.append(readout.mean[:, ours.units])
    # 12 fraction bits are read, of 20 that are held.
    assert np.abs(ends[0] - ends[1]).max() <= 2.0**-11
    wide = draw.uniform(-8.0, 8.0, (len(states), len(ours.model["bias"])))
    np.testing.assert_allclose(ours.settled(states, wide), ours.settled(states), atol=1e-6)


def _cold(topology: Any) -> Any:
    from pbitstream.devices.protocol import Settings

    return Settings(temperature=[float("nan") if m.clamped else 0.0 for m in topology.modules])


def test_the_shipped_model_follows_its_equilibrium_and_denoises() -> None:
    states = some_states(images=20, seed=1)
    with Emulator() as device:
        found = evaluate(denoiser(), device, states, np.arange(20))
    figures = found.metrics
    assert figures["substrate"].r2 > 0.998
    got, exact = figures["substrate"].f_mse, figures["equilibrium"].f_mse
    assert got is not None
    assert exact is not None
    assert abs(got - exact) < 0.002
    assert got < 0.47
    constant, shuffled = figures["constant"].f_mse, figures["shuffled"].f_mse
    assert constant is not None
    assert shuffled is not None
    assert min(constant, shuffled) > 1.7 * got
    assert found.saturated == dict.fromkeys(found.saturated, 0)


def test_a_longer_burn_in_changes_less_than_noise_does() -> None:
    states = some_states(images=4)
    program = denoiser().program
    layers = []
    with Emulator() as device:
        for burn_in in (program.burn_in, 4 * program.burn_in):
            found = evaluate(denoiser(), device, states, np.arange(20), temperature=0.0,
                             burn_in=burn_in, steps=1)
            layers.append(found.outputs["substrate"].f)
    # Noise at the program's temperature and window is .037 rms; single pixels may move by that.
    assert np.sqrt(((layers[0] - layers[1]) ** 2).mean()) < 0.01


def test_it_is_a_denoiser_of_the_same_face() -> None:
    base: Denoiser = denoiser()
    states = some_states(images=1)
    assert base.clamps(states).shape == (20, 64 * denoiser().model["gates"].shape[1])
    assert base.mean.shape == (base.units.stop - base.units.start,)
    assert (base.reference(states) == base.equilibrium(states)).all()
    with Emulator() as device:
        drawn = DiffusionGenerator(base, sampling_steps=2).draw(device, 2, seed=0)
    assert drawn.images.shape == (2, 64)


def test_the_shipped_file_counts_fewer_numbers_than_the_unet() -> None:
    numbers = int(denoiser().model.provenance["numbers"].split(":")[0])
    unet = Model.open(shipped("digits-k16"))
    assert numbers < sum(t.size for n, t in unet.tensors.items() if n.startswith("unet."))
    assert shipped("digits-substrate").stat().st_size < 500_000

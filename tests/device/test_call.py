"""Arguments of a relaxation: what is refused, word for word, and what codes they become."""

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.call import Call, Sums, prepare, to_readout
from pbitstream.devices.protocol import CLIP_NAMES, Settings, State
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError, SpecError, UnstableError
from pbitstream.program import Program

NAN = float("nan")


def program() -> Program:
    """Return x (3, Langevin), p (2, p-bits), c (2, clamped Langevin), q (1, clamped p-bit)."""
    builder = ProgramBuilder()
    x, p = builder.langevin("x", 3), builder.pbit("p", 2)
    c, q = builder.clamped("c", 2), builder.clamped("q", 1, kind="pbit")
    builder.low_rank(x, p, np.ones((3, 1)), np.ones((2, 1)), [0.1])
    builder.band(c, x, {0: [0.5, 0.25, 0.0]})
    builder.band(q, p, {0: [0.5, 0.0]})
    return builder.build()


def arguments(**changes: Any) -> dict[str, Any]:
    basic: dict[str, Any] = {"h": np.zeros((2, 8)), "steps": 3, "seed": 1,
                             "clamp": np.array([[0.5, -0.5, 1.0]] * 2)}
    return {**basic, **changes}


def state(**changes: Any) -> State:
    basic: dict[str, Any] = {"units": np.zeros((2, 8), np.int32),
                             "noise": np.ones((2, 128), np.uint64)}
    return State(**{**basic, **changes})


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"steps": 0}, "steps must be between 1 and 16777215, not 0"),
    ({"steps": 1 << 24}, "steps must be between 1 and 16777215, not 16777216"),
    ({"burn_in": -1}, "burn_in must be between 0 and 16777215, not -1"),
    ({"seed": -1}, "seed must be between 0 and 2**64 - 1, not -1"),
    ({"seed": 1 << 64}, "seed must be between 0 and 2**64 - 1, not 18446744073709551616"),
    ({"h": np.zeros(8)}, "h must have shape (inputs, 8) with at least one input, not (8,)"),
    ({"h": np.zeros((2, 7))}, "h must have shape (inputs, 8) with at least one input, not (2, 7)"),
    ({"h": np.zeros((0, 8))}, "h must have shape (inputs, 8) with at least one input, not (0, 8)"),
    ({"h": np.full((2, 8), NAN)}, "h must be finite"),
    ({"h": np.full((2, 8), 8.0)}, "h must be between -8 and 7.99976, not 8"),
    ({"h": np.full((2, 8), -8.1)}, "h must be between -8 and 7.99976, not -8.1"),
    ({"chains": 0}, "chains must be at least 1, not 0"),
    ({"first_chain": -1}, "chain indices must stay below 2**32, not -1 to 0"),
    ({"first_chain": 2**32 - 1},
     ("chain indices must stay below 2**32, not 4294967295 to "
      "4294967296")),
    ({"clamp": None}, "clamp must give 3 values per input for c, q"),
    ({"clamp": np.zeros((2, 2))}, "clamp must have shape (2, 3) for c, q, not (2, 2)"),
    ({"clamp": np.zeros(3)}, "clamp must have shape (2, 3) for c, q, not (3,)"),
    ({"clamp": np.full((2, 3), 9.0)}, "clamp must be between -8 and 7.99976, not 9"),
    ({"clamp": np.full((2, 3), NAN)}, "clamp must be finite"),
    ({"clamp": np.zeros((2, 3))}, "clamp of p-bit module q must be -1 or +1"),
    ({"gains": np.zeros((3, 1))}, "gains must have shape (2 or 1, 3, 1), not (3, 1)"),
    ({"gains": np.zeros((3, 3, 1))}, "gains must have shape (2 or 1, 3, 1), not (3, 3, 1)"),
    ({"gains": np.full((1, 3, 1), 1e9)}, "gain of bank 0 must be between"),
    ({"gains": np.full((1, 3, 1), NAN)}, "gain of bank 0 must be finite"),
    ({"settings": Settings(k2=[1.0])}, "settings.k2 must have shape (4,), not (1,)"),
    ({"settings": Settings(beta=1.0)}, "settings.beta must have shape (4,), not ()"),
    ({"settings": Settings(beta=[1.0, NAN, NAN, NAN])},
     "settings.beta does not apply to module x; leave it NaN there"),
    ({"settings": Settings(k2=[NAN, 1.0, NAN, NAN])},
     "settings.k2 does not apply to module p; leave it NaN there"),
    ({"settings": Settings(temperature=[NAN, NAN, 0.0, NAN])},
     "settings.temperature does not apply to module c; leave it NaN there"),
    ({"settings": Settings(beta=[NAN, NAN, NAN, 1.0])},
     "settings.beta does not apply to module q; leave it NaN there"),
    ({"settings": Settings(k2=[0.0, NAN, NAN, NAN])},
     "settings.k2 of module x must be at least 0.000976562, not 0"),
    ({"settings": Settings(k2=[32.0, NAN, NAN, NAN])}, "k2 must be between 0 and 31.999, not 32"),
    ({"settings": Settings(k4=[-0.1, NAN, NAN, NAN])},
     "k4 must be between 0 and 7.99976, not -0.1"),
    ({"settings": Settings(temperature=[-1.0, NAN, NAN, NAN])},
     "temperature must be finite and not negative, not -1.0"),
    ({"settings": Settings(beta=[NAN, 16.0, NAN, NAN])},
     ("beta must be between 0 and 15.9998, not "
      "16")),
    ({"state": state(units=np.zeros((2, 8), np.int64))},
     "state.units must be int32 of shape (2, 8), not int64 of shape (2, 8)"),
    ({"state": state(units=np.zeros((1, 8), np.int32))},
     "state.units must be int32 of shape (2, 8), not int32 of shape (1, 8)"),
    ({"state": state(noise=np.ones((2, 128), np.int64))},
     "state.noise must be uint64 of shape (2, 128), not int64 of shape (2, 128)"),
    ({"state": state(noise=np.ones((2, 64), np.uint64))},
     "state.noise must be uint64 of shape (2, 128), not uint64 of shape (2, 64)"),
    ({"state": state(noise=np.zeros((2, 128), np.uint64))},
     "state.noise must not hold a zero word: its stream would stand still"),
    ({"state": state(units=np.full((2, 8), 1 << 23, np.int32))},
     "state.units must be 24-bit codes"),
    ({"state": state(units=np.full((2, 8), -(1 << 23) - 1, np.int32))},
     "state.units must be 24-bit codes"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSALS, ids=[m for _, m in REFUSALS])
def test_refusal(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        prepare(program(), **arguments(**changes))


@pytest.mark.parametrize("spin", [-1, 2, 5])
def test_a_spin_of_a_state_is_0_or_1(spin: int) -> None:
    units = np.zeros((2, 8), np.int32)
    units[1, 4] = spin
    with pytest.raises(SpecError, match=r"state\.units"):
        prepare(program(), **arguments(state=state(units=units)))


@pytest.mark.parametrize("changes", [
    {"steps": 1.5}, {"burn_in": 0.5}, {"seed": 0.5}, {"chains": 1.5}, {"first_chain": 0.5},
    {"steps": NAN}, {"seed": NAN},
], ids=repr)
def test_counts_are_whole_numbers(changes: dict[str, Any]) -> None:
    with pytest.raises((SpecError, TypeError)):
        prepare(program(), **arguments(**changes))


def test_numpy_integers_are_whole_numbers() -> None:
    call = prepare(program(), **arguments(steps=np.int64(3), seed=np.uint64(2**64 - 1),
                                          chains=np.int32(2), first_chain=np.uint32(5)))
    assert (call.steps, call.seed, call.chains, call.first_chain) == (3, 2**64 - 1, 2, 5)
    for value in (call.steps, call.seed, call.chains, call.first_chain):
        assert type(value) is int


def test_a_clamp_without_a_clamped_module_is_refused() -> None:
    builder = ProgramBuilder()
    builder.langevin("x", 2)
    free = builder.build()
    with pytest.raises(SpecError, match=r"^clamp must be absent: the program has no clamped mod"):
        prepare(free, np.zeros((1, 2)), steps=1, seed=0, clamp=np.zeros((1, 1)))


def test_codes_of_a_call() -> None:
    h = np.arange(16.0).reshape(2, 8) / 1000
    h[:, 5:] = NAN  # A clamped unit's bias is ignored, whatever it is.
    call = prepare(program(), **arguments(h=h, chains=3, gains=np.full((2, 3, 1), 0.0625)))
    free = np.floor(h[:, :5] * 4096 + 0.5)
    np.testing.assert_array_equal(call.h[:, :5], free)
    assert not call.h[:, 5:].any()
    assert call.rounding == pytest.approx(np.abs(h[:, :5] - free / 4096).max())
    assert 0 < call.rounding <= 2.0**-13
    assert call.clamp.tolist() == [[0] * 5 + [2048, -2048, 4096]] * 2
    assert (call.inputs, call.total_chains) == (2, 6)
    fraction = program().topology.banks[0].gain_fraction  # type: ignore[union-attr]
    assert (call.gains[:, 0, 0] == 0.0625 * 2**fraction).all()
    assert not call.gains[:, 1:].any()


def test_settings_replace_the_codes_of_their_modules() -> None:
    base = prepare(program(), **arguments())
    settings = Settings(k2=[2.0, NAN, NAN, NAN], k4=[0.5, NAN, NAN, NAN],
                        temperature=[0.0, NAN, NAN, NAN], beta=[NAN, 0.5, NAN, NAN])
    call = prepare(program(), **arguments(settings=settings))
    assert call.k2.tolist() == [2048] * 3 + [0] * 5
    assert call.k4.tolist() == [2048] * 3 + [0] * 5
    assert call.noise_gain.tolist() == [[0, 0, 0, 0]]
    assert call.beta.tolist() == [[0, 2048, 0, 0]]
    assert base.noise_gain[0, 0] >= 4096
    kept = prepare(program(), **arguments(settings=Settings(k2=[NAN] * 4)))
    for name in ("k2", "k4", "noise_gain", "noise_shift", "beta"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(base, name))


def sums_of(call: Call, units: NDArray[np.int64]) -> Sums:
    chains = call.total_chains
    return Sums(units, units * units, State(np.zeros((chains, 8), np.int32),
                                            np.ones((chains, 128), np.uint64)),
                np.arange(5 * chains).reshape(chains, 5))


def test_a_readout_averages_over_window_and_chains() -> None:
    call = prepare(program(), **arguments(steps=4, chains=2, moments=True))
    units = np.arange(32, dtype=np.int64).reshape(4, 8)
    readout = to_readout(program(), call, sums_of(call, units))
    pairs = units.reshape(2, 2, 8).sum(axis=1)
    np.testing.assert_allclose(readout.mean[:, :3], pairs[:, :3] / 4096 / 8)
    np.testing.assert_allclose(readout.mean[:, 3:5], pairs[:, 3:5] / 8)
    np.testing.assert_array_equal(readout.mean[:, 5:], [[0.5, -0.5, 1.0]] * 2)
    assert readout.square is not None
    squares = (units * units).reshape(2, 2, 8).sum(axis=1)
    np.testing.assert_allclose(readout.square[:, :3], squares[:, :3] / 4096**2 / 8)
    np.testing.assert_array_equal(readout.square[:, 5:], [[0.25, 0.25, 1.0]] * 2)
    assert readout.saturated == dict(zip(CLIP_NAMES, [30, 34, 38, 42, 46]))
    assert np.isnan(readout.temperature[[1, 3]]).all()
    assert readout.temperature[0] == pytest.approx(0.01, rel=1e-3)


def test_clamps_hold_and_state_shows_them() -> None:
    with Emulator(engine="numpy") as device:
        device.load(program())
        readout = device.relax(**arguments(chains=2, moments=True))
    assert (readout.state.units[:, 5:] == [2048 << 8, -2048 << 8, 1]).all()
    assert not readout.sums[:, :, 5:].any()


def test_a_device_without_a_program() -> None:
    device = Emulator(engine="numpy")
    with pytest.raises(DeviceError, match=r"^no program is loaded; call load first$"):
        device.relax(**arguments())
    device.load(program())
    assert device.info()["program_digest"] == program().digest
    device.reset()
    assert device.info()["program_digest"] is None
    with pytest.raises(DeviceError, match=r"^no program is loaded; call load first$"):
        device.relax(**arguments())


def test_a_program_that_is_refused_leaves_the_one_before() -> None:
    builder = ProgramBuilder()
    x = builder.langevin("x", 2)
    builder.band(x, x, {1: [3.0, 0.0]})
    with Emulator(engine="numpy") as device:
        device.load(program())
        before = device.relax(**arguments()).sums
        with pytest.raises(UnstableError, match=r"^no stable equilibrium"):
            device.load(builder.build())
        np.testing.assert_array_equal(device.relax(**arguments()).sums, before)


def test_engines_and_threads_are_checked() -> None:
    with pytest.raises(SpecError, match=r"^engine must be one of numba, numpy, oracle, not gpu$"):
        Emulator(engine="gpu")
    with pytest.raises(SpecError, match=r"^threads must be at least 1, not 0$"):
        Emulator(threads=0)


def test_rows_of_settings_share_the_steps() -> None:
    rows = np.full((3, 4), NAN)
    rows[:, 1] = 0.25, 0.5, 1.0
    call = prepare(program(), **arguments(steps=5, burn_in=2, settings=Settings(beta=rows)))
    # Step t of 7 takes row t * 3 // 7.
    assert [(row.burn_in, row.steps, int(row.beta[1])) for row in call.rows] == [
        (2, 1, 1024), (0, 2, 2048), (0, 2, 4096)]
    with pytest.raises(SpecError, match="between 1 row and as many as the relaxation has steps, 2"):
        prepare(program(), **arguments(steps=1, burn_in=1, settings=Settings(beta=rows)))
    rows[1, 1] = NAN
    with pytest.raises(SpecError, match="beta of module p must be given in every row or in none"):
        prepare(program(), **arguments(steps=9, settings=Settings(beta=rows)))
    with pytest.raises(SpecError, match=r"temperature must have shape \(4,\) or \(3, 4\)"):
        prepare(program(), **arguments(steps=9, settings=Settings(
            beta=np.full((3, 4), NAN), temperature=np.full((2, 4), NAN))))


def test_equal_rows_are_one() -> None:
    rows = np.full((4, 4), NAN)
    rows[:, 1] = 0.5, 0.5, 1.0, 0.5
    call = prepare(program(), **arguments(steps=8, settings=Settings(beta=rows)))
    assert [(row.steps, int(row.beta[1])) for row in call.rows] == [(4, 2048), (2, 4096),
                                                                    (2, 2048)]

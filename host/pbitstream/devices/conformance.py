"""The suite that every device passes: emulators, simulators and boards, unchanged.

Each check is a function of an open device, a program and a `Sizes`; `check_device` runs them all.
The yardstick is the integer oracle, so a device that passes computes the numerics in every bit. A
failure raises `AssertionError` with the program's digest, what was compared and where it differs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import CLIP_NAMES, Device, Readout, Settings, State
from pbitstream.devices.random_programs import random_call
from pbitstream.emulator.device import Emulator
from pbitstream.errors import DeviceError, SpecError
from pbitstream.program import Program
from pbitstream.spec.noise import STREAMS
from pbitstream.spec.words import BIAS, MAX_BURN_IN, MAX_STEPS, STATE

__all__ = ["CHECKS", "Passed", "Sizes", "check_device", "same_readout"]


@dataclass(frozen=True)
class Sizes:
    """How much a suite computes: steps and burn-in up to `steps`, and inputs and chains.

    `seed` draws the calls; it stands in every failure.
    """

    steps: int = 4
    chains: int = 3
    seed: int = 1


@dataclass(frozen=True)
class Passed:
    """A check that passed, and the digest of its program."""

    check: str
    program: str


Check = Callable[[Device, Program, Sizes], None]


def check_device(
    open_device: Callable[[], Device],
    programs: Sequence[Program],
    *,
    sizes: Sizes | None = None,
    checks: Sequence[Check] | None = None,
) -> list[Passed]:
    """Run every check on every program and return what passed.

    Parameters
    ----------
    open_device
        Opens the device under test; called once per program and once more for its life cycle.
    programs
        Programs that fit the device; see `pbitstream.devices.random_programs`.
    sizes
        Steps, chains and seed of the calls.
    checks
        By default `CHECKS`.

    Raises
    ------
    AssertionError
        At the first check that fails.
    """
    if not programs:
        raise SpecError("programs must hold at least one program")
    sizes = sizes or Sizes()
    passed = []
    check_life(open_device, programs[0], sizes)
    passed.append(Passed("check_life", programs[0].digest))
    for program in programs:
        with open_device() as device:
            device.load(program, force=True)
            for check in CHECKS if checks is None else checks:
                try:
                    check(device, program, sizes)
                except AssertionError as error:
                    where = f"program {program.digest[:16]}, call seed {sizes.seed}"
                    raise AssertionError(f"{check.__name__}, {where}: {error}") from error
                passed.append(Passed(check.__name__, program.digest))
    return passed


def same_readout(got: Readout, expected: Readout) -> None:
    """Raise AssertionError unless two readouts agree in every bit."""
    _same("sums", got.sums, expected.sums)
    _same("square_sums", got.square_sums, expected.square_sums)
    _same("state.units", got.state.units, expected.state.units)
    _same("state.noise", got.state.noise, expected.state.noise)
    _same("clips", got.clips, expected.clips)
    for name in ("mean", "square", "temperature"):
        _same(name, getattr(got, name), getattr(expected, name))
    for name in ("steps", "burn_in", "rounding"):
        _true(getattr(got, name) == getattr(expected, name),
              f"{name} is {getattr(got, name)}, expected {getattr(expected, name)}")


def check_oracle(device: Device, program: Program, sizes: Sizes) -> None:
    """Compare sums, squares, state, noise words and clips with the integer oracle."""
    with Emulator(engine="oracle") as oracle:
        oracle.load(program, force=True)
        for call in _calls(program, sizes, 2, max_rows=3):
            same_readout(device.relax(**call), oracle.relax(**call))


def check_shapes(device: Device, program: Program, sizes: Sizes) -> None:
    """Look for the documented shapes, dtypes and clip names in a readout."""
    units, modules = program.topology.units, len(program.topology.modules)
    for moments in (False, True):
        call = {**_call(program, sizes), "moments": moments}
        readout = device.relax(**call)
        inputs, chains = len(call["h"]), call["chains"]
        shapes: dict[str, tuple[Any, tuple[int, ...], type]] = {
            "sums": (readout.sums, (inputs, chains, units), np.int64),
            "state.units": (readout.state.units, (inputs * chains, units), np.int32),
            "state.noise": (readout.state.noise, (inputs * chains, STREAMS), np.uint64),
            "clips": (readout.clips, (inputs, chains, len(CLIP_NAMES)), np.int64),
            "mean": (readout.mean, (inputs, units), np.float64),
            "temperature": (readout.temperature, (modules,), np.float64),
        }
        if moments:
            shapes["square_sums"] = readout.square_sums, (inputs, chains, units), np.int64
            shapes["square"] = readout.square, (inputs, units), np.float64
        else:
            _true(readout.square_sums is None and readout.square is None,
                  "second moments came back without being asked for")
        for name, (array, shape, dtype) in shapes.items():
            _true(isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype,
                  f"{name} must be {np.dtype(dtype).name} of shape {shape}")
        _true(tuple(readout.saturated) == CLIP_NAMES, "saturated must name every counter")
        _true((readout.steps, readout.burn_in) == (call["steps"], call["burn_in"]),
              "steps and burn_in must be those of the call")


def check_resume(device: Device, program: Program, sizes: Sizes) -> None:
    """Compare relax(a), then relax(b) from its state, with relax(a + b) in every bit."""
    for call in _calls(program, sizes, 2):
        first, second = call["steps"], 1 + call["burn_in"]
        whole = device.relax(**{**call, "steps": first + second})
        one = device.relax(**call)
        two = device.relax(**{**call, "steps": second, "burn_in": 0, "state": one.state})
        _same("sums", one.sums + two.sums, whole.sums)
        if one.square_sums is not None and two.square_sums is not None:
            _same("square_sums", one.square_sums + two.square_sums, whole.square_sums)
        _same("clips", one.clips + two.clips, whole.clips)
        _same("state.units", two.state.units, whole.state.units)
        _same("state.noise", two.state.noise, whole.state.noise)
        # Burn-in is steps that are not averaged, nothing else.
        late = device.relax(**{**call, "steps": second, "burn_in": call["burn_in"] + first})
        _same("sums after a longer burn-in", late.sums, two.sums)
        _same("clips of a longer burn-in", late.clips, whole.clips)


def check_batches(device: Device, program: Program, sizes: Sizes) -> None:
    """Compare inputs one at a time, with their first_chain, with the batch."""
    for call in _calls(program, sizes, 2):
        chains, whole = call["chains"], device.relax(**call)
        for i in range(len(call["h"])):
            part = device.relax(**_one_input(call, i))
            rows = slice(i * chains, (i + 1) * chains)
            _same(f"sums of input {i}", part.sums[0], whole.sums[i])
            if whole.square_sums is not None and part.square_sums is not None:
                _same(f"square_sums of input {i}", part.square_sums[0], whole.square_sums[i])
            _same(f"mean of input {i}", part.mean[0], whole.mean[i])
            _same(f"clips of input {i}", part.clips[0], whole.clips[i])
            _same(f"units of input {i}", part.state.units, whole.state.units[rows])
            _same(f"noise of input {i}", part.state.noise, whole.state.noise[rows])


def check_chains(device: Device, program: Program, sizes: Sizes) -> None:
    """Compare n chains of one input with n equal inputs of one chain each."""
    call = _one_input(_call(program, sizes), 0)
    together = device.relax(**call)
    apart = {**call, "chains": 1}
    for name in ("h", "clamp"):
        if name in call:
            apart[name] = np.repeat(call[name], call["chains"], axis=0)
    split = device.relax(**apart)
    _same("sums", split.sums.reshape(together.sums.shape), together.sums)
    _same("clips", split.clips.reshape(together.clips.shape), together.clips)
    _same("units", split.state.units, together.state.units)
    _same("noise", split.state.noise, together.state.noise)


def check_stateless(device: Device, program: Program, sizes: Sizes) -> None:
    """Make sure that a call leaves its arguments alone and no trace for the next call."""
    call, other = _calls(program, sizes, 2)
    before = {n: v.copy() for n, v in call.items() if isinstance(v, np.ndarray)}
    stored = None
    if "state" in call:
        stored = State(call["state"].units.copy(), call["state"].noise.copy())
    first = device.relax(**call)
    device.relax(**other)
    same_readout(device.relax(**call), first)
    for name, array in before.items():
        _same(f"argument {name}", call[name], array)
    if stored is not None:
        _same("argument state.units", call["state"].units, stored.units)
        _same("argument state.noise", call["state"].noise, stored.noise)


def check_refusals(device: Device, program: Program, sizes: Sizes) -> None:
    """Expect SpecError for every bad argument, and the device to go on as if nothing was asked."""
    call = _call(program, sizes)
    expected = device.relax(**call)
    for name, bad in _bad_arguments(program, call).items():
        try:
            device.relax(**{**call, **bad})
        except SpecError:
            pass
        else:
            raise AssertionError(f"{name} was accepted")
        same_readout(device.relax(**call), expected)


def check_life(open_device: Callable[[], Device], program: Program, sizes: Sizes) -> None:
    """Open, load twice, reset and close, as a context manager and by hand."""
    call = _call(program, sizes)
    with open_device() as device:
        _refuses_unloaded(device, call)
        device.load(program, force=True)
        first = device.relax(**call)
        _true(bool(device.info()), "info must say what the device is")
        device.load(program, force=True)
        same_readout(device.relax(**call), first)
        device.reset()
        _refuses_unloaded(device, call)
        device.load(program, force=True)
        same_readout(device.relax(**call), first)
    by_hand = open_device()
    by_hand.close()
    by_hand.close()


#: Checks of a loaded device, in the order of `check_device`.
CHECKS: tuple[Check, ...] = (
    check_oracle,
    check_shapes,
    check_resume,
    check_batches,
    check_chains,
    check_stateless,
    check_refusals,
)


def _calls(
    program: Program, sizes: Sizes, count: int, *, max_rows: int = 1
) -> list[dict[str, Any]]:
    rng = np.random.default_rng([sizes.seed, int(program.digest[:8], 16)])
    return [random_call(program, rng, max_steps=sizes.steps, max_chains=sizes.chains,
                        max_rows=max_rows)
            for _ in range(count)]


def _call(program: Program, sizes: Sizes) -> dict[str, Any]:
    return _calls(program, sizes, 1)[0]


def _one_input(call: dict[str, Any], i: int) -> dict[str, Any]:
    """Return the call of input i of a call alone."""
    chains = call["chains"]
    part = {**call, "h": call["h"][i : i + 1], "first_chain": call["first_chain"] + i * chains}
    if "clamp" in call:
        part["clamp"] = call["clamp"][i : i + 1]
    if len(call.get("gains", ())) > 1:
        part["gains"] = call["gains"][i : i + 1]
    if "state" in call:
        rows = slice(i * chains, (i + 1) * chains)
        part["state"] = State(call["state"].units[rows], call["state"].noise[rows])
    return part


def _bad_arguments(program: Program, call: dict[str, Any]) -> dict[str, dict[str, Any]]:
    topology, h, chains = program.topology, call["h"], call["chains"]
    free = np.concatenate([np.full(m.dim, not m.clamped) for m in topology.modules])
    rows = len(h) * chains
    bad: dict[str, dict[str, Any]] = {
        "no step": {"steps": 0},
        "a window beyond the spec": {"steps": MAX_STEPS + 1},
        "a negative burn-in": {"burn_in": -1},
        "a burn-in beyond the spec": {"burn_in": MAX_BURN_IN + 1},
        "a negative seed": {"seed": -1},
        "a seed of 65 bits": {"seed": 1 << 64},
        "no chain": {"chains": 0},
        "a negative first_chain": {"first_chain": -1},
        "a last chain of 33 bits": {"first_chain": (1 << 32) - rows + 1},
        "an h of one dimension": {"h": h[0]},
        "an h without inputs": {"h": h[:0]},
        "an h that lacks a unit": {"h": h[:, 1:]},
        "an h of NaN": {"h": np.where(free, np.nan, h)},
        "an h out of range": {"h": np.where(free, BIAS.value(BIAS.highest + 1), h)},
        "settings of a module too many": {
            "settings": Settings(beta=np.zeros(len(topology.modules) + 1))
        },
        "a negative temperature": {
            "settings": Settings(temperature=np.full(len(topology.modules), -1.0))
        },
        "gains of an input too many": {
            "gains": np.zeros((len(h) + 1, len(topology.banks), topology.max_rank))
        },
    }
    if free.all():
        bad["a clamp of nothing"] = {"clamp": np.zeros((len(h), 1))}
    else:
        bad["no clamp"] = {"clamp": None}
        bad["a clamp that lacks a unit"] = {"clamp": call["clamp"][:, 1:]}
        bad["a clamp out of range"] = {"clamp": np.full_like(call["clamp"], 8.0)}
    state = State(np.zeros((rows, topology.units), np.int32), np.ones((rows, STREAMS), np.uint64))
    changes: dict[str, dict[str, Any]] = {
        "a state that lacks a unit": {"units": state.units[:, 1:]},
        "a state of int64": {"units": state.units.astype(np.int64)},
        "a state of 25 bits": {"units": state.units + np.int32(STATE.highest + 1)},
        "a state that lacks a chain's noise": {"noise": state.noise[:-1]},
        "a state with a noise word of 0": {"noise": state.noise * np.uint64(0)},
    }
    if any(m.kind == "pbit" and not m.clamped for m in topology.modules):
        changes["a spin of -1 in a state"] = {"units": state.units - np.int32(1)}
        changes["a spin of 2 in a state"] = {"units": state.units + np.int32(2)}
    return bad | {name: {"state": replace(state, **change)} for name, change in changes.items()}


def _refuses_unloaded(device: Device, call: dict[str, Any]) -> None:
    try:
        device.relax(**call)
    except DeviceError:
        return
    raise AssertionError("relax must raise DeviceError while no program is loaded")


def _same(what: str, got: NDArray[Any] | None, expected: NDArray[Any] | None) -> None:
    if got is None or expected is None:
        _true(got is expected, f"{what} is {'absent' if got is None else 'present'}")
        return
    _true(got.shape == expected.shape, f"{what} has shape {got.shape}, not {expected.shape}")
    wrong = (got != expected) & ~((got != got) & (expected != expected))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(f"{what} differs in {int(wrong.sum())} of {wrong.size} places, "
                             f"first at {at}: {got[at]}, expected {expected[at]}")


def _true(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)

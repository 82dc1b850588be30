"""One relaxation as integers: what `Device.relax` was asked for, checked, in codes.

Devices compute on a `Call` and answer with `Sums`; `to_readout` turns those into values. So every
device rounds, checks and averages alike.
"""

import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pbitstream.codes import codes
from pbitstream.devices.protocol import Readout, Settings, State
from pbitstream.errors import SpecError
from pbitstream.program import Program, check_window
from pbitstream.spec.fixed import Format
from pbitstream.spec.noise import STREAMS, WORD_MASK, noise_gain, noise_temperature
from pbitstream.spec.topology import LowRankBank
from pbitstream.spec.words import BETA, BIAS, CLAMP, EXPOSED, GAIN, K2, K4, MAX_CHAINS, STATE

__all__ = ["Call", "Sums", "prepare", "to_readout"]


@dataclass(frozen=True, eq=False)
class Call:
    """A checked relaxation of inputs * chains chains, everything in codes.

    `h` int32 (inputs, units), 0 where clamped; `clamp` int32 (inputs, units): exposed codes of
    Langevin units and +-4096 of p-bits where clamped, else 0; `gains` int16 (inputs or 1, banks,
    largest rank); `k2`, `k4` int32 (units,); `noise_gain`, `noise_shift`, `beta` int32 (modules,).
    """

    h: NDArray[np.int32]
    clamp: NDArray[np.int32]
    gains: NDArray[np.int16]
    k2: NDArray[np.int32]
    k4: NDArray[np.int32]
    noise_gain: NDArray[np.int32]
    noise_shift: NDArray[np.int32]
    beta: NDArray[np.int32]
    steps: int
    burn_in: int
    seed: int
    chains: int
    first_chain: int
    state: State | None
    moments: bool
    rounding: float

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return len(self.h)

    @property
    def total_chains(self) -> int:
        """Chains of all inputs; chain c of input i has local index i * chains + c."""
        return self.inputs * self.chains


@dataclass(frozen=True, eq=False)
class Sums:
    """What a device computed, per chain: int64 sums, squares (zeros unless asked), state, clips."""

    sums: NDArray[np.int64]
    squares: NDArray[np.int64]
    state: State
    clips: NDArray[np.int64]


def prepare(
    program: Program,
    h: ArrayLike,
    *,
    steps: int,
    burn_in: int = 0,
    seed: int,
    clamp: ArrayLike | None = None,
    gains: ArrayLike | None = None,
    settings: Settings | None = None,
    chains: int = 1,
    first_chain: int = 0,
    state: State | None = None,
    moments: bool = False,
) -> Call:
    """Check the arguments of `Device.relax` and return them as codes; SpecError otherwise."""
    topology = program.topology
    steps, burn_in, seed, chains, first_chain = (
        _whole(name, value)
        for name, value in (("steps", steps), ("burn_in", burn_in), ("seed", seed),
                            ("chains", chains), ("first_chain", first_chain))
    )
    check_window(steps, burn_in)
    for name, value, kind in (("settings", settings, Settings), ("state", state, State)):
        if value is not None and not isinstance(value, kind):
            raise SpecError(f"{name} must be a {kind.__name__}, not a {type(value).__name__}")
    if not 0 <= seed <= WORD_MASK:
        raise SpecError(f"seed must be between 0 and 2**64 - 1, not {seed}")
    h_values = _floats("h", h)
    if h_values.ndim != 2 or h_values.shape[1] != topology.units or len(h_values) == 0:
        raise SpecError(f"h must have shape (inputs, {topology.units}) with at least one input, "
                        f"not {h_values.shape}")
    if chains < 1:
        raise SpecError(f"chains must be at least 1, not {chains}")
    inputs = len(h_values)
    if not 0 <= first_chain <= MAX_CHAINS - inputs * chains:
        raise SpecError(f"chain indices must stay below 2**32, not {first_chain} to "
                        f"{first_chain + inputs * chains - 1}")
    free = np.ones(topology.units, bool)
    for index, module in enumerate(topology.modules):
        free[topology.units_of(index)] = not module.clamped
    h_values = np.where(free, h_values, 0.0)
    h_codes = codes(h_values, BIAS).astype(np.int32)
    k2, k4, noise, beta = _settings(program, settings or Settings())
    return Call(
        h=h_codes,
        clamp=_clamp(program, clamp, inputs, free),
        gains=_gains(program, gains, inputs),
        k2=k2,
        k4=k4,
        noise_gain=noise[0],
        noise_shift=noise[1],
        beta=beta,
        steps=steps,
        burn_in=burn_in,
        seed=seed,
        chains=chains,
        first_chain=first_chain,
        state=_state(program, state, inputs * chains),
        moments=bool(moments),
        rounding=float(np.abs(h_values - h_codes * BIAS.value(1)).max()),
    )


def to_readout(program: Program, call: Call, sums: Sums) -> Readout:
    """Return the readout, in values, of what a device computed."""
    topology = program.topology
    shape = (call.inputs, call.chains, topology.units)
    window = sums.sums.reshape(shape)
    squares = sums.squares.reshape(shape) if call.moments else None
    unit = np.ones(topology.units)
    held = np.full((call.inputs, topology.units), np.nan)
    temperature = np.full(len(topology.modules), np.nan)
    for index, module in enumerate(topology.modules):
        part = topology.units_of(index)
        if module.clamped:
            held[:, part] = call.clamp[:, part] * EXPOSED.value(1)
        if module.kind == "langevin":
            unit[part] = EXPOSED.value(1)
            temperature[index] = noise_temperature(
                int(call.noise_gain[index]), int(call.noise_shift[index]), topology.dt_shift
            )
    return Readout(
        sums=window,
        square_sums=squares,
        state=sums.state,
        clips=sums.clips.reshape(call.inputs, call.chains, -1),
        steps=call.steps,
        burn_in=call.burn_in,
        rounding=call.rounding,
        temperature=temperature,
        unit=unit,
        held=held,
    )


def _whole(name: str, value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise SpecError(f"{name} must be a whole number, not {value!r}") from None


def _floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise SpecError(f"{name} must be an array of numbers") from None


def _clamp(
    program: Program, clamp: ArrayLike | None, inputs: int, free: NDArray[np.bool_]
) -> NDArray[np.int32]:
    topology = program.topology
    count = int((~free).sum())
    full = np.zeros((inputs, topology.units), np.int32)
    if count == 0:
        if clamp is not None and np.size(clamp):
            raise SpecError("clamp must be absent: the program has no clamped module")
        return full
    names = ", ".join(m.name for m in topology.modules if m.clamped)
    if clamp is None:
        raise SpecError(f"clamp must give {count} values per input for {names}")
    values = _floats("clamp", clamp)
    if values.shape != (inputs, count):
        raise SpecError(f"clamp must have shape ({inputs}, {count}) for {names}, "
                        f"not {values.shape}")
    full[:, ~free] = codes(values, CLAMP)
    for index, module in enumerate(topology.modules):
        if module.clamped and module.kind == "pbit":
            spins = full[:, topology.units_of(index)]
            if (np.abs(spins) != 1 << EXPOSED.fraction).any():
                raise SpecError(f"clamp of p-bit module {module.name} must be -1 or +1")
    return full


def _gains(program: Program, gains: ArrayLike | None, inputs: int) -> NDArray[np.int16]:
    topology = program.topology
    shape = (len(topology.banks), topology.max_rank)
    own = np.zeros((1, *shape), np.int16)
    for index, bank in enumerate(topology.banks):
        if isinstance(bank, LowRankBank):
            own[0, index, : bank.rank] = program.tables[f"bank{index}.gain"]
    if gains is None:
        return own
    values = _floats("gains", gains)
    if values.ndim != 3 or values.shape[1:] != shape or len(values) not in (1, inputs):
        rows = "1" if inputs == 1 else f"{inputs} or 1"
        raise SpecError(f"gains must have shape ({rows}, {shape[0]}, {shape[1]}), "
                        f"not {values.shape}")
    raw = np.zeros(values.shape, np.int16)
    for index, bank in enumerate(topology.banks):
        if isinstance(bank, LowRankBank):
            word = Format(f"gain of bank {index}", GAIN.bits, bank.gain_fraction)
            raw[:, index, : bank.rank] = codes(values[:, index, : bank.rank], word)
    return raw


def _settings(
    program: Program, settings: Settings
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[NDArray[np.int32], NDArray[np.int32]],
           NDArray[np.int32]]:
    topology, tables = program.topology, program.tables
    asked = {}
    for name in ("k2", "k4", "temperature", "beta"):
        value = getattr(settings, name)
        values = np.full(len(topology.modules), np.nan) if value is None else np.array(
            value, np.float64
        )
        if values.shape != (len(topology.modules),):
            raise SpecError(f"settings.{name} must have shape ({len(topology.modules)},), "
                            f"not {values.shape}")
        asked[name] = values
    k2, k4 = tables["k2"].astype(np.int32), tables["k4"].astype(np.int32)
    gain = tables["noise_gain"].astype(np.int32)
    shift = tables["noise_shift"].astype(np.int32)
    beta = tables["beta"].astype(np.int32)
    for index, module in enumerate(topology.modules):
        part = topology.units_of(index)
        used = ("beta",) if module.kind == "pbit" else ("k2", "k4", "temperature")
        for name in asked:
            if not np.isnan(asked[name][index]) and (module.clamped or name not in used):
                raise SpecError(f"settings.{name} does not apply to module {module.name}; "
                                "leave it NaN there")
        if not np.isnan(asked["k2"][index]):
            k2[part] = K2.raw(float(asked["k2"][index]))
            if k2[part].min() < 1:
                raise SpecError(f"settings.k2 of module {module.name} must be at least "
                                f"{K2.value(1):g}, not {asked['k2'][index]:g}")
        if not np.isnan(asked["k4"][index]):
            k4[part] = K4.raw(float(asked["k4"][index]))
        if not np.isnan(asked["temperature"][index]):
            gain[index], shift[index] = noise_gain(
                float(asked["temperature"][index]), topology.dt_shift
            )
        if not np.isnan(asked["beta"][index]):
            beta[index] = BETA.raw(float(asked["beta"][index]))
    return k2, k4, (gain, shift), beta


def _state(program: Program, state: State | None, chains: int) -> State | None:
    if state is None:
        return None
    topology = program.topology
    for name, array, shape, dtype in (
        ("units", state.units, (chains, topology.units), np.int32),
        ("noise", state.noise, (chains, STREAMS), np.uint64),
    ):
        if array.shape != shape or array.dtype != dtype:
            raise SpecError(f"state.{name} must be {np.dtype(dtype).name} of shape {shape}, "
                            f"not {array.dtype} of shape {array.shape}")
    if state.units.size and not (
        STATE.lowest <= state.units.min() and state.units.max() <= STATE.highest
    ):
        raise SpecError("state.units must be 24-bit codes")
    for index, module in enumerate(topology.modules):
        spins = state.units[:, topology.units_of(index)]
        if module.kind == "pbit" and not ((spins == 0) | (spins == 1)).all():
            raise SpecError(f"state.units of p-bit module {module.name} must be 0 or 1")
    if (state.noise == 0).any():
        raise SpecError("state.noise must not hold a zero word: its stream would stand still")
    return state

"""One relaxation as integers: what `Device.relax` was asked for, checked, in codes.

Devices compute on a `Call` and answer with `Sums`; `to_readout` turns those into values. So every
device rounds, checks and averages alike.
"""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

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

__all__ = ["Call", "Row", "Sums", "prepare", "to_readout"]


@dataclass(frozen=True, eq=False)
class Call:
    """A checked relaxation of inputs * chains chains, everything in codes.

    `h` int32 (inputs, units), 0 where clamped; `clamp` int32 (inputs, units): exposed codes of
    Langevin units and +-4096 of p-bits where clamped, else 0; `gains` int16 (inputs or 1, banks,
    largest rank); `k2`, `k4` int32 (units,); `noise_gain`, `noise_shift`, `beta` int32 (rows,
    modules), which `rows` divides the steps among.
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

    @property
    def rows(self) -> Iterator["Row"]:
        """The rows of settings in order: step t of n has row ``t * rows // n``.

        Equal neighbours are one row here.
        """
        count, total = len(self.beta), self.burn_in + self.steps
        codes = np.concatenate([self.noise_gain, self.noise_shift, self.beta], axis=1)
        starts = [0, *(np.flatnonzero((codes[1:] != codes[:-1]).any(axis=1)) + 1).tolist(), count]
        for number, following in pairwise(starts):
            first, end = (-(-n * total // count) for n in (number, following))
            burn_in = min(max(self.burn_in - first, 0), end - first)
            yield Row(burn_in, end - first - burn_in, self.noise_gain[number],
                      self.noise_shift[number], self.beta[number])


@dataclass(frozen=True, eq=False)
class Row:
    """Consecutive steps of a call with one setting: codes int32 (modules,); steps may be 0."""

    burn_in: int
    steps: int
    noise_gain: NDArray[np.int32]
    noise_shift: NDArray[np.int32]
    beta: NDArray[np.int32]


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
    if not free.all():
        h_values = np.where(free, h_values, 0.0)
    h_codes = codes(h_values, BIAS, np.int32)
    rounding = h_codes * BIAS.value(1)
    rounding -= h_values
    settings = settings or Settings()
    k2, k4 = _stiffness(program, settings)
    noise_gains, noise_shifts, beta = _rows(program, settings, burn_in + steps)
    return Call(
        h=h_codes,
        clamp=_clamp(program, clamp, inputs, free),
        gains=_gains(program, gains, inputs),
        k2=k2,
        k4=k4,
        noise_gain=noise_gains,
        noise_shift=noise_shifts,
        beta=beta,
        steps=steps,
        burn_in=burn_in,
        seed=seed,
        chains=chains,
        first_chain=first_chain,
        state=_state(program, state, inputs * chains),
        moments=bool(moments),
        rounding=float(max(rounding.max(), -rounding.min())),
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
                int(call.noise_gain[-1, index]), int(call.noise_shift[-1, index]),
                topology.dt_shift,
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
    first = 0
    for index, module in enumerate(topology.modules):
        if not module.clamped:
            continue
        held = codes(values[:, first : first + module.dim], CLAMP, np.int32)
        if module.kind == "pbit" and (np.abs(held) != 1 << EXPOSED.fraction).any():
            raise SpecError(f"clamp of p-bit module {module.name} must be -1 or +1")
        full[:, topology.units_of(index)] = held
        first += module.dim
    return full


def _gains(program: Program, gains: ArrayLike | None, inputs: int) -> NDArray[np.int16]:
    topology = program.topology
    shape = (len(topology.banks), topology.max_rank)
    banks = {index: bank for index, bank in enumerate(topology.banks)
             if isinstance(bank, LowRankBank)}
    if gains is None:
        own = np.zeros((1, *shape), np.int16)
        for index, bank in banks.items():
            own[0, index, : bank.rank] = program.tables[f"bank{index}.gain"]
        return own
    values = _floats("gains", gains)
    if values.ndim != 3 or values.shape[1:] != shape or len(values) not in (1, inputs):
        rows = "1" if inputs == 1 else f"{inputs} or 1"
        raise SpecError(f"gains must have shape ({rows}, {shape[0]}, {shape[1]}), "
                        f"not {values.shape}")
    # All banks at once, each in its own unit; what stands behind a rank is left out.
    scale = np.zeros(shape)
    for index, bank in banks.items():
        scale[index, : bank.rank] = 2.0**bank.gain_fraction
    if not np.isfinite(values).all():
        values = np.where(scale > 0, values, 0.0)
    try:
        return codes(values * scale, Format("gain", GAIN.bits, 0), np.int16)
    except SpecError:
        # The message names the bank.
        for index, bank in banks.items():
            codes(values[:, index, : bank.rank],
                  Format(f"gain of bank {index}", GAIN.bits, bank.gain_fraction))
        raise


def _stiffness(
    program: Program, settings: Settings
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the codes of k2 and k4, (units,)."""
    topology = program.topology
    k2, k4 = program.tables["k2"].astype(np.int32), program.tables["k4"].astype(np.int32)
    for index, (value,) in _asked(program, "k2", settings.k2, 1):
        part = topology.units_of(index)
        k2[part] = K2.raw(value)
        if k2[part].min() < 1:
            raise SpecError(f"settings.k2 of module {topology.modules[index].name} must be at "
                            f"least {K2.value(1):g}, not {value:g}")
    for index, (value,) in _asked(program, "k4", settings.k4, 1):
        k4[topology.units_of(index)] = K4.raw(value)
    return k2, k4


def _rows(
    program: Program, settings: Settings, total: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return the codes of noise gain, noise shift and beta, each (rows, modules)."""
    tables = [_floats(f"settings.{name}", values) for name, values in
              (("temperature", settings.temperature), ("beta", settings.beta))
              if values is not None]
    count = max((len(table) for table in tables if table.ndim == 2), default=1)
    if not 1 <= count <= total:
        raise SpecError(f"settings must have between 1 row and as many as the relaxation has "
                        f"steps, {total}, not {count}")
    gain, shift, beta = (
        np.repeat(program.tables[name].astype(np.int32)[None], count, axis=0)
        for name in ("noise_gain", "noise_shift", "beta")
    )
    for index, value in _asked(program, "temperature", settings.temperature, count):
        pairs = [noise_gain(float(t), program.topology.dt_shift) for t in value]
        gain[:, index], shift[:, index] = zip(*pairs)
    for index, value in _asked(program, "beta", settings.beta, count):
        beta[:, index] = codes(value, BETA)
    return gain, shift, beta


def _asked(
    program: Program, name: str, values: ArrayLike | None, rows: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (module, values (rows,)) of every module that a setting is given for."""
    if values is None:
        return
    modules = program.topology.modules
    table = _floats(f"settings.{name}", values)
    if table.shape not in ((len(modules),), (rows, len(modules))):
        shape = f"({len(modules)},)" + (f" or ({rows}, {len(modules)})" if rows > 1 else "")
        raise SpecError(f"settings.{name} must have shape {shape}, not {table.shape}")
    table = np.broadcast_to(table, (rows, len(modules)))
    for index, module in enumerate(modules):
        given = ~np.isnan(table[:, index])
        if not given.any():
            continue
        if module.clamped or (name == "beta") != (module.kind == "pbit"):
            raise SpecError(f"settings.{name} does not apply to module {module.name}; "
                            "leave it NaN there")
        if not given.all():
            raise SpecError(f"settings.{name} of module {module.name} must be given in every row "
                            "or in none")
        yield index, table[:, index]


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
    for index, module in enumerate(topology.modules):
        units = state.units[:, topology.units_of(index)]
        low, high = units.min(), units.max()
        if not STATE.lowest <= low <= high <= STATE.highest:
            raise SpecError("state.units must be 24-bit codes")
        if module.kind == "pbit" and not 0 <= low <= high <= 1:
            raise SpecError(f"state.units of p-bit module {module.name} must be 0 or 1")
    if (state.noise == 0).any():
        raise SpecError("state.noise must not hold a zero word: its stream would stand still")
    return state

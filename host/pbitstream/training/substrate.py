"""Two substrates with one face: float dynamics for research, and any device of the project.

`settle` relaxes a minibatch, one chain per sample, free or nudged: with C = |x_out - y|^2 / 2 the
energy E + nudge C is E with k2 + nudge and h + nudge y at the output module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.devices.protocol import Device, Settings, State
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.words import BIAS, K2, STATE
from pbitstream.training.banks import Band, LowRank
from pbitstream.training.energy import Parameters, free_couplings

__all__ = ["Batch", "DeviceSubstrate", "FloatSubstrate", "Settled", "Substrate", "to_program"]

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Batch:
    """A minibatch: clamp values, targets of the output module, gain mixes, one row a sample."""

    clamp: Values
    target: Values
    output: int
    mix: Values | None = None

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Settled:
    """Where a relaxation ended.

    Attributes
    ----------
    x
        States in values, (segments, samples, units): one segment at T = 0, else the exposed
        states at segment ends, whose products the trainer averages.
    memory
        What the substrate needs to go on from here.
    clips
        Clipped operations of any kind; always 0 in float.
    single
        Whether float32 holds every state exactly, as it does 24-bit codes.
    """

    x: Values
    memory: Any
    clips: int = 0
    single: bool = False

    @property
    def compact(self) -> NDArray[Any]:
        """States in the least precision that holds them exactly."""
        return self.x.astype(np.float32 if self.single else np.float64, copy=False)


class Substrate(Protocol):
    """Relaxes minibatches of a parametrised energy."""

    def load(self, parameters: Parameters) -> None:
        """Use these parameters from now on."""

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        """Relax `steps` steps from `start`, or from a reset state."""

    def applied(self, nudge: float) -> float:
        """Return the nudge that is applied when this one is asked for."""


class FloatSubstrate:
    """Euler-Maruyama dynamics in float64: ``x += dt (h + f - k2 x - k4 x^3) + sqrt(2 T dt) xi``."""

    def __init__(self, dt: float, temperature: float = 0.0, segments: int = 16) -> None:
        self.dt = dt
        self.temperature = temperature
        self.segments = segments if temperature else 1
        self._parameters: Parameters | None = None

    def load(self, parameters: Parameters) -> None:
        """Use these parameters from now on."""
        self._parameters = parameters

    def applied(self, nudge: float) -> float:
        """Return the nudge itself: float applies any."""
        return nudge

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        """Relax a minibatch; the noise of a start goes on, as on a device."""
        p = self._parameters
        if p is None:
            raise SpecError("no parameters are loaded")
        free = p.free
        if start is None:
            full = np.zeros((len(batch), p.units))
            full[:, ~free] = batch.clamp
            rng = np.random.default_rng(seed)
        else:
            full, rng = start.memory[0].copy(), np.random.default_rng()
            rng.bit_generator.state = start.memory[1]
        pull = np.zeros(p.units)
        pull[p.part(batch.output)] = nudge
        fixed = p.arrays["h"] + p.field(full, batch.mix, clamped=(True,))
        fixed[:, p.part(batch.output)] += nudge * batch.target
        fixed, k2, k4 = fixed[:, free], (p.arrays["k2"] + pull)[free], p.arrays["k4"][free]
        # One product with J per step: of every sample alone where its gains reach J.
        j = free_couplings(p, batch.mix)
        x = full[:, free]
        amplitude = np.sqrt(2 * self.temperature * self.dt)
        ends = []
        for segment in range(self.segments):
            for _ in range(_length(steps, segment, self.segments)):
                field = x @ j[0] if len(j) == 1 else np.matmul(j, x[..., None])[..., 0]
                x = x + self.dt * (fixed + field - (k2 + k4 * x * x) * x)
                if amplitude:
                    x = x + amplitude * rng.standard_normal(x.shape)
            full[:, free] = x
            ends.append(full.copy())
        return Settled(np.stack(ends), (full, rng.bit_generator.state))


class DeviceSubstrate:
    """The fixed-point substrate: every relaxation is a `Device.relax` of the quantised program.

    Parameters
    ----------
    device
        Any device; the trainer's tables are quantised and loaded anew at every update.
    dt_shift, temperature
        Of the program.
    segments
        Relaxations at T > 0 are cut into this many, whose end states are read.
    x_max
        Largest |x| the step size must serve; 8 is the rail.
    """

    def __init__(
        self, device: Device, dt_shift: int, temperature: float = 0.0, segments: int = 16,
        x_max: float = 8.0,
    ) -> None:
        self.device = device
        self.dt_shift = dt_shift
        self.temperature = temperature
        self.segments = segments if temperature else 1
        self.x_max = x_max
        self._parameters: Parameters | None = None
        self._scales: dict[int, Values] = {}
        #: The gains of the minibatch that was relaxed last, which the next phase has too.
        self._mixed: tuple[Batch, Values | None] | None = None

    def load(self, parameters: Parameters) -> None:
        """Quantise and load; a step too large for the quartic term is run, and clips counted."""
        program, self._scales = to_program(
            parameters, self.dt_shift, self.temperature, self.x_max
        )
        self.device.load(program, force=True)
        self._parameters, self._mixed = parameters, None

    def applied(self, nudge: float) -> float:
        """Return the multiple of 2^-10 nearest to a nudge, not zero: the codes of k2."""
        unit = K2.value(1)
        return float(np.copysign(max(unit, round(abs(nudge) / unit) * unit), nudge))

    def settle(
        self, batch: Batch, *, nudge: float, steps: int, start: Settled | None, seed: int
    ) -> Settled:
        """Relax a minibatch, one chain per sample, through the device protocol."""
        p = self._parameters
        if p is None:
            raise SpecError("no parameters are loaded")
        out = p.part(batch.output)
        limits = BIAS.value(BIAS.lowest), BIAS.value(BIAS.highest)
        h = np.tile(np.clip(p.arrays["h"], *limits), (len(batch), 1))
        h[:, out] = np.clip(p.arrays["h"][out] + nudge * batch.target, *limits)
        k2 = np.full(len(p.modules), np.nan)
        k2[batch.output] = p.arrays["k2"][out][0] + nudge
        if self._mixed is None or self._mixed[0] is not batch:
            self._mixed = batch, self._gains(p, batch)
        gains = self._mixed[1]
        state: State | None = None if start is None else start.memory
        ends: list[Values] = []
        clips = 0
        for segment in range(self.segments):
            length = _length(steps, segment, self.segments)
            if length == 0:
                continue
            # Only the end state is used: a window of one step is the least to sum and to read.
            readout = self.device.relax(
                h, steps=1, burn_in=length - 1, seed=seed, clamp=batch.clamp, state=state,
                gains=gains, settings=Settings(k2=k2),
            )
            state = readout.state
            ends.append(np.asarray(state.units * STATE.value(1), np.float64))
            clips += sum(readout.saturated.values())
        x = np.stack(ends) if len(ends) > 1 else ends[0][None]
        return Settled(x, state, clips, single=True)

    def _gains(self, p: Parameters, batch: Batch) -> Values | None:
        if batch.mix is None:
            return None
        low_rank = [(i, bank) for i, bank in enumerate(p.banks) if isinstance(bank, LowRank)]
        widest = max(bank.rank for _, bank in low_rank)
        gains = np.zeros((len(batch), len(p.banks), widest))
        for index, bank in low_rank:
            own = bank.gain(p.own(index), batch.mix)
            gains[:, index, : bank.rank] = own * self._scales[index]
        return gains


def to_program(
    p: Parameters,
    dt_shift: int,
    temperature: float,
    x_max: float = 8.0,
    *,
    mixes: Values | None = None,
    provenance: Mapping[str, str] | None = None,
) -> tuple[Program, dict[int, Values]]:
    """Quantise parameters; also return, per bank, what gains must be multiplied by.

    Columns of A and B are at full range, and their scales belong to the gains.

    Parameters
    ----------
    mixes
        Gain mixes (schedule rows, rows) that become the program's gain schedule, or None.
    """
    builder = ProgramBuilder(dt_shift=dt_shift)
    for index, module in enumerate(p.modules):
        part = p.part(index)
        if module.clamped:
            builder.clamped(module.name, module.dim)
        else:
            builder.langevin(module.name, module.dim, k2=p.arrays["k2"][part],
                             k4=p.arrays["k4"][part], temperature=temperature, x_max=x_max)
    scales: dict[int, Values] = {}
    for index, bank in enumerate(p.banks):
        own = p.own(index)
        if isinstance(bank, Band):
            builder.band(bank.source, bank.target, dict(zip(bank.offsets, own["w"])))
            continue
        gain = own["gain"]
        # The widest gain row sets the fraction; a mix of rows is no wider than the widest.
        builder.low_rank(bank.source, bank.target, own["a"], own["b"],
                         np.abs(gain).max(axis=0) if bank.mixed else gain[0],
                         schedule=mixes @ gain if bank.mixed and mixes is not None else None)
        scales[index] = builder.gain_scale(index)
    return builder.build(provenance=provenance), scales


def _length(steps: int, segment: int, segments: int) -> int:
    return steps // segments + (segment < steps % segments)

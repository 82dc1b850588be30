"""Conditional inference over a stream: condition, load, relax, read, for input after input."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import CLIP_NAMES, Device, Readout, Settings
from pbitstream.errors import SpecError
from pbitstream.program import Program
from pbitstream.spec.words import BIAS
from pbitstream.statistics import MIN_SEGMENTS, ErrorEstimate, SegmentErrors, relax_in_segments

__all__ = ["Input", "Stream", "StreamResult", "Timing"]

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Input:
    """One input of a stream.

    Attributes
    ----------
    values
        Input of the conditioning net, (inputs,), within +-8.
    clamp
        Values of the clamped modules, (clamped units,), or None without such.
    row
        Row of the gain schedule and of the conditioning features, or None without such.
    """

    values: Values
    clamp: Values | None = None
    row: int | None = None


@dataclass
class Timing:
    """Seconds spent so far in each part of a stream."""

    condition: float = 0.0
    load: float = 0.0
    relax: float = 0.0
    read: float = 0.0


@dataclass(frozen=True, eq=False)
class StreamResult:
    """A batch of consecutive inputs, read out.

    Attributes
    ----------
    first
        Number of the batch's first input in the stream.
    values
        float64 (inputs, units): ``scale * mean + offset`` of every unit.
    readout
        The integers and averages behind them.
    """

    first: int
    values: Values
    readout: Readout


@dataclass
class Stream:
    """Runs a program over inputs on any device.

    The chain index counts over the whole stream, so results do not depend on `batch`.

    Parameters
    ----------
    program
        Needs a conditioning net.
    device
        Open; the stream loads the program once, at its first input.
    steps, burn_in
        Relaxation of each input; the program's own by default.
    seed
        Of the noise.
    chains
        Chains per input; their means are averaged.
    settings
        Replacements for the program's stiffness, temperature or beta.
    batch
        Inputs relaxed in one call.
    segments
        Segments of the window, for the standard error; a window shorter than that has none.
    force
        Load a program whose step is too large for its quartic term.
    """

    program: Program
    device: Device
    steps: int | None = None
    burn_in: int | None = None
    seed: int = 0
    chains: int = 1
    settings: Settings | None = None
    batch: int = 512
    segments: int = MIN_SEGMENTS
    force: bool = False
    timing: Timing = field(default_factory=Timing)
    clips: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLIP_NAMES, 0))
    conditioning_clips: int = 0

    def __post_init__(self) -> None:
        if self.program.conditioning is None:
            raise SpecError("the program has no conditioning net to stream inputs through")
        self.steps = self.program.steps if self.steps is None else self.steps
        self.burn_in = self.program.burn_in if self.burn_in is None else self.burn_in
        if self.batch < 1:
            raise SpecError(f"batch must be at least 1, not {self.batch}")
        self._errors = SegmentErrors(self.segments)
        self._done = 0

    def run(
        self, inputs: Iterable[Input], progress: Callable[[int], None] | None = None
    ) -> Iterator[StreamResult]:
        """Yield results in order; `progress` is called with the number of inputs just done.

        A second call goes on with the stream: inputs are numbered on.

        Raises
        ------
        SpecError
            If an input does not fit the program, naming what does not.
        """
        source = iter(inputs)
        while items := list(islice(source, self.batch)):
            yield self._one_batch(items, self._done)
            self._done += len(items)
            if progress is not None:
                progress(len(items))

    def error(self) -> ErrorEstimate | None:
        """Return the error so far, rms over all outputs; None for a window too short to tell."""
        assert self.steps is not None
        if self.steps < self.segments or not self._done:
            return None
        return self._errors.estimate(self.steps)

    def _one_batch(self, items: list[Input], first: int) -> StreamResult:
        assert self.steps is not None
        assert self.burn_in is not None
        topology, conditioning = self.program.topology, self.program.conditioning
        assert conditioning is not None
        began = time.perf_counter()
        rows = _rows(items)
        codes = conditioning.codes(np.stack([item.values for item in items]), rows)
        h, clipped = conditioning.biases(codes, topology)
        self.conditioning_clips += clipped
        gains = None
        if self.program.gain_rows:
            if rows is None:
                raise SpecError("the program has a gain schedule: every input needs a row")
            gains = self.program.gains(rows)
        conditioned = time.perf_counter()
        if self.device.info()["program_digest"] != self.program.digest:
            self.device.load(self.program, force=self.force)
        loaded = time.perf_counter()
        readout, means = relax_in_segments(
            self.device,
            h * BIAS.value(1),
            steps=self.steps,
            segments=min(self.steps, self.segments),
            burn_in=self.burn_in,
            seed=self.seed,
            clamp=_clamps(items),
            gains=gains,
            settings=self.settings,
            chains=self.chains,
            first_chain=first * self.chains,
            moments=self.steps >= self.segments,
        )
        relaxed = time.perf_counter()
        scale, offset = self.program.tables["scale"], self.program.tables["offset"]
        free = np.concatenate([np.full(m.dim, not m.clamped) for m in topology.modules])
        if self.steps >= self.segments:
            variance = None
            if readout.square is not None:
                variance = (readout.square - readout.mean**2)[:, free] * scale[free] ** 2
            self._errors.add(means[:, :, free] * scale[free], variance)
        for name, count in readout.saturated.items():
            self.clips[name] += count
        values = readout.mean * scale + offset
        done = time.perf_counter()
        self.timing.condition += conditioned - began
        self.timing.load += loaded - conditioned
        self.timing.relax += relaxed - loaded
        self.timing.read += done - relaxed
        return StreamResult(first, values, readout)


def _rows(items: list[Input]) -> NDArray[np.int64] | None:
    """Return the schedule rows of all items, None if none has one."""
    rows = [item.row for item in items if item.row is not None]
    _all_or_none("row", len(rows), len(items))
    return np.array(rows, np.int64) if rows else None


def _clamps(items: list[Input]) -> Values | None:
    """Return the clamp values of all items, None if none has any."""
    clamps = [item.clamp for item in items if item.clamp is not None]
    _all_or_none("clamp", len(clamps), len(items))
    return np.stack(clamps) if clamps else None


def _all_or_none(name: str, given: int, total: int) -> None:
    if given not in (0, total):
        raise SpecError(f"every input of a batch must have a {name} or none, not {given} of "
                        f"{total}")

"""Digits drawn by p-bits: hidden and visible ones that a device relaxes, once per reverse step.

The data are spins x_0, one per pixel, or three of which k are +1 for the k-th of four grey levels.
Their noisy versions x_1, ... x_T keep a correlation rho_t with x_0, rho_T = 0. From noise x_T,
every reverse step t = T, ... 1 draws x = x_{t-1} given c = x_t and a code y, together with hidden
spins h, all +-1, at beta 1 from::

    E = -x^T J h - x^T P y - h^T Q y - sum_i g_i x_i c_i - c^T K h

J is low rank, with a band of 3x3 pixels beside it or without, K is low rank, c a clamped module; at
t = T, where c says nothing, there is none. P y and Q y are the biases that the program's
conditioning net makes of its input y. The host draws a code for every image: a label, a cluster of
the training images, or nothing, which is one code. A label is asked for more loudly, with guidance
w, by the input ``(1 + w) e_y - (w / 10) 1``, whose biases are ``mean + (1 + w) (P_y - mean)``.

A relaxation is short, as in training, and starts from x = c, or from the device's random spins
where there is no c: what was trained is this short run, and a longer one need not be better.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import Conditioning, Stage
from pbitstream.devices.protocol import CLIP_NAMES, Device
from pbitstream.devices.start import reset_state
from pbitstream.diffusion.digits import PIXELS
from pbitstream.diffusion.generators.base import Drawn, Frame, Report
from pbitstream.errors import SpecError
from pbitstream.layers import Linear
from pbitstream.model import Model
from pbitstream.program import Program
from pbitstream.spec.words import BIAS, MAX_CHAINS

__all__ = ["GUIDANCE", "PbitGenerator", "compile_step"]

Values = NDArray[np.float64]
Labels = NDArray[np.int64]

#: Of a model with labels: accuracy rises by four points, the pooled distance hardly moves.
GUIDANCE = 0.15
#: An input of the conditioning net is below 8.
MAX_GUIDANCE = 6.0
#: The relaxation of reverse step r, counted from 0, has the seed of the call plus r times this.
SEEDS = 1 << 32


class PbitGenerator:
    """A generator of digits made of p-bits; a `pbitstream.diffusion.generators.base.Generator`.

    Parameters
    ----------
    model
        Written by ``tools/digits/train_pbit.py``; quantised here, to one program per reverse step.
    guidance
        Strength w of the labels, 0 to 6; by default .15, and 0 of a model without labels.
    burn_in, steps
        Of every relaxation; by default what the model was chosen with. Pixels are means over
        `steps`; between reverse steps the last state goes on.
    batch
        Images relaxed in one call; changes no bit of the result.

    Raises
    ------
    SpecError
        If an argument is out of range, or the model is none of p-bits.
    """

    def __init__(
        self,
        model: Model,
        *,
        guidance: float | None = None,
        burn_in: int | None = None,
        steps: int | None = None,
        batch: int = 512,
    ) -> None:
        if model.provenance.get("generator") != "pbit":
            raise SpecError("model must be a generator of p-bits, not "
                            f"{model.provenance.get('generator', 'another')}")
        self.model = model
        if guidance is None:
            guidance = GUIDANCE if self.labelled else 0.0
        if not (math.isfinite(guidance) and 0.0 <= guidance <= MAX_GUIDANCE):
            raise SpecError(f"guidance must be between 0 and {MAX_GUIDANCE:g}, not {guidance:g}")
        if guidance > 0.0 and not self.labelled:
            raise SpecError(f"guidance must be 0 for a model without labels, not {guidance:g}")
        if batch < 1:
            raise SpecError(f"batch must be at least 1, not {batch}")
        self.guidance, self.batch = guidance, batch
        self.burn_in = int(self._said("burn_in")) if burn_in is None else burn_in
        self.steps = int(self._said("steps")) if steps is None else steps
        last = max(1, sum(name.endswith("visible.bias") for name in model.tensors))
        self._programs = tuple(compile_step(model, t, self.burn_in, self.steps)
                               for t in range(last, 0, -1))

    @property
    def programs(self) -> tuple[Program, ...]:
        """One program per reverse step, from noise to the image."""
        return self._programs

    @property
    def judge(self) -> str:
        """The judge that measures its images: ``grey`` or ``binary``."""
        return self._said("judge")

    @property
    def labelled(self) -> bool:
        """Whether it takes labels."""
        return self._said("code") == "labels"

    def to_dict(self) -> dict[str, Any]:
        """Return what it is and how it draws, as plain data."""
        return {
            "generator": "pbit",
            "judge": self.judge,
            "code": self._said("code"),
            "guidance": self.guidance,
            "reverse_steps": len(self.programs),
            "burn_in": self.burn_in,
            "steps": self.steps,
            "updates_per_image": self._updates,
            "program_digests": [program.digest for program in self.programs],
        }

    def inputs(self, codes: Labels) -> Values:
        """Return the input of the conditioning net for every code, (n, number of codes).

        ``(1 + w) e_y - (w / n) 1`` with guidance w and n codes; its sum is 1.
        """
        size = len(self.model["code.frequency"])
        chosen = codes[:, None] == np.arange(size)
        return np.asarray((1.0 + self.guidance) * chosen - self.guidance / size)

    def draw(
        self,
        device: Device,
        count: int,
        *,
        seed: int,
        labels: Labels | None = None,
        report: Report | None = None,
    ) -> Drawn:
        """Draw images; see `Generator.draw`.

        `clips` holds those of the device, and of the conditioning net as ``conditioning``.
        Image n is chain n of every relaxation, whatever the batch.
        """
        if not 1 <= count <= MAX_CHAINS:
            raise SpecError(f"count must be between 1 and 2^32, not {count}")
        if not 0 <= seed < SEEDS:
            raise SpecError(f"seed must be between 0 and 2^32 - 1, not {seed}")
        codes = self._codes(count, seed, labels)
        inputs = self.inputs(codes)
        units = _visible(self.programs[0])
        spins = _spins(reset_state(self.programs[0], seed, 0, count).units[:, units])
        frames = [Frame("noise", self._pixels(self.programs[0], spins))]
        clips = dict.fromkeys((*CLIP_NAMES, "conditioning"), 0)
        for number, program in enumerate(self.programs):
            device.load(program)
            means = np.empty_like(spins)
            for first in range(0, count, self.batch):
                part = slice(first, first + self.batch)
                means[part], spins[part] = self._relax(
                    device, program, inputs[part], spins[part], seed + SEEDS * number, first, clips
                )
                if report is not None:
                    report("drawing", number * count + min(count, part.stop),
                           len(self.programs) * count)
            last = number == len(self.programs) - 1
            caption = "image" if last else f"after {number + 1} of {len(self.programs)}"
            frames.append(Frame(caption, self._pixels(program, means if last else spins)))
        return Drawn(frames[-1].images, codes if self.labelled else None, tuple(frames),
                     count * self._updates, clips)

    def _relax(
        self,
        device: Device,
        program: Program,
        inputs: Values,
        c: Values,
        seed: int,
        first: int,
        clips: dict[str, int],
    ) -> tuple[Values, Values]:
        """Return means and last spins of the visible units; adds what was clipped to `clips`."""
        net, topology = program.conditioning, program.topology
        assert net is not None
        units = _visible(program)
        h, clipped = net.biases(net.codes(inputs), topology)
        held, state = None, None
        if any(module.clamped for module in topology.modules):
            held, state = c, reset_state(program, seed, first, len(c))
            state.units[:, units] = c > 0
        readout = device.relax(
            h * BIAS.value(1), steps=self.steps, burn_in=self.burn_in, seed=seed, clamp=held,
            first_chain=first, state=state,
        )
        clips["conditioning"] += clipped
        for name, number in readout.saturated.items():
            clips[name] += number
        return readout.mean[:, units], _spins(readout.state.units[:, units])

    def _said(self, key: str) -> str:
        if key not in self.model.provenance:
            raise SpecError(f"the model's provenance lacks {key}; train it again with "
                            "tools/digits/train_pbit.py")
        return self.model.provenance[key]

    def _codes(self, count: int, seed: int, labels: Labels | None) -> Labels:
        """Return the code of every image: its label, or drawn as often as in training."""
        frequency = self.model["code.frequency"]
        if labels is None:
            # The legacy generator: its stream is frozen, and image n takes its n-th number.
            drawn = np.random.RandomState(seed).random_sample(count)
            edges = np.cumsum(frequency)[:-1]
            return np.searchsorted(edges, drawn, side="right").astype(np.int64)
        if not self.labelled:
            raise SpecError("labels must be None: this model was trained without labels")
        asked = np.asarray(labels)
        if asked.shape != (count,) or asked.dtype.kind not in "iu":
            raise SpecError(f"labels must be whole numbers of shape ({count},), not {asked.dtype} "
                            f"of shape {asked.shape}")
        if asked.min() < 0 or asked.max() >= len(frequency):
            raise SpecError(f"labels must be 0 to {len(frequency) - 1}, not {asked.min()} to "
                            f"{asked.max()}")
        return asked.astype(np.int64)

    def _pixels(self, program: Program, means: Values) -> Values:
        """Return pixels: the sum of the values of a pixel's p-bits."""
        units = _visible(program)
        values = means * program.tables["scale"][units] + program.tables["offset"][units]
        return np.asarray(values.reshape(len(means), -1, PIXELS).sum(axis=1))

    @property
    def _updates(self) -> int:
        """Updates of single units per image."""
        return (self.burn_in + self.steps) * sum(
            module.dim for program in self.programs for module in program.topology.modules
            if not module.clamped
        )


def _spins(bits: NDArray[np.int32]) -> Values:
    return np.asarray(bits * 2.0 - 1.0, np.float64)


def _visible(program: Program) -> slice:
    """Return the units of the visible modules, which follow each other."""
    topology = program.topology
    found = [topology.units_of(index) for index, module in enumerate(topology.modules)
             if module.name.startswith("pixels")]
    return slice(found[0].start, found[-1].stop)


def compile_step(model: Model, time: int, burn_in: int, steps: int) -> Program:
    """Quantise reverse step `time` (T, ... 1) of a model into a program.

    Modules: ``hidden``, first so that it is drawn first; ``pixels``, or ``pixels1`` to ``pixels3``
    of a grey model, whose values are the pixel's share of that p-bit; ``condition``, clamped, where
    the step has one.

    Parameters
    ----------
    model
        Tensors ``t<time>.{visible,hidden}.bias`` (codes, units), ``t<time>.bank.{a,b}`` (units,
        rank), optionally ``t<time>.band.{offsets,weights}`` and ``t<time>.clamped.{diagonal,a,b}``,
        and ``levels``, the pixel of every count of +1.
    """
    name = f"t{time}"
    a, b = model[f"{name}.bank.a"], model[f"{name}.bank.b"]
    tables = {"hidden": model[f"{name}.hidden.bias"]}
    levels = model["levels"]
    builder = ProgramBuilder()
    hidden = builder.pbit("hidden", len(b))
    visible = []
    for number, height in enumerate(np.diff(levels) / 2.0):
        label = "pixels" if len(levels) == 2 else f"pixels{number + 1}"
        offset = height + (levels[0] if number == 0 else 0.0)
        visible.append(builder.pbit(label, PIXELS, scale=height, offset=offset))
        part = slice(number * PIXELS, (number + 1) * PIXELS)
        builder.low_rank(visible[-1], hidden, a[part], b, np.ones(a.shape[1]))
        tables[label] = model[f"{name}.visible.bias"][:, part]
    if f"{name}.band.weights" in model.tensors:
        offsets = model[f"{name}.band.offsets"].astype(int)
        builder.band(visible[0], hidden, dict(zip(offsets.tolist(), model[f"{name}.band.weights"])))
    if f"{name}.clamped.diagonal" in model.tensors:
        condition = builder.clamped("condition", PIXELS * len(visible), kind="pbit")
        k = model[f"{name}.clamped.a"], model[f"{name}.clamped.b"]
        builder.low_rank(condition, hidden, *k, np.ones(k[0].shape[1]))
        diagonal = model[f"{name}.clamped.diagonal"]
        for number, module in enumerate(visible):
            # The module's unit i sees the condition's unit i + 64 number.
            part = slice(number * PIXELS, (number + 1) * PIXELS)
            builder.band(condition, module, {number * PIXELS: diagonal[part]})
    stages = tuple(Stage((Linear.quantise(table.T),), target, "input")
                   for target, table in tables.items())
    net = Conditioning(len(tables["hidden"]), stages)
    return builder.build(conditioning=net, burn_in=burn_in, steps=steps,
                         provenance=model.provenance)

"""A denoiser judged on a device: what the substrate reads out, its figures and their controls."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.devices.protocol import Device, Settings
from pbitstream.diffusion.denoiser import Denoiser, Noisy
from pbitstream.diffusion.metrics import ReadoutMetrics, readout_metrics
from pbitstream.errors import SpecError
from pbitstream.stream import Stream

__all__ = ["SYSTEMS", "Evaluation", "Output", "evaluate"]

Values = NDArray[np.float64]
Report = Callable[[str, int, int], None]

#: States of one call of the digital references.
REFERENCE_BATCH = 256
#: What is compared, in the order of tables: the substrate, three references, two controls.
SYSTEMS = ("substrate", "equilibrium", "digital", "constant", "shuffled")


@dataclass(frozen=True, eq=False)
class Output:
    """Activations of the layer, (states, 128), the F and the image (states, 64) they give."""

    layer: Values
    f: Values
    image: Values


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Outputs and figures of one run.

    Attributes
    ----------
    states
        The noisy images, image after image, every schedule row of `rows` for each.
    rows
        Schedule rows, and their diffusion times in `times`.
    outputs, metrics
        By the names of `SYSTEMS`. Figures that need the clean image are None without it, and
        ``shuffled`` is absent for a single image.
    by_time
        Figures at every time of `times`, by system; None without the clean image, like others.
    noisy_mse
        Mean squared difference of noisy and clean image, or None.
    standard_error
        rms over outputs of the standard error of a readout, in activations; None where the window
        is too short to tell, and always below 16 steps.
    autocorrelation_time
        Estimated from the same segments, in steps; None without a standard error.
    saturated
        Clips by name, and ``conditioning``, those of the conditioning net.
    updates
        Updates of single units behind the outputs, over all steps, chains and states.
    timing
        Seconds: condition, load, relax, read, decode; total is the wall time of them all with what
        lies between; reference, that of U-Net, equilibrium and controls, comes on top.
    """

    states: Noisy
    rows: NDArray[np.int64]
    times: Values
    outputs: dict[str, Output]
    metrics: dict[str, ReadoutMetrics]
    by_time: dict[str, list[ReadoutMetrics]]
    noisy_mse: float | None
    standard_error: float | None
    autocorrelation_time: float | None
    saturated: dict[str, int]
    updates: int
    timing: dict[str, float]
    steps: int
    burn_in: int
    seed: int

    @property
    def images(self) -> int:
        """Number of images, each at every time."""
        return len(self.states) // len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data: metrics, controls, error, clips and timing."""
        substrate, digital = self.metrics["substrate"], self.metrics["digital"]
        equilibrium = self.metrics["equilibrium"]
        shuffled = self.metrics.get("shuffled")
        return {
            "inputs": len(self.states),
            "noise": [float(time) for time in self.times],
            "metrics": {
                **substrate.to_dict(),
                "noisy_mse": self.noisy_mse,
                "digital_mse": digital.denoised_mse,
                "digital_f_mse": digital.f_mse,
                "equilibrium_r2": equilibrium.r2,
                "equilibrium_f_mse": equilibrium.f_mse,
                "equilibrium_mse": equilibrium.denoised_mse,
            },
            "controls": {
                "constant": self.metrics["constant"].to_dict(),
                "shuffled": None if shuffled is None else shuffled.to_dict(),
            },
            "standard_error": self.standard_error,
            "autocorrelation_time": self.autocorrelation_time,
            "saturated": dict(self.saturated),
            "timing": dict(self.timing),
        }


def evaluate(
    denoiser: Denoiser,
    device: Device,
    states: Noisy,
    rows: NDArray[np.int64],
    *,
    seed: int = 0,
    steps: int | None = None,
    burn_in: int | None = None,
    chains: int = 1,
    temperature: float | None = None,
    batch: int = 512,
    report: Report | None = None,
) -> Evaluation:
    """Stream noisy images through a device and judge what it reads out.

    Parameters
    ----------
    states, rows
        Every image at every one of `rows`, image after image, as `noisy_states` makes them.
    seed, steps, burn_in, chains, batch
        Of the relaxation; see `Stream`.
    temperature
        Of the free Langevin units, in energy units; the program's own by default.
    report
        Called with (what is being done, states done, states in all).
    """
    tell = report or (lambda what, done, total: None)
    total = len(states)
    stream = Stream(denoiser.program, device, steps=steps, burn_in=burn_in, seed=seed,
                    chains=chains, batch=batch, settings=_settings(denoiser, temperature))
    tell("relax", 0, total)
    began = time.perf_counter()
    parts = []
    done = 0
    for result in stream.run(denoiser.inputs(states)):
        parts.append(result.values[:, denoiser.units])
        done += len(parts[-1])
        tell("relax", done, total)
    layer = np.concatenate(parts)
    read = time.perf_counter()
    substrate = Output(layer, *denoiser.decode(layer, states))
    ended = time.perf_counter()
    timing = {**vars(stream.timing), "decode": ended - read, "total": ended - began}
    outputs = _references(denoiser, states, substrate, len(rows), tell)
    timing["reference"] = time.perf_counter() - ended
    metrics, by_time, noisy_mse = _judge(denoiser, states, outputs, len(rows))
    error = stream.error()
    assert stream.steps is not None
    assert stream.burn_in is not None
    free = sum(m.dim for m in denoiser.program.topology.modules if not m.clamped)
    return Evaluation(
        states=states,
        rows=rows,
        times=denoiser.times[rows],
        outputs=outputs,
        metrics=metrics,
        by_time=by_time,
        noisy_mse=noisy_mse,
        standard_error=None if error is None else error.standard_error,
        autocorrelation_time=None if error is None else error.tau,
        saturated={**stream.clips, "conditioning": stream.conditioning_clips},
        updates=free * (stream.burn_in + stream.steps) * chains * total,
        timing=timing,
        steps=stream.steps,
        burn_in=stream.burn_in,
        seed=seed,
    )


def _settings(denoiser: Denoiser, temperature: float | None) -> Settings | None:
    if temperature is None:
        return None
    if not temperature >= 0:
        raise SpecError(f"temperature must be 0 or more, not {temperature:g}")
    modules = denoiser.program.topology.modules
    return Settings(temperature=[
        temperature if m.kind == "langevin" and not m.clamped else float("nan") for m in modules
    ])


def _references(
    denoiser: Denoiser, states: Noisy, substrate: Output, rows: int, tell: Report
) -> dict[str, Output]:
    """Return all outputs; ``shuffled`` is the substrate's for the image before, at the same t."""
    parts = []
    for first in range(0, len(states), REFERENCE_BATCH):
        tell("digital references", first, len(states))
        batch = slice(first, first + REFERENCE_BATCH)
        clean = None if states.clean is None else states.clean[batch]
        part = Noisy(states.x[batch], states.rows[batch], clean)
        parts.append((denoiser.equilibrium(part), denoiser.reference(part)))
    tell("digital references", len(states), len(states))
    equilibrium, digital = map(np.concatenate, zip(*parts))
    layers = {
        "equilibrium": equilibrium,
        "digital": digital,
        "constant": np.tile(denoiser.mean, (len(states), 1)),
    }
    if len(states) > rows:
        layers["shuffled"] = np.roll(substrate.layer, rows, axis=0)
    decoded = {name: Output(x, *denoiser.decode(x, states)) for name, x in layers.items()}
    return {"substrate": substrate, **decoded}


def _judge(
    denoiser: Denoiser, states: Noisy, outputs: dict[str, Output], rows: int
) -> tuple[dict[str, ReadoutMetrics], dict[str, list[ReadoutMetrics]], float | None]:
    """Return figures over all states, at every time, and the noisy images' own error."""
    truth, clean = denoiser.truth(states), states.clean
    target = outputs["digital"].layer

    def judge(output: Output, part: slice) -> ReadoutMetrics:
        return readout_metrics(
            output.layer[part],
            target[part],
            denoiser.mean,
            f=None if truth is None else (output.f[part], truth[part]),
            image=None if clean is None else (output.image[part], clean[part]),
        )

    metrics = {name: judge(output, slice(None)) for name, output in outputs.items()}
    by_time = {
        name: [judge(output, slice(row, None, rows)) for row in range(rows)]
        for name, output in outputs.items()
    }
    noisy_mse = None if clean is None else float(((states.x - clean) ** 2).mean())
    return metrics, by_time, noisy_mse

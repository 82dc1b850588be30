"""``pbitstream train``: train the digit denoiser on the substrate itself, from readouts only."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import Output
from pbitstream.cli.parser import add_common, finite, positive

if TYPE_CHECKING:
    from pbitstream.training.rules import Estimate
    from pbitstream.training.run import TrainingResult
    from pbitstream.training.substrate import Substrate
    from pbitstream.training.trainer import Recipe

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "train a denoiser of digits by equilibrium propagation, on any device or in float"
EPILOG = """\
examples:
  pbitstream train                          3,000 updates on the emulator, fixed point, resumable
  pbitstream train --float --rule implicit  the digital reference: float, implicit differentiation

the folder holds checkpoint, history.csv, curve.png, the float model and the program; an interrupted
run goes on where its last checkpoint was
"""
#: Step of the fixed-point and of the float dynamics.
DT_SHIFT = 4
#: Samples judged for the Frechet distance, as everywhere in the project.
SAMPLES = 600


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--folder", default="pbitstream-train", metavar="DIR",
                        help="where the run is kept and resumed (pbitstream-train)")
    parser.add_argument("--float", action="store_true", dest="in_float",
                        help="float64 dynamics instead of a device")
    parser.add_argument("--rule", choices=("symmetric", "one-sided", "one-sided-matched",
                                           "implicit"), default="symmetric",
                        help="gradient rule (symmetric); implicit differentiates the fixed point "
                             "digitally, as a reference")
    parser.add_argument("--updates", type=positive, default=3000, metavar="N",
                        help="updates in all (3000)")
    parser.add_argument("--batch", type=positive, default=128, metavar="N",
                        help="samples of a minibatch, one chain each (128)")
    parser.add_argument("--rate", type=finite, default=6e-3, metavar="R",
                        help="first learning rate of Adam, falling as a half cosine (0.006)")
    parser.add_argument("--nudge", type=_nudge, default=0.1, metavar="B",
                        help="nudging strength, on a device in multiples of 2^-10; or auto: where "
                             "bias and noise of a few probes balance (0.1, as in the README)")
    parser.add_argument("--free-steps", type=positive, default=60, metavar="N",
                        help="steps of the free phase (60)")
    parser.add_argument("--nudged-steps", type=positive, default=64, metavar="N",
                        help="steps of each nudged phase (64)")
    parser.add_argument("--temperature", type=finite, default=0.0, metavar="T",
                        help="of the substrate while it trains (0)")
    parser.add_argument("--hidden", type=positive, default=128, metavar="N",
                        help="units of each of the two hidden modules, at most 128 (128)")
    parser.add_argument("--no-samples", action="store_true",
                        help="do not sample and judge images at the end")
    add_common(parser, "device", "seed", "json", "plot", "quiet")


def _nudge(text: str) -> float | None:
    """Return a number, or None for auto."""
    return None if text == "auto" else finite(text)


def run(arguments: argparse.Namespace) -> int:
    """Train, measure, write and print; returns 0."""
    from contextlib import nullcontext

    from pbitstream.devices.registry import open_device
    from pbitstream.diffusion.digits import held_out_digits, training_digits
    from pbitstream.training.run import train_denoiser
    from pbitstream.training.substrate import DeviceSubstrate, FloatSubstrate
    from pbitstream.training.trainer import Recipe

    output = Output(arguments)
    recipe = Recipe(
        updates=arguments.updates, rate=arguments.rate, nudge=arguments.nudge,
        free_steps=arguments.free_steps, nudged_steps=arguments.nudged_steps, rule=arguments.rule,
        seed=arguments.seed,
    )
    train, test = training_digits()[0], held_out_digits()[0]
    opened = nullcontext() if arguments.in_float else open_device(arguments.device)
    with opened as device, output.progress() as report:
        substrate: Substrate
        if device is None:
            substrate = FloatSubstrate(2.0**-DT_SHIFT, arguments.temperature)
        else:
            substrate = DeviceSubstrate(device, DT_SHIFT, arguments.temperature)
        unit = 2 / 64

        def told(done: int, estimate: "Estimate") -> None:
            report(f"F-MSE {estimate.cost * unit:.3f}", done, recipe.updates)

        result = train_denoiser(substrate, train, test, recipe, folder=arguments.folder,
                                hidden=arguments.hidden, batch=arguments.batch, report=told,
                                warn=output.note)
        judged = None if arguments.no_samples else _judge(substrate, result, recipe.seed, report)
    document = _document(arguments, recipe, result, judged)
    _curve(arguments, output, result)
    if output.json:
        output.document(document)
    else:
        from pbitstream.cli.train_view import show

        show(output.console, document)
    return 0


def _judge(
    substrate: "Substrate", result: "TrainingResult", seed: int, report: Any
) -> dict[str, float]:
    """Sample images by DDIM and return their Frechet distance and confident share."""
    from pbitstream.diffusion.judge import Judge
    from pbitstream.diffusion.sampler import Step, sample
    from pbitstream.training.run import judge_samples, sampler

    def told(step: Step) -> None:
        report("sampling", step.number, step.steps)

    images = sample(sampler(substrate, result.parameters), SAMPLES, seed, report=told)
    judged = judge_samples(Judge.open("grey"), images)
    return judged


def _document(
    arguments: argparse.Namespace,
    recipe: "Recipe",
    result: "TrainingResult",
    judged: dict[str, float] | None,
) -> dict[str, Any]:
    return {
        "substrate": "float64" if arguments.in_float else arguments.device,
        "seed": recipe.seed,
        "folder": str(arguments.folder),
        "recipe": {field.name: getattr(recipe, field.name) for field in fields(recipe)},
        **result.to_dict(),
        "samples": judged,
    }


def _curve(arguments: argparse.Namespace, output: Output, result: "TrainingResult") -> None:
    """Write the learning curve, unless matplotlib is absent and nobody asked for it."""
    from pbitstream.cli.plot import require_matplotlib, save_curve
    from pbitstream.errors import MissingExtraError

    target = Path(arguments.plot) if arguments.plot else Path(arguments.folder) / "curve.png"
    try:
        require_matplotlib()
    except MissingExtraError as error:
        if arguments.plot:
            raise
        output.note(f"no curve is drawn: {error}")
        return
    save_curve(target, result.history, result.f_mse)


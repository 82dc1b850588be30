"""``pbitstream generate``: draw digits on a device, judged beside what could fool the judge."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.asked import device_asked
from pbitstream.cli.energy import add_energy, check_meter, energy_of
from pbitstream.cli.output import Output, check_target, write_whole
from pbitstream.cli.parser import UsageError, add_common, any_whole, finite, positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pbitstream.cli.energy import Energy
    from pbitstream.cli.generate_view import Shown
    from pbitstream.devices.protocol import Device
    from pbitstream.diffusion.generators.base import Drawn, Generator, Report

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "draw digits on the substrate: pictures, quality with controls, the way as an animation"
EPILOG = """\
examples:
  pbitstream generate                                    co-designed diffusion, U-Net beside it
  pbitstream generate --model digits-pbit --label 7      sevens, by p-bits
  pbitstream generate --model digits-pbit --repeats 5    mean and deviation over five seeds
  pbitstream generate --model digits-pbit-chain --animation way.gif
  pbitstream generate --eta 1 --count 100 --no-judge --out images.npy
  pbitstream generate --model digits-pbit --energy kv260 counts, and terms of an energy

models that ship are listed by pbitstream info; figures of different counts are not
comparable
"""
MODEL = "digits-codesign"
PICTURE = "pbitstream-generate.png"
PICTURE_ENDINGS = (".png", ".pdf", ".svg")
#: Options of a generator, by the names its class has for them.
OPTIONS = ("guidance", "sampling_steps", "eta", "warm", "burn_in", "steps", "temperature", "batch")
#: The seed of the noise of samples is that of a legacy generator.
MAX_SEED = 2**32 - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--model", default=MODEL, metavar="NAME",
                        help=f"a model that ships, or a .safetensors file ({MODEL})")
    parser.add_argument("--count", type=positive, default=600, metavar="N",
                        help="images of each seed (600)")
    parser.add_argument("--repeats", type=positive, default=1, metavar="N",
                        help="draw with so many seeds, from --seed on (1)")
    parser.add_argument("--label", type=any_whole, action="append", metavar="L",
                        help="the digit to draw; given several times, images take turns "
                             "(labels drawn uniformly)")
    parser.add_argument("--guidance", type=finite, metavar="W",
                        help="how much louder labels are asked for (0.15)")
    parser.add_argument("--sampling-steps", type=positive, metavar="N",
                        help="diffusion steps, a divisor of 20 (20)")
    parser.add_argument("--eta", type=finite, metavar="E", help="0 for DDIM, 1 for DDPM (0)")
    parser.add_argument("--warm", type=any_whole, metavar="N",
                        help="start each diffusion step from the state of the one before, with N "
                             "steps of burn-in")
    parser.add_argument("--steps", type=any_whole, metavar="N",
                        help="averaged steps of every relaxation")
    parser.add_argument("--burn-in", type=any_whole, metavar="N", help="steps before those")
    parser.add_argument("--temperature", type=finite, metavar="T",
                        help="of Langevin units, in energy units")
    parser.add_argument("--batch", type=positive, metavar="N",
                        help="images per call of the device; changes no bit of the result (512)")
    parser.add_argument("--no-judge", action="store_true", help="do not measure the images")
    parser.add_argument("--out", metavar="FILE.npy",
                        help="write the images, float64 (repeats, count, 8, 8), about [-1, 1]")
    parser.add_argument("--animation", metavar="FILE.gif",
                        help="write the way from noise to the images")
    add_energy(parser)
    add_common(parser, "device", "cluster", "seed", "json", "plot", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Draw, judge, write and print; returns 0."""
    from pbitstream.cli.generate_files import save_animation, save_sheet
    from pbitstream.cli.plot import require_matplotlib
    from pbitstream.errors import PbitstreamError

    output = Output(arguments)
    _check(arguments)
    energy = energy_of(arguments)
    targets = {name: check_target(f"--{name}", value, endings)
               for name, value, endings in (("out", arguments.out, (".npy",)),
                                            ("animation", arguments.animation, (".gif",)))
               if value is not None}
    if arguments.plot is not None or not output.json:
        try:
            require_matplotlib()
            targets["plot"] = check_target("--plot", arguments.plot or PICTURE, PICTURE_ENDINGS)
        except PbitstreamError as error:
            if arguments.plot is not None:
                raise
            output.note(f"no picture is written: {error}")
    if "animation" in targets:
        require_matplotlib()
    shown = _generate(arguments, output, energy)
    if "out" in targets:
        _write_images(targets["out"], shown)
    if "animation" in targets:
        save_animation(targets["animation"], shown.draws[0])
    if "plot" in targets:
        save_sheet(targets["plot"], shown)
    if output.json:
        output.document(shown.to_dict())
        check_meter(shown.energy)
        return 0
    from pbitstream.cli.generate_view import show

    show(output.console, shown)
    for path in targets.values():
        output.console.print(f"wrote {path}", markup=False)
    check_meter(shown.energy)
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.seed + arguments.repeats - 1 > MAX_SEED:
        raise UsageError(f"--seed, and those that follow it, must be at most {MAX_SEED}, not "
                         f"{arguments.seed + arguments.repeats - 1}")
    if arguments.label and not all(0 <= label <= 9 for label in arguments.label):
        raise UsageError(f"--label must be 0 to 9, not {arguments.label}")
    if not arguments.no_judge and arguments.count < 2:
        raise UsageError("--count must be at least 2 to be judged; or add --no-judge")


def _generate(
    arguments: argparse.Namespace, output: Output, energy: "Energy | None"
) -> "Shown":
    """Draw with every seed, then measure."""
    from pbitstream.cli.generate_view import Shown
    from pbitstream.diffusion.generators.judging import check_count
    from pbitstream.diffusion.generators.registry import open_generator

    options = {name: getattr(arguments, name) for name in OPTIONS
               if getattr(arguments, name) is not None}
    generator = open_generator(arguments.model, **options)
    labels = _labels(arguments, generator)
    seeds = [arguments.seed + n for n in range(arguments.repeats)]
    if not arguments.no_judge:
        check_count(seeds, arguments.count, controls=labels is None)
    ledger = None
    with device_asked(arguments) as device, output.progress() as report:
        info = device.info()
        draws: list[Drawn] = []
        seconds: list[float] = []

        def draw(device: "Device") -> None:
            for seed in seeds:
                began = time.perf_counter()
                draws.append(generator.draw(device, arguments.count, seed=seed, labels=labels,
                                            report=_named(report, seed, len(seeds))))
                seconds.append(time.perf_counter() - began)

        if energy is None:
            draw(device)
        else:
            with energy.session(device, generator.programs[0], report) as session:
                session.begin()
                draw(session.device)
                session.end()
                ledger = energy.document(session)
        judged, digital = None, None
        if not arguments.no_judge:
            report("judging", 0, 1)
            judged, digital = _judge(generator, draws, seeds, arguments, report)
    return Shown(generator, arguments.model, arguments.device, info, seeds, draws, seconds, judged,
                 digital, ledger)


def _named(report: "Report", seed: int, count: int) -> "Report":
    """Return a report that names the seed, where there are several."""
    named = f" of seed {seed}" if count > 1 else ""
    return lambda what, done, total: report(f"{what}{named}", done, total)


def _labels(
    arguments: argparse.Namespace, generator: "Generator"
) -> "NDArray[np.int64] | None":
    if arguments.label is None:
        return None
    import numpy as np

    if not generator.labelled:
        raise UsageError(f"--label must be left out: {arguments.model} takes no labels")
    return np.resize(np.array(arguments.label, np.int64), arguments.count)


def _judge(
    generator: "Generator",
    draws: "list[Drawn]",
    seeds: list[int],
    arguments: argparse.Namespace,
    report: Any,
) -> "tuple[dict[str, Any], dict[str, Any] | None]":
    """Return the figures, and those of the digital U-Net on the same seeds where it compares."""
    from pbitstream.diffusion.generators.judging import digital_figures, judge_draws

    judged = judge_draws(generator, draws, seeds, controls=arguments.label is None,
                         pooled=arguments.label is None)
    digital = None
    if judged["judge"] == "grey" and arguments.label is None:
        sampling = {} if arguments.sampling_steps is None else {"steps": arguments.sampling_steps}
        digital = digital_figures(seeds, arguments.count, eta=arguments.eta or 0.0,
                                  report=report, **sampling)
    return judged, digital


def _write_images(path: Path, shown: "Shown") -> None:
    import numpy as np

    images = np.stack([drawn.images for drawn in shown.draws])
    write_whole(path, lambda file: np.save(file, images.reshape(*images.shape[:2], 8, 8)))

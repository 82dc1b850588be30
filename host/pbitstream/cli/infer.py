"""``pbitstream infer``: denoise digits on a device and show what came out, controls beside it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.asked import device_asked
from pbitstream.cli.energy import add_energy, check_meter, energy_of
from pbitstream.cli.output import Output, check_target, plural, write_whole
from pbitstream.cli.parser import UsageError, add_common, any_whole, finite, positive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pbitstream.cli.energy import Energy
    from pbitstream.cli.infer_view import Shown
    from pbitstream.cli.output import Report
    from pbitstream.devices.protocol import Device
    from pbitstream.diffusion.denoiser import Denoiser, Noisy
    from pbitstream.diffusion.evaluation import Evaluation

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "denoise digits on the substrate: pictures, metrics with controls, timing, margins"
EPILOG = """\
examples:
  pbitstream infer                          360 test digits at all 20 noise levels
  pbitstream infer --noise 0.5 --count 20   20 of them at one level
  pbitstream infer mine.png --noise 0.3     your own 8x8 image, light ink on dark
  pbitstream infer xt.npy --noisy --noise 0.4 --out denoised.npy
  pbitstream infer --json | jq .metrics.r2
  pbitstream infer --energy kv260 --count 20     counts, and terms of an energy with grades
  pbitstream infer -d serial:/dev/ttyUSB1 --energy prices.toml --energy meter.csv
"""
MODEL = "digits-k16"
PICTURE = "pbitstream-infer.png"
PICTURE_ENDINGS = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("images", nargs="*", metavar="IMAGE",
                        help="8x8 PNG, or NPY of shape (8, 8), (64,), (n, 8, 8) or (n, 64), uint8 "
                             "0..255, floats in [-1, 1] or bool; without any, the test digits")
    parser.add_argument("--noise", type=finite, metavar="T",
                        help="diffusion time in (0, 1], the nearest of the table is taken; "
                             "without it, all times of the table")
    parser.add_argument("--noisy", action="store_true",
                        help="the images are noisy already: x_t at --noise T, NPY of floats")
    parser.add_argument("--count", type=positive, metavar="N", help="only the first N images")
    parser.add_argument("--steps", type=any_whole, metavar="N", help="averaged steps")
    parser.add_argument("--burn-in", type=any_whole, metavar="N", help="steps before those")
    parser.add_argument("--chains", type=positive, default=1, metavar="N",
                        help="independent chains per input, averaged (1)")
    parser.add_argument("--temperature", type=finite, metavar="T",
                        help="of the substrate, in energy units")
    parser.add_argument("--batch", type=positive, default=512, metavar="N",
                        help="inputs per call of the device; changes no bit of the result (512)")
    parser.add_argument("--out", metavar="FILE.npy",
                        help="write the denoised images, float64 (images, times, 8, 8)")
    add_energy(parser)
    add_common(parser, "device", "cluster", "seed", "json", "plot", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Denoise, print, write; returns 0."""
    output = Output(arguments)
    if arguments.noisy and (not arguments.images or arguments.noise is None):
        raise UsageError("--noisy needs IMAGE files and the --noise T they have")
    out = None
    if arguments.out is not None:
        out = check_target("--out", arguments.out, (".npy",))
    energy = energy_of(arguments)
    plot = _plot_target(arguments, output)
    shown = _evaluate(arguments, output, energy)
    if out is not None:
        _write_denoised(out, shown)
    if plot is not None:
        plot = _save_figure(plot, shown, arguments, output)
    if output.json:
        output.document(shown.to_dict())
        check_meter(shown.energy)
        return 0
    from pbitstream.cli.infer_view import show

    show(output.console, shown)
    for path in filter(None, (plot, out)):
        output.console.print(f"wrote {path}", markup=False)
    check_meter(shown.energy)
    return 0


def _plot_target(arguments: argparse.Namespace, output: Output) -> Path | None:
    """Return where the figure goes; the default one is given up with a note, never an error."""
    from pbitstream.cli.plot import require_matplotlib
    from pbitstream.errors import PbitstreamError

    if arguments.plot is None and output.json:
        return None
    try:
        require_matplotlib()
        return check_target("--plot", arguments.plot or PICTURE, PICTURE_ENDINGS)
    except PbitstreamError as error:
        if arguments.plot is not None:
            raise
        output.note(f"no picture is written: {error}")
        return None


def _save_figure(
    path: Path, shown: "Shown", arguments: argparse.Namespace, output: Output
) -> Path | None:
    """Write the figure; the default one, which nobody asked for, may fail with a note."""
    from pbitstream.cli.plot import save_infer

    try:
        save_infer(path, shown)
    except OSError as error:
        if arguments.plot is not None:
            raise
        output.note(f"no picture is written: {path}: {error.strerror or error}")
        return None
    return path


def _evaluate(
    arguments: argparse.Namespace, output: Output, energy: "Energy | None"
) -> "Shown":
    """Run the inference; everything it computes is in `pbitstream.diffusion.evaluation`."""
    from pbitstream.cli.infer_view import Shown
    from pbitstream.diffusion.denoiser import Denoiser
    from pbitstream.diffusion.evaluation import evaluate
    from pbitstream.model import Model, shipped
    from pbitstream.program import Program, check_window

    denoiser = Denoiser(Model.open(shipped(MODEL)), Program.open(shipped(f"{MODEL}.program")))
    program = denoiser.program
    check_window(program.steps if arguments.steps is None else arguments.steps,
                 program.burn_in if arguments.burn_in is None else arguments.burn_in)
    states, rows = _states(arguments, denoiser, output)

    def evaluated(device: "Device", report: "Report") -> "Evaluation":
        return evaluate(
            denoiser, device, states, rows, seed=arguments.seed, steps=arguments.steps,
            burn_in=arguments.burn_in, chains=arguments.chains, batch=arguments.batch,
            temperature=arguments.temperature, report=report,
        )

    ledger = None
    with device_asked(arguments) as device, output.progress() as report:
        if energy is None:
            evaluation = evaluated(device, report)
        else:
            with energy.session(device, program, report) as session:
                evaluation = evaluated(session.device, session.around("relax", report))
                ledger = energy.document(session)
        info = device.info()
    files = len(arguments.images)
    source = plural(files, "file") if files else "test digits"
    return Shown(evaluation, program, MODEL, arguments.device, info, source, arguments.noise,
                 ledger)


def _states(
    arguments: argparse.Namespace, denoiser: "Denoiser", output: Output
) -> "tuple[Noisy, NDArray[np.int64]]":
    """Return the noisy images the options ask for, and the schedule rows they have."""
    import numpy as np

    from pbitstream.diffusion.denoiser import Noisy, noisy_states
    from pbitstream.diffusion.digits import held_out_digits, read_images

    rows = np.arange(len(denoiser.times))
    if arguments.noise is not None:
        rows = np.array([denoiser.nearest_row(arguments.noise)])
    if arguments.images:
        images = read_images(arguments.images, noisy=arguments.noisy, note=output.note)
    else:
        images, _ = held_out_digits()
    if arguments.count is not None:
        if arguments.count > len(images):
            raise UsageError(f"--count must be at most {len(images)}, the number of images, "
                             f"not {arguments.count}")
        images = images[: arguments.count]
    if arguments.noisy:
        return Noisy(images, np.repeat(rows, len(images)), None), rows
    return noisy_states(images, denoiser.times, rows), rows


def _write_denoised(path: Path, shown: "Shown") -> None:
    import numpy as np

    evaluation: Any = shown.evaluation
    image = evaluation.outputs["substrate"].image
    shaped = image.reshape(evaluation.images, len(evaluation.rows), 8, 8)
    write_whole(path, lambda file: np.save(file, shaped))

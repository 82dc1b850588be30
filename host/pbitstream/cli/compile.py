"""``pbitstream compile``: a U-Net and its data into a program of the substrate, with a report."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pbitstream.cli.output import Output, check_target, write_whole
from pbitstream.cli.parser import UsageError, add_common, any_whole

if TYPE_CHECKING:
    from pbitstream.compiler.activations import Source
    from pbitstream.compiler.evaluation import Evaluation
    from pbitstream.compiler.pipeline import Compiled

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "compile a U-Net into a program: banks for its skips, an interface, margins, a report"
EPILOG = """\
SOURCE is digits, the shipped digits U-Net; a model file with another one (unet.*); or the folder of
a diffusers UNet2DModel, config.json and safetensors, whose images --data brings.

examples:
  pbitstream compile digits                              skip e1:d1 by rank 16 and a local bank
  pbitstream compile digits --no-band --rank 64 --interface quad
  pbitstream compile digits --skip e1:d1 e2:d2 d2:d1     two levels, the decoder coupled
  pbitstream compile digits --no-band --method paper     the construction of arXiv 2604.14332
  pbitstream compile FOLDER --data images.npy --skip down_blocks.1:up_blocks.0 --method sketch

NAME.safetensors is the float model, NAME.program.safetensors what a device loads,
NAME.report.json what is printed
"""
#: Rows judged on a device where the source is not the digits.
JUDGED_ROWS = 512
DEFAULT_SKIPS = ("e1:d1",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("source", metavar="SOURCE", help="digits, a model file, or a folder")
    parser.add_argument("--skip", nargs="+", metavar="E:D", action="extend",
                        help="pairs of layers, encoder:decoder, that a bank joins (the outermost); "
                             "a layer named as decoder is free, all others are clamped")
    parser.add_argument("--rank", type=any_whole, default=16, metavar="K",
                        help="of every bank, 1 to 64 (16)")
    parser.add_argument("--band", action=argparse.BooleanOptionalAction, default=True,
                        help="a local bank beside the low-rank one where two maps have one size: "
                             "3x3 stencil and one-to-one diagonal (on)")
    parser.add_argument("--stencil", choices=("shared", "free"), default="shared",
                        help="one weight per tap and pair of channels, or one per wire (shared)")
    parser.add_argument("--method", default="hbc", metavar="NAME",
                        help="how factors are chosen: hbc, sketch (the same in time linear in the "
                             "units), paper, gram, cross, cca, truncated, random (hbc)")
    parser.add_argument("--interface", default="none", metavar="FORM",
                        help="conditioning net fitted on what the banks leave: none, quad, paper, "
                             "or RxH such as 8x32 (none)")
    parser.add_argument("--data", metavar="FILE.npy",
                        help="images of a diffusers U-Net, (n, channels, rows, columns) in [-1, 1]")
    parser.add_argument("-o", "--output", default="compiled", metavar="NAME",
                        help="stem of the files (compiled)")
    add_common(parser, "device", "seed", "json", "plot", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Compile, judge, write and print; returns 0."""
    from pbitstream.compiler.activations import parse_skip
    from pbitstream.compiler.evaluation import evaluate
    from pbitstream.compiler.pipeline import compile_unet
    from pbitstream.compiler.report import report_on
    from pbitstream.devices.registry import open_device

    output = Output(arguments)
    stem, plot = _targets(arguments)
    source, default = _source(arguments)
    skips = [parse_skip(text) for text in arguments.skip or default]
    with open_device(arguments.device) as device, output.progress() as report:
        compiled = compile_unet(
            source, skips, rank=arguments.rank, method=arguments.method, band=arguments.band,
            stencil=arguments.stencil, interface=arguments.interface, seed=arguments.seed,
            report=report,
        )
        rows = None if arguments.data is None else JUDGED_ROWS
        judged = evaluate(compiled.lowered, source, device, rows=rows, seed=arguments.seed,
                          report=report)
    document = {
        "source": arguments.source, "device": arguments.device,
        **report_on(compiled), "evaluation": _figures(source, judged),
        "files": _write(stem, compiled),
    }
    _write_report(stem, document)
    if plot is not None:
        from pbitstream.cli.compile_plot import save_compile

        save_compile(plot, document)
    if output.json:
        output.document(document)
        return 0
    from pbitstream.cli.compile_view import show

    show(output.console, document)
    if plot is not None:
        output.console.print(f"wrote {plot}", markup=False)
    return 0


def _targets(arguments: argparse.Namespace) -> tuple[Path, Path | None]:
    """Return the stem of the files and the figure's path, having checked both."""
    stem = Path(arguments.output)
    check_target("--output", f"{stem}.safetensors", (".safetensors",))
    if arguments.plot is None:
        return stem, None
    from pbitstream.cli.plot import require_matplotlib

    require_matplotlib()
    return stem, check_target("--plot", arguments.plot, (".png", ".pdf", ".svg"))


def _source(arguments: argparse.Namespace) -> "tuple[Source, tuple[str, ...] | list[str]]":
    """Return the U-Net that SOURCE names, and the skips it has by default."""
    path = Path(arguments.source)
    if path.is_dir():
        return _diffusers(path, arguments)
    if arguments.data is not None:
        raise UsageError("--data belongs to the folder of a diffusers U-Net; leave it out")
    from pbitstream.cli.info import find
    from pbitstream.compiler.sources import DigitsSource
    from pbitstream.diffusion.digits import held_out_digits, training_digits
    from pbitstream.errors import FileFormatError, SpecError
    from pbitstream.model import Model, shipped

    file = shipped("digits-k16") if arguments.source == "digits" else find(arguments.source)
    model = Model.open(file)
    try:
        source = DigitsSource(model, training_digits()[0], held_out_digits()[0])
    except SpecError as error:
        raise FileFormatError(f"{file}: no U-Net to compile: {error}") from error
    return source, DEFAULT_SKIPS


def _diffusers(folder: Path, arguments: argparse.Namespace) -> "tuple[Source, list[str]]":
    import numpy as np

    from pbitstream.compiler.hooks import (
        DIFFUSERS_TIMES,
        TorchSource,
        diffusers_calls,
        diffusers_skips,
        open_diffusers,
    )
    from pbitstream.errors import FileFormatError

    if arguments.data is None:
        raise UsageError(f"{folder} is a folder: --data FILE.npy must bring the images of its "
                         "U-Net")
    try:
        images = np.asarray(np.load(arguments.data, allow_pickle=False), np.float64)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{arguments.data}: no NPY file of numbers: {error}") from error
    module = open_diffusers(folder)
    calls = diffusers_calls(module, images, seed=arguments.seed)
    return TorchSource(module, calls, repeat=DIFFUSERS_TIMES), diffusers_skips(module)


def _figures(source: "Source", judged: "Evaluation") -> dict[str, Any]:
    """Return the evaluation's figures, with F-MSE of the digits' last layer."""
    from pbitstream.compiler.sources import DigitsSource

    figures = judged.to_dict()
    if isinstance(source, DigitsSource):
        for layer, values in judged.values.items():
            figures["layers"][layer]["substrate"]["f_mse"] = source.f_mse(layer, values,
                                                                          judged.part)
    return figures


def _write(stem: Path, compiled: "Compiled") -> dict[str, str]:
    """Write model and program, and return the names of all files."""
    names = {"model": f"{stem}.safetensors", "program": f"{stem}.program.safetensors",
             "report": f"{stem}.report.json"}
    compiled.model().save(names["model"])
    compiled.lowered.program.save(names["program"])
    return names


def _write_report(stem: Path, document: dict[str, Any]) -> None:
    import json

    from pbitstream.cli.output import plain

    text = json.dumps(plain(document), indent=2, allow_nan=False) + "\n"

    def write(file: BinaryIO) -> None:
        file.write(text.encode())

    write_whole(Path(document["files"]["report"]), write)

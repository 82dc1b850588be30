"""``pbitstream info``: versions and shipped files, or all about one program or model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pbitstream.cli.output import Output, listing, number, table, uncoupled
from pbitstream.cli.parser import add_common, did_you_mean
from pbitstream.errors import FileFormatError

if TYPE_CHECKING:
    from rich.console import Console

    from pbitstream.program import Program

__all__ = ["EPILOG", "HELP", "add_arguments", "run"]

HELP = "versions and shipped files, or modules, banks, margins, cost of a program or model"
EPILOG = """\
examples:
  pbitstream info                       versions, digest of the spec, shipped files
  pbitstream info ring-5                a shipped program, by name
  pbitstream info my.program.safetensors --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("file", nargs="?", metavar="FILE|NAME",
                        help="a program or model file, or the name of a shipped one")
    add_common(parser, "json", "quiet")


def run(arguments: argparse.Namespace) -> int:
    """Print what is asked for; returns 0."""
    output = Output(arguments)
    if arguments.file is None:
        data = overview()
        show = _show_overview
    else:
        data, show = describe(find(arguments.file))
    if output.json:
        output.document(data)
    else:
        show(output.console, data)
    return 0


def find(name: str) -> Path:
    """Return the file of that name, or the shipped one; FileFormatError if there is neither."""
    from pbitstream.model import shipped, shipped_names

    if Path(name).is_file():
        return Path(name)
    names = shipped_names()
    if name in names:
        return shipped(name)
    if Path(name).is_dir():
        raise FileFormatError(f"{name}: a folder, not a file; name a file in it")
    raise FileFormatError(f"{name}: no such file{did_you_mean(name, names)}; "
                          f"shipped are {', '.join(names)}")


def overview() -> dict[str, Any]:
    """Return versions, devices, engines and shipped files as plain data."""
    import platform
    from importlib.util import find_spec

    import numpy

    from pbitstream import __version__
    from pbitstream.devices.registry import device_schemes
    from pbitstream.emulator.device import ENGINES
    from pbitstream.model import shipped, shipped_names
    from pbitstream.spec import spec_digest
    from pbitstream.tensors import read_tensors

    files = []
    for name in shipped_names():
        path = shipped(name)
        _, metadata = read_tensors(path)
        files.append({"name": name, "kind": metadata.get("pbitstream"),
                      "bytes": path.stat().st_size,
                      "digest": metadata.get("program_digest")})
    return {
        "version": __version__,
        "spec_digest": spec_digest(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "devices": sorted(device_schemes()),
        "engines": [e for e in ENGINES if e != "numba" or find_spec("numba")],
        "files": files,
    }


def describe(path: Path) -> tuple[dict[str, Any], Any]:
    """Return what a file holds as plain data, and the function that prints it."""
    from pbitstream.model import Model
    from pbitstream.program import Program
    from pbitstream.tensors import read_tensors

    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] != b"{":  # where the JSON header begins
        raise FileFormatError(f"{path}: no safetensors file; info shows programs and models")
    tensors, metadata = read_tensors(path)
    kind = metadata.get("pbitstream", "unknown")
    listed = [{"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
              for name, array in sorted(tensors.items())]
    data: dict[str, Any] = {"file": str(path), "kind": kind, "bytes": path.stat().st_size}
    if kind == "program":
        return {**data, **_program(Program.open(path))}, _show_program
    provenance = {k: v for k, v in metadata.items() if k not in ("pbitstream", "schema", "crc32")}
    if kind == "model":
        provenance = dict(Model.open(path).provenance)
    return {**data, "tensors": listed, "provenance": provenance}, _show_tensors


def _program(program: "Program") -> dict[str, Any]:
    import json

    topology = program.topology
    words = json.loads(json.dumps(program.layout))
    net = program.conditioning
    conditioning = None
    if net is not None:
        conditioning = {"inputs": net.inputs, "parameters": net.parameters,
                        **{"stages": words["conditioning"]["stages"]},
                        "feature_rows": 0 if net.features is None else len(net.features)}
    phase_of = {m: n for n, phase in enumerate(topology.phases) for m in phase}
    return {
        "digest": program.digest,
        "units": topology.units,
        "field_fraction": topology.field_fraction,
        "dt": 2.0**-topology.dt_shift,
        "steps": program.steps,
        "burn_in": program.burn_in,
        "gain_rows": program.gain_rows,
        "modules": [{**module, "clamped": bool(module["clamped"]), "phase": phase_of.get(index),
                     **_module_values(program, index)}
                    for index, module in enumerate(words["topology"]["modules"])],
        "banks": [{**bank, "formats": _formats(program, index)}
                  for index, bank in enumerate(words["topology"]["banks"])],
        "phases": words["topology"]["phases"],
        "conditioning": conditioning,
        "margins": program.margins().to_dict(),
        "cost": vars(program.cost()),
        "provenance": dict(program.provenance),
    }


def _module_values(program: "Program", index: int) -> dict[str, Any]:
    """Return stiffness and temperature or beta of a free module, as ranges over its units."""
    from pbitstream.spec.noise import noise_temperature
    from pbitstream.spec.words import BETA, K2, K4

    module, tables = program.topology.modules[index], program.tables
    if module.clamped:
        return {}
    if module.kind == "pbit":
        return {"beta": BETA.value(int(tables["beta"][index]))}
    part = program.topology.units_of(index)
    codes = int(tables["noise_gain"][index]), int(tables["noise_shift"][index])
    stiffness = {name: [word.value(int(raw)) for raw in (tables[name][part].min(),
                                                         tables[name][part].max())]
                 for name, word in (("k2", K2), ("k4", K4))}
    return {"temperature": noise_temperature(*codes, program.topology.dt_shift), **stiffness}


def _formats(program: "Program", index: int) -> dict[str, str]:
    """Return the number formats of a bank's tables, and the range of codes each uses."""
    prefix, formats = f"bank{index}.", {}
    for name, text in program.formats.items():
        if name.startswith(prefix):
            raw = program.tables[name]
            low, high = int(raw.min(initial=0)), int(raw.max(initial=0))
            formats[name.removeprefix(prefix)] = f"{text}, {low} to {high}"
    return formats


def _show_overview(console: "Console", data: dict[str, Any]) -> None:
    console.print(f"[bold]pbitstream {data['version']}[/]  Python {data['python']}, "
                  f"NumPy {data['numpy']}")
    console.print(f"spec     {data['spec_digest']}", soft_wrap=True)
    console.print(f"devices  {', '.join(f'{name}:' for name in data['devices'])}")
    console.print(f"engines  {', '.join(data['engines'])} (of emulator:, the same bits)\n")
    made = table("Shipped files", "name", "kind", "bytes", "digest", text=2)
    made.columns[3].justify = "left"
    for file in data["files"]:
        made.add_row(file["name"], file["kind"], number(file["bytes"]),
                     (file["digest"] or "–")[:16])
    console.print(made, "")
    console.print("pbitstream info NAME shows one of them.")


def _show_tensors(console: "Console", data: dict[str, Any]) -> None:
    import math

    from pbitstream.model import shipped_names

    _show_file(console, data)
    groups: dict[str, list[dict[str, Any]]] = {}
    for tensor in data["tensors"]:
        groups.setdefault(_prefix(tensor["name"]), []).append(tensor)
    made = table("Tensors", "name", "shape", "type", "tensors", "numbers", text=3)
    for prefix, tensors in groups.items():
        alone = len(tensors) == 1
        shape = " x ".join(map(str, tensors[0]["shape"])) if alone else ""
        made.add_row(tensors[0]["name"] if alone else f"{prefix}.*", shape,
                     ", ".join(sorted({tensor["dtype"] for tensor in tensors})),
                     number(len(tensors)),
                     number(sum(math.prod(tensor["shape"]) for tensor in tensors)))
    console.print(made, "")
    name = f"{Path(data['file']).name.removesuffix('.safetensors')}.program"
    if data["kind"] == "model" and name in shipped_names():
        console.print(f"pbitstream info {name} shows the program compiled from it: modules, banks, "
                      "margins, cost.\n")
    _show_provenance(console, data["provenance"])


def _prefix(name: str) -> str:
    """Return the group of a tensor: up to two words before its last, as unet.d1."""
    return ".".join(name.split(".")[:-1][:2]) or name


def _show_program(console: "Console", data: dict[str, Any]) -> None:
    _show_file(console, data)
    console.print(f"digest   {data['digest']}", soft_wrap=True)
    console.print(f"{data['units']} units, dt = {data['dt']:g}, field with "
                  f"{data['field_fraction']} fraction bits, {data['burn_in']} + {data['steps']} "
                  f"steps" + f", {data['gain_rows']} schedule rows" * bool(data["gain_rows"]))
    console.print()
    made = table("Modules", "", "name", "kind", "units", "phase", "k2", "k4", "T or beta", text=3)
    for index, module in enumerate(data["modules"]):
        phase = "held" if module["clamped"] else str(module["phase"])
        heat = module.get("temperature", module.get("beta"))
        letter = "β" if "beta" in module else "T"
        made.add_row(str(index), module["name"], module["kind"], str(module["dim"]), phase,
                     *(_range(module.get(name)) for name in ("k2", "k4")),
                     "–" if heat is None else f"{letter} {heat:.4g}")
    console.print(made, "")
    _show_banks(console, data)
    if data["conditioning"] is not None:
        _show_conditioning(console, data["conditioning"])
    made = listing("Margins")
    margins = data["margins"]
    if uncoupled(margins):
        made.add_row("lambda", "no coupling among free units")
        margins = {name: margins[name] for name in margins if not name.startswith("lambda_")}
    for name, value in margins.items():
        shown = ("no" if value is False else "yes") if isinstance(value, bool) else number(value)
        made.add_row(name, shown)
    console.print(made, "")
    made = listing("Cost of a step")
    for name, value in data["cost"].items():
        made.add_row(name.replace("_", " "), number(value))
    console.print(made, "")
    _show_provenance(console, data["provenance"])


def _show_banks(console: "Console", data: dict[str, Any]) -> None:
    names = [module["name"] for module in data["modules"]]
    made = table("Banks", "", "kind", "couples", "size", "formats", text=5)
    for index, bank in enumerate(data["banks"]):
        size = {"low-rank": "rank {rank}", "band": "offsets {offsets}",
                "sparse": "{entries} weights"}[bank["kind"]].format(**bank)
        made.add_row(str(index), bank["kind"], f"{names[bank['source']]} – {names[bank['target']]}",
                     size, "\n".join(f"{k}: {v}" for k, v in bank["formats"].items()))
    console.print(made, "")


def _show_conditioning(console: "Console", net: dict[str, Any]) -> None:
    made = table("Conditioning net", "to", "layers", text=2)
    for stage in net["stages"]:
        layers = [layer["kind"] + (f" ({layer['fraction']} fraction bits)"
                                   if "fraction" in layer else "") for layer in stage["layers"]]
        made.add_row(stage["target"] or "next stage", ", ".join(layers))
    console.print(made, "")
    console.print(f"  {net['inputs']} inputs, {net['parameters']:,} parameters, "
                  f"{net['feature_rows']} rows of features\n")


def _show_file(console: "Console", data: dict[str, Any]) -> None:
    from rich.markup import escape

    console.print(f"[bold]{data['kind']}[/] {escape(data['file'])} ({data['bytes']:,} bytes)",
                  soft_wrap=True)


def _show_provenance(console: "Console", provenance: dict[str, str]) -> None:
    from rich.markup import escape

    made = listing("Provenance", text=True)
    for key, text in sorted(provenance.items()):
        made.add_row(escape(key), escape(text))
    console.print(made if provenance else "no provenance")


def _range(values: list[float] | None) -> str:
    if values is None:
        return "–"
    low, high = values
    return f"{low:g}" if low == high else f"{low:g} – {high:g}"

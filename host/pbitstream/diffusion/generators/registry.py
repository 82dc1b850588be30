"""Generators by the name of their model: those that ship, and files of the user."""

import inspect
from pathlib import Path
from typing import Any

from pbitstream.diffusion.codesign import CodesignedDenoiser
from pbitstream.diffusion.denoiser import Denoiser
from pbitstream.diffusion.generators.base import Generator
from pbitstream.diffusion.generators.diffusion import DiffusionGenerator
from pbitstream.diffusion.generators.pbit import PbitGenerator
from pbitstream.diffusion.substrate import SubstrateDenoiser
from pbitstream.errors import FileFormatError, SpecError
from pbitstream.model import FOLDER, Model, shipped, shipped_names
from pbitstream.program import Program

__all__ = ["generator_names", "open_generator"]

#: The denoiser of the first release, whose program ships beside its model.
DENOISER = "digits-k16"


def generator_names() -> list[str]:
    """Return the names of the models that ship and draw images."""
    found = [DENOISER]
    for name in shipped_names():
        if name != DENOISER and not name.endswith(".program"):
            try:
                model = Model.open(FOLDER / f"{name}.safetensors")
            except FileFormatError:
                continue
            if "generator" in model.provenance:
                found.append(name)
    return sorted(found)


def open_generator(name: str, **options: Any) -> Generator:
    """Return the generator of a model that ships, or of a model file.

    Parameters
    ----------
    name
        One of `generator_names`, or the path of a file, which ends in .safetensors.
    options
        Of the generator's kind: `pbitstream.diffusion.generators.pbit.PbitGenerator` or
        `pbitstream.diffusion.generators.diffusion.DiffusionGenerator`.

    Raises
    ------
    SpecError
        If the model is none that draws images, or takes no such option, naming those it takes.
    """
    if name == DENOISER:
        program = Program.open(shipped(f"{DENOISER}.program"))
        denoiser = Denoiser(Model.open(shipped(DENOISER)), program)
        return _make(DiffusionGenerator, name, denoiser, options)
    if name.endswith(".safetensors"):
        path = Path(name)
    elif name in shipped_names():
        path = shipped(name)
    else:
        raise SpecError(f"model must be one of {', '.join(generator_names())} or a file that ends "
                        f"in .safetensors, not {name}")
    model = Model.open(path)
    kind = model.provenance.get("generator")
    if kind == "pbit":
        return _make(PbitGenerator, name, model, options)
    if kind == "codesign":
        return _make(DiffusionGenerator, name, CodesignedDenoiser.of(model), options)
    if kind == "substrate":
        return _make(DiffusionGenerator, name, SubstrateDenoiser.of(model), options)
    raise SpecError(f"model must be one that draws images ({', '.join(generator_names())}), not "
                    f"{name}")


def _make(kind: Any, name: str, model: Any, options: dict[str, Any]) -> Generator:
    known = [parameter.name for parameter in inspect.signature(kind).parameters.values()
             if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise SpecError(f"{option} must be left out: {name} takes {', '.join(known)}")
    made: Generator = kind(model, **options)
    return made

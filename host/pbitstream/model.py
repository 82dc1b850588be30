"""The model file: float couplings, conditioning net, readout and schedule, with provenance."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import FileFormatError, SpecError
from pbitstream.tensors import read_tensors, write_tensors

__all__ = ["Model", "shipped", "shipped_names"]

SCHEMA = 1
FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True, eq=False)
class Model:
    """Float tensors by name, and where they come from.

    Attributes
    ----------
    tensors
        ``bank.*``, ``interface.*``, ``readout.*``, ``times`` and, for a digital reference,
        ``unet.*``.
    provenance
        Free text by key: data, seeds, iterations, libraries, validation figures.
    """

    tensors: Mapping[str, NDArray[Any]]
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """Return a tensor in float64; SpecError if the model has none of that name."""
        if name not in self.tensors:
            raise SpecError(f"the model has no tensor {name}")
        return np.asarray(self.tensors[name], np.float64)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, whole or not at all."""
        reserved = {"pbitstream": "model", "schema": str(SCHEMA)}
        write_tensors(path, self.tensors, {**self.provenance, **reserved})

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Model":
        """Read a model; FileFormatError names the file and the reason if it is none."""
        tensors, metadata = read_tensors(path)
        if metadata.get("pbitstream") != "model" or metadata.get("schema") != str(SCHEMA):
            raise FileFormatError(f"{path}: not a model of schema {SCHEMA}, but "
                                  f"{metadata.get('pbitstream', 'something else')}")
        reserved = ("pbitstream", "schema", "crc32")
        return cls(tensors, {k: v for k, v in metadata.items() if k not in reserved})


def shipped_names() -> list[str]:
    """Return the names of the files that come with the package."""
    return sorted(path.name.removesuffix(".safetensors") for path in FOLDER.glob("*.safetensors"))


def shipped(name: str) -> Path:
    """Return the path of a file that comes with the package, such as ``ring-5``."""
    path = FOLDER / f"{name}.safetensors"
    if not path.exists():
        raise SpecError(f"name must be one of {', '.join(shipped_names())}, not {name}")
    return path

"""Checkpoints of a training run: one file, written whole, that a killed run resumes from."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.errors import FileFormatError
from pbitstream.tensors import read_tensors, write_tensors
from pbitstream.training.energy import Parameters
from pbitstream.training.optimiser import Adam

__all__ = ["Checkpoint", "read_checkpoint", "write_checkpoint"]

SCHEMA = "1"
GROUPS = ("arrays", "first", "second", "average")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Arrays and optimiser after `done` updates, the rows of the history so far, and notes.

    Notes are what the run found out for itself: the nudge it chose, and its warnings.
    """

    arrays: dict[str, NDArray[np.float64]]
    first: dict[str, NDArray[np.float64]]
    second: dict[str, NDArray[np.float64]]
    average: dict[str, NDArray[np.float64]]
    done: int
    history: NDArray[np.float64]
    notes: dict[str, Any]


def write_checkpoint(
    path: str | os.PathLike[str],
    parameters: Parameters,
    optimiser: Adam,
    history: NDArray[np.float64],
    recipe: Mapping[str, object],
    notes: Mapping[str, object],
) -> None:
    """Write a checkpoint; a kill at any moment leaves the old file or the new one, whole."""
    groups = (parameters.arrays, optimiser.first, optimiser.second, optimiser.average)
    tensors = {
        f"{group}/{name}": array
        for group, arrays in zip(GROUPS, groups)
        for name, array in arrays.items()
    }
    tensors["history"] = history
    metadata = {
        "pbitstream": "checkpoint",
        "schema": SCHEMA,
        "done": str(optimiser.done),
        "topology": topology_text(parameters),
        "recipe": json.dumps(dict(recipe), sort_keys=True),
        "notes": json.dumps(dict(notes), sort_keys=True),
    }
    write_tensors(path, tensors, metadata)


def read_checkpoint(
    path: str | os.PathLike[str], parameters: Parameters, recipe: Mapping[str, object]
) -> Checkpoint:
    """Read a checkpoint of the same substrate and recipe.

    Raises
    ------
    FileFormatError
        If the file is damaged, or of another topology or recipe; the message names what differs.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("pbitstream") != "checkpoint" or metadata.get("schema") != SCHEMA:
        raise FileFormatError(f"{path}: not a checkpoint of schema {SCHEMA}")
    if metadata["topology"] != topology_text(parameters):
        raise FileFormatError(f"{path}: a checkpoint of another topology; give its own, or "
                              "another folder to start anew")
    before = json.loads(metadata["recipe"])
    wanted = json.loads(json.dumps(dict(recipe)))
    changed = sorted(k for k in before.keys() | wanted.keys() if before.get(k) != wanted.get(k))
    if changed:
        name = changed[0]
        raise FileFormatError(f"{path}: made with {name} = {before.get(name)}, not "
                              f"{wanted.get(name)}; resume with the same recipe, or give another "
                              "folder to start anew")
    groups: dict[str, dict[str, NDArray[np.float64]]] = {group: {} for group in GROUPS}
    for name, array in tensors.items():
        group, slash, rest = name.partition("/")
        if slash:
            groups[group][rest] = array.copy()
    return Checkpoint(**groups, done=int(metadata["done"]), history=tensors["history"].copy(),
                      notes=json.loads(metadata.get("notes", "{}")))


def topology_text(parameters: Parameters) -> str:
    """Return what two runs must share: modules, couplings and array shapes."""
    shapes = {name: list(array.shape) for name, array in sorted(parameters.arrays.items())}
    return json.dumps([[repr(m) for m in parameters.modules],
                       [repr(b) for b in parameters.banks], shapes])


def checkpoint_path(folder: str | os.PathLike[str]) -> Path:
    """Return the place of the checkpoint in a run's folder."""
    return Path(folder) / "checkpoint.safetensors"

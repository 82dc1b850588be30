"""The program: topology, quantised tables, conditioning net and schedule, what a device loads."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pbitstream.conditioning import Conditioning
from pbitstream.errors import FileFormatError, SpecError, UnstableError
from pbitstream.margins import Margins, certainly_stable, compute_margins
from pbitstream.spec import canonical_json, spec_digest
from pbitstream.spec.topology import BandBank, LowRankBank, Topology
from pbitstream.spec.words import EXPOSED, FACTOR, GAIN, MAX_BURN_IN, MAX_STEPS, WEIGHT_BITS
from pbitstream.tables import check_tables
from pbitstream.tensors import read_tensors, write_tensors

__all__ = ["Cost", "Program"]

#: Version of the file's metadata.
SCHEMA = 1
#: Multiplications of a Langevin update besides its banks: X², k4 x2, kappa x24, n G.
LANGEVIN_MULTIPLICATIONS = 4
#: Multiplications of a p-bit update besides its banks: beta y.
PBIT_MULTIPLICATIONS = 1


@dataclass(frozen=True)
class Cost:
    """What a program costs: multiplications of one step, table words, board cycles of one step.

    `cycles_per_step` is the bound of a board with `lanes` multipliers that are all busy with the
    multiply-accumulates of factors and weights; gains and units are served beside them.
    """

    multiplications_per_step: int
    words: int
    cycles_per_step: int
    lanes: int


@dataclass(frozen=True, eq=False)
class Program:
    """An immutable program.

    Parameters
    ----------
    topology
        Modules, banks, phases, fraction bits of the field and dt.
    tables
        The tensors of `pbitstream.tables.expected_tables`, and optionally ``schedule.gain``,
        int16 (rows, banks, largest rank): gains S of every row of a schedule, such as S(t).
    conditioning
        Integer net that turns an input into biases, or None.
    steps, burn_in
        The relaxation this program was made for; a call may ask for another.
    provenance
        Free text by key: where the program comes from. Not part of its digest.

    Raises
    ------
    SpecError
        If a table is missing, of the wrong shape, out of range, or the field could overflow.
    """

    topology: Topology
    tables: Mapping[str, NDArray[Any]]
    conditioning: Conditioning | None = None
    steps: int = 256
    burn_in: int = 64
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_window(self.steps, self.burn_in)
        check_tables(self.topology, self.tables)
        if self.conditioning is not None:
            self.conditioning.check(self.topology)
        frozen = {}
        for name, array in self.tables.items():
            frozen[name] = np.array(array, order="C")
            frozen[name].flags.writeable = False
        object.__setattr__(self, "tables", MappingProxyType(frozen))
        if self.conditioning is not None:
            object.__setattr__(self, "conditioning", self.conditioning.frozen())
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def __repr__(self) -> str:
        kinds = ", ".join(f"{m.name}[{m.dim}]" for m in self.topology.modules)
        return f"<Program {self.digest[:16]}: {kinds}; {len(self.topology.banks)} banks>"

    def __eq__(self, other: object) -> bool:
        """Programs are equal if their digests are."""
        return isinstance(other, Program) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the parts; whoever unpickles checks them again."""
        return Program, (self.topology, dict(self.tables), self.conditioning, self.steps,
                         self.burn_in, dict(self.provenance))

    @cached_property
    def layout(self) -> dict[str, Any]:
        """Everything but the tensors, as integers and strings: what the digest covers."""
        layout: dict[str, Any] = {
            "topology": self.topology.to_dict(),
            "steps": self.steps,
            "burn_in": self.burn_in,
        }
        if self.conditioning is not None:
            layout["conditioning"] = self.conditioning.to_dict()
        return layout

    @cached_property
    def tensors(self) -> dict[str, NDArray[Any]]:
        """All tensors by name, the conditioning net's included."""
        extra = {} if self.conditioning is None else self.conditioning.tensors()
        return {**self.tables, **extra}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the spec digest, the layout and every tensor in name order, in hex."""
        state = hashlib.sha256(bytes.fromhex(spec_digest()))
        state.update(canonical_json(self.layout))
        for name in sorted(self.tensors):
            array = self.tensors[name]
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            state.update(canonical_json([name, array.dtype.name, list(array.shape)]))
            state.update(np.ascontiguousarray(little).tobytes())
        return state.hexdigest()

    @property
    def gain_rows(self) -> int:
        """Rows of the gain schedule, 0 without one."""
        return len(self.tables["schedule.gain"]) if "schedule.gain" in self.tables else 0

    def gains(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the gains S, in values, of some rows: (len(rows), banks, largest rank)."""
        rows = np.asarray(rows)
        if rows.size and not (rows.min() >= 0 and rows.max() < self.gain_rows):
            raise SpecError(f"rows must be between 0 and {self.gain_rows - 1}, not {rows}")
        scale = np.zeros((len(self.topology.banks), 1))
        for index, bank in enumerate(self.topology.banks):
            if isinstance(bank, LowRankBank):
                scale[index] = 2.0**-bank.gain_fraction
        return np.asarray(self.tables["schedule.gain"][rows] * scale)

    def margins(self) -> Margins:
        """Return stability, pace and headroom; where gains vary, of the row with the least gap."""
        return min(self._row_margins.values(),
                   key=lambda row: math.inf if row.gap is None else row.gap)

    def check(self, *, force: bool = False) -> None:
        """Raise UnstableError unless the program is stable, at its own gains and at every row's.

        `force` lets a step pass that is too large for a quartic term alone. Gains and settings
        that a call of `relax` brings are not checked: there the clip counts speak.
        """
        if not self.gain_rows and certainly_stable(self.topology, self.tables, force=force):
            return
        for row, margins in self._row_margins.items():
            try:
                margins.check(force=force)
            except UnstableError as error:
                where = "" if row < 0 else f"gain schedule row {row}: "
                raise UnstableError(f"{where}{error}") from None

    @cached_property
    def _row_margins(self) -> dict[int, Margins]:
        """Margins at the program's own gains (row -1), and at every row that changes J."""
        found = {-1: compute_margins(self.topology, self.tables)}
        free = [not m.clamped for m in self.topology.modules]
        varying = any(
            isinstance(b, LowRankBank) and free[b.source] and free[b.target]
            for b in self.topology.banks
        )
        if self.gain_rows and varying:
            for row, gains in enumerate(self.tables["schedule.gain"]):
                tables = dict(self.tables)
                for index, bank in enumerate(self.topology.banks):
                    if isinstance(bank, LowRankBank):
                        tables[f"bank{index}.gain"] = gains[index, : bank.rank]
                found[row] = compute_margins(self.topology, tables)
        return found

    def cost(self, lanes: int = 128) -> Cost:
        """Return multiplications, words and predicted board cycles; see `Cost`."""
        topology = self.topology
        accumulated, gains, words = 0, 0, 0
        for index, bank in enumerate(topology.banks):
            source, target = topology.modules[bank.source], topology.modules[bank.target]
            directions = (not target.clamped) + (not source.clamped)
            if isinstance(bank, LowRankBank):
                accumulated += directions * bank.rank * (source.dim + target.dim)
                gains += directions * bank.rank
                words += bank.rank * (source.dim + target.dim + 1)
            elif isinstance(bank, BandBank):
                accumulated += directions * int(np.count_nonzero(self.tables[f"bank{index}.w"]))
                words += self.tables[f"bank{index}.w"].size
            else:
                accumulated += directions * bank.entries
                words += 2 * bank.entries
        per_unit = sum(
            m.dim * (LANGEVIN_MULTIPLICATIONS if m.kind == "langevin" else PBIT_MULTIPLICATIONS)
            for m in topology.modules
            if not m.clamped
        )
        return Cost(
            multiplications_per_step=accumulated + gains + per_unit,
            words=words + 3 * topology.units,
            cycles_per_step=-(-accumulated // lanes),
            lanes=lanes,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program to a safetensors file, whole or not at all."""
        metadata = {
            "pbitstream": "program",
            "schema": str(SCHEMA),
            "spec_digest": spec_digest(),
            "program_digest": self.digest,
            "layout": canonical_json(self.layout).decode(),
            "formats": json.dumps(self.formats, sort_keys=True),
            "provenance": json.dumps(dict(self.provenance), sort_keys=True),
        }
        write_tensors(path, self.tensors, metadata)

    @property
    def formats(self) -> dict[str, str]:
        """Number formats of the bank tables, whose fraction bits a program chooses, by name."""
        formats = {}
        weight = self.topology.field_fraction - EXPOSED.fraction
        for index, bank in enumerate(self.topology.banks):
            if isinstance(bank, LowRankBank):
                words = {
                    "a": (FACTOR.bits, bank.a_fraction),
                    "b": (FACTOR.bits, bank.b_fraction),
                    "gain": (GAIN.bits, bank.gain_fraction),
                }
            else:
                words = {"w" if isinstance(bank, BandBank) else "weights": (WEIGHT_BITS, weight)}
            for name, (bits, fraction) in words.items():
                formats[f"bank{index}.{name}"] = f"s{bits}, {fraction} fraction bits"
        return formats

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Program":
        """Read a program.

        Raises
        ------
        FileFormatError
            If the file is damaged, of another kind or made for another spec; the message names
            the file, the reason and the way out. Nothing is half-loaded.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("pbitstream") != "program" or metadata.get("schema") != str(SCHEMA):
            raise FileFormatError(
                f"{path}: not a program of schema {SCHEMA}, but "
                f"{metadata.get('pbitstream', 'something else')} of schema "
                f"{metadata.get('schema', 'none')}"
            )
        if metadata.get("spec_digest") != spec_digest():
            raise FileFormatError(
                f"{path}: made for spec {metadata.get('spec_digest', 'none')[:16]}, this is spec "
                f"{spec_digest()[:16]}; compile the model again with this version"
            )
        try:
            layout = json.loads(metadata["layout"])
            conditioning = None
            if "conditioning" in layout:
                conditioning = Conditioning.from_parts(layout["conditioning"], tensors)
            program = cls(
                Topology.from_dict(layout["topology"]),
                {n: a for n, a in tensors.items() if not n.startswith("conditioning.")},
                conditioning,
                int(layout["steps"]),
                int(layout["burn_in"]),
                json.loads(metadata["provenance"]),
            )
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path}: {error}") from error
        if program.digest != metadata.get("program_digest"):
            raise FileFormatError(
                f"{path}: program digest is {program.digest[:16]}, the file says "
                f"{metadata.get('program_digest', 'none')[:16]}; get the file again"
            )
        return program


def check_window(steps: int, burn_in: int) -> None:
    """Raise SpecError unless steps and burn_in are within the spec."""
    if not 1 <= steps <= MAX_STEPS:
        raise SpecError(f"steps must be between 1 and {MAX_STEPS}, not {steps}")
    if not 0 <= burn_in <= MAX_BURN_IN:
        raise SpecError(f"burn_in must be between 0 and {MAX_BURN_IN}, not {burn_in}")

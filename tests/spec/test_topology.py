"""What a topology refuses, word for word, and its canonical form."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from engines import draws, seeded
from pbitstream.devices.random_programs import random_program
from pbitstream.errors import SpecError
from pbitstream.spec.topology import BandBank, LowRankBank, Module, SparseBank, Topology

X, Y = Module("x", "langevin", 4), Module("y", "langevin", 3)
P, Q = Module("p", "pbit", 5), Module("q", "pbit", 2)
HELD = Module("c", "langevin", 6, clamped=True)
BANK = LowRankBank(0, 1, 2, 9, 9, 13, 12, 12)
CURE = "; change the fraction bits of its tables"


def topology(**changes: Any) -> Topology:
    parts: dict[str, Any] = {"modules": (X, Y), "banks": (), "phases": ((0, 1),)}
    return Topology(**{**parts, **changes})


REFUSALS = [
    ({"field_fraction": 19}, "field_fraction must be one of (16, 18, 20, 22), not 19"),
    ({"field_fraction": 24}, "field_fraction must be one of (16, 18, 20, 22), not 24"),
    ({"dt_shift": -1}, "dt must be 2^-s with s between 0 and 8, not s = -1"),
    ({"dt_shift": 9}, "dt must be 2^-s with s between 0 and 8, not s = 9"),
    ({"modules": (), "phases": ()}, "a program needs at least one free module"),
    ({"modules": (HELD,), "phases": ()}, "a program needs at least one free module"),
    ({"modules": (X, X)}, "module names must be distinct and not empty, not 'x'"),
    ({"modules": (X, replace(Y, name=""))}, "module names must be distinct and not empty, not ''"),
    ({"modules": (X, replace(Y, kind="spin"))},
     "kind of module y must be langevin or pbit, not 'spin'"),
    ({"modules": (X, replace(Y, dim=0))},
     "dim of module y must be a whole number of at least 1, not 0"),
    ({"banks": (replace(BANK, target=2),)}, "bank 0 must join modules 0 to 1, not 2"),
    ({"banks": (replace(BANK, source=-1),)}, "bank 0 must join modules 0 to 1, not -1"),
    ({"modules": (X, P), "phases": ((0,), (1,)), "banks": (BandBank(1, 1, (1,)),)},
     "bank 0 (p, p) couples a p-bit module to itself; split it into colour classes"),
    ({"banks": (replace(BANK, rank=0),)}, "rank of bank 0 (x, y) must be between 1 and 64, not 0"),
    ({"banks": (replace(BANK, rank=65),)},
     "rank of bank 0 (x, y) must be between 1 and 64, not 65"),
    ({"modules": (X, replace(Y, dim=129)), "banks": (BANK,)},
     ("modules of bank 0 (x, y) must have at most 128 units, not 129; split the wider one into "
      "several modules")),
    ({"banks": (replace(BANK, z_fraction=22),)},
     "shift r1 of bank 0 (x, y) must be between 0 and 22, not -1" + CURE),
    ({"banks": (replace(BANK, z_fraction=-2),)},
     "shift r1 of bank 0 (x, y) must be between 0 and 22, not 23" + CURE),
    ({"banks": (replace(BANK, gain_fraction=-2),)},
     "shift r2 of bank 0 (x, y) must be between 0 and 30, not -1" + CURE),
    ({"banks": (replace(BANK, gain_fraction=30),)},
     "shift r2 of bank 0 (x, y) must be between 0 and 30, not 31" + CURE),
    ({"banks": (replace(BANK, z_back_fraction=22),)},
     "shift r3 of bank 0 (x, y) must be between 0 and 22, not -1" + CURE),
    ({"banks": (replace(BANK, z_back_fraction=-2),)},
     "shift r3 of bank 0 (x, y) must be between 0 and 22, not 23" + CURE),
    ({"banks": (replace(BANK, z_back_fraction=0, gain_fraction=1),)},
     "shift r4 of bank 0 (x, y) must be between 0 and 30, not -10" + CURE),
    ({"banks": (replace(BANK, z_back_fraction=21, gain_fraction=21),)},
     "shift r4 of bank 0 (x, y) must be between 0 and 30, not 31" + CURE),
    ({"banks": (BandBank(0, 1, ()),)},
     "offsets of bank 0 (x, y) must be distinct and not empty, not ()"),
    ({"banks": (BandBank(0, 1, (1, 0, 1)),)},
     "offsets of bank 0 (x, y) must be distinct and not empty, not (1, 0, 1)"),
    ({"banks": (BandBank(0, 1, (4096,)),)},
     "offsets of bank 0 (x, y) must be between -4095 and 4095, not 4096"),
    ({"banks": (BandBank(0, 1, (0, -4096)),)},
     "offsets of bank 0 (x, y) must be between -4095 and 4095, not -4096"),
    ({"banks": (SparseBank(0, 1, 13),)},
     "entries of bank 0 (x, y) must be between 0 and 12, not 13"),
    ({"banks": (SparseBank(0, 1, -1),)},
     "entries of bank 0 (x, y) must be between 0 and 12, not -1"),
    ({"phases": ((0,),)}, "phases must name every free module once ([0, 1]), not [0]"),
    ({"phases": ((0, 1), (1,))}, "phases must name every free module once ([0, 1]), not [0, 1, 1]"),
    ({"phases": ((0, 1, 2),)}, "phases must name every free module once ([0, 1]), not [0, 1, 2]"),
    ({"modules": (X, Y, HELD), "phases": ((0, 1, 2),)},
     "phases must name every free module once ([0, 1]), not [0, 1, 2]"),
    ({"phases": ((1, 0),)}, "phase 0 must list its modules in ascending order, not (1, 0)"),
    ({"phases": ((0, 1), ())}, "phase 1 must list its modules in ascending order, not ()"),
    ({"modules": (X, P), "phases": ((0, 1),), "banks": (BandBank(0, 1, (0,)),)},
     ("p-bit module p must not share phase 0 with x, which it is coupled to; give them different "
      "colour classes")),
    ({"modules": (P, Q), "phases": ((0, 1),), "banks": (SparseBank(1, 0, 3),)},
     ("p-bit module q must not share phase 0 with p, which it is coupled to; give them different "
      "colour classes")),
]


@pytest.mark.parametrize(("changes", "message"), REFUSALS, ids=[m[:60] for _, m in REFUSALS])
def test_refusal(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        topology(**changes)


def test_what_is_allowed() -> None:
    topology(banks=(BANK, BANK, replace(BANK, source=1, target=0), BandBank(0, 0, (0, 1, -3)),
                    SparseBank(1, 1, 9), SparseBank(0, 1, 0), replace(BANK, target=0)))
    # P-bits that are not coupled share a phase; a clamped neighbour is in none.
    topology(modules=(P, Q, HELD), phases=((0, 1),), banks=(BandBank(2, 0, (0,)),))
    topology(banks=(BandBank(0, 1, (4095, -4095)),))


def test_units_starts_and_ends() -> None:
    t = topology(modules=(X, HELD, P), phases=((0,), (2,)),
                 banks=(BandBank(0, 1, (0,)), SparseBank(2, 0, 1), BandBank(0, 0, (1,))))
    assert (t.units, t.starts) == (15, (0, 4, 10, 15))
    assert t.units_of(1) == slice(4, 10)
    assert t.index("p") == 2
    assert list(t.ends()) == [(0, 1, 0, False), (1, 2, 0, True), (1, 0, 2, False),
                              (2, 0, 0, True), (2, 0, 0, False)]
    assert t.max_rank == 0
    assert topology(banks=(BANK, replace(BANK, rank=7))).max_rank == 7
    with pytest.raises(SpecError, match=r"^module must be one of x, c, p, not z$"):
        t.index("z")


@seeded(40)
@given(draws)
def test_canonical_form_comes_back(draw: tuple[int, int]) -> None:
    program = random_program(np.random.default_rng(draw[0]), max_dim=draw[1])
    data = json.loads(json.dumps(program.topology.to_dict()))
    assert Topology.from_dict(data) == program.topology
    assert Topology.from_dict(data).to_dict() == data
    plain = (int, str)
    stack: list[Any] = [data]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += item.values()
        elif isinstance(item, list):
            stack += item
        else:
            assert isinstance(item, plain)
            assert not isinstance(item, bool)


BROKEN: list[Any] = [
    {},
    [],
    None,
    {"modules": []},
    {"modules": [[]]},
    {"modules": [{"name": "x"}]},
    {"modules": 5},
    {"banks": [{"kind": "dense"}]},
    {"banks": [{"kind": []}]},
    {"banks": [{"kind": "band", "source": 0, "target": 1}]},
    {"banks": [{"kind": "band", "source": 0, "target": 1, "offsets": [0], "colour": 1}]},
    {"banks": [{"kind": "sparse", "source": 0, "target": 1, "entries": "many"}]},
    {"banks": [[]]},
    {"banks": ["band"]},
    {"phases": [0, 1]},
    {"phases": [["a"]]},
    {"field_fraction": None},
    {"dt_shift": []},
    {"dt_shift": float("inf")},
    {"dt_shift": float("nan")},
]


@pytest.mark.parametrize("changes", BROKEN, ids=repr)
def test_what_is_not_canonical_is_refused(changes: Any) -> None:
    data = topology(banks=(BANK,)).to_dict()
    if isinstance(changes, dict) and changes:
        changes = {**data, **changes}
    with pytest.raises(SpecError):
        Topology.from_dict(changes)

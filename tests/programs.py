"""Programs that tests of files and of tables share."""

from typing import Any

import numpy as np

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.conditioning import Conditioning, paper_interface
from pbitstream.program import Program


def net(seed: int = 0) -> Conditioning:
    rng = np.random.default_rng(seed)
    shapes = ((2, 6), (3, 2), (4, 3), (5, 4))
    weights = [rng.standard_normal(shape) for shape in shapes]
    return paper_interface(weights, [rng.standard_normal(s[0]) for s in shapes], "enc", "dec")


def rich_program(**changes: Any) -> Program:
    """Return a program with every kind of table."""
    rng = np.random.default_rng(4)
    builder = ProgramBuilder(dt_shift=4)
    enc = builder.langevin("enc", 3, k2=2.0, k4=0.1, temperature=0.02, x_max=2.0)
    dec = builder.langevin("dec", 5, k2=2.0, temperature=0.02)
    spin = builder.pbit("spin", 4, beta=1.5)
    held = builder.clamped("held", 3)
    builder.low_rank(enc, dec, rng.standard_normal((3, 2)), rng.standard_normal((5, 2)),
                     [0.05, 0.02], schedule=[[0.05, 0.02], [0.01, 0.0], [0.02, 0.02]])
    builder.band(dec, spin, {0: [0.1, 0.2, 0.1, 0.3], 1: [0.1, 0.1, 0.2, 0.1]})
    builder.sparse(held, enc, [0, 2, 2, 3], [0, 2, 1], [0.2, -0.1, 0.5])
    changes = {"conditioning": net(), "steps": 32, "burn_in": 8,
               "provenance": {"source": "test"}, **changes}
    return builder.build(**changes)

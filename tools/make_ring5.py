#!/usr/bin/env python3
"""Build the shipped example ring-5: five small modules of both kinds in a ring.

Every beta is 1 / T, so that the program samples the Boltzmann law of its energy, and it is small
enough for that law to be computed exactly: ten spins to enumerate, three Langevin units that are
jointly Gaussian given the spins, and two quartic ones that are independent given them.

    tools/make_ring5.py [PATH]      by default host/pbitstream/models/ring-5.safetensors
"""

import sys
from pathlib import Path

from pbitstream.compiler.builder import ProgramBuilder
from pbitstream.program import Program

__all__ = ["DT_SHIFT", "PATH", "TEMPERATURE", "build"]

PATH = Path(__file__).resolve().parent.parent / "host/pbitstream/models/ring-5.safetensors"
TEMPERATURE = 0.5
#: dt = 1/64: the Euler scheme adds about T dt / 2 = .004 to the variance of a Langevin unit.
DT_SHIFT = 6


def build(dt_shift: int = DT_SHIFT) -> Program:
    """Return the program; its fields reach 2^11, its quartic units |x| <= 4."""
    builder = ProgramBuilder(dt_shift=dt_shift)
    beta = 1 / TEMPERATURE
    linear = builder.langevin("linear", 3, k2=[1.0, 1.25, 1.5], temperature=TEMPERATURE)
    first = builder.pbit("first", 4, beta=beta)
    quartic = builder.langevin("quartic", 2, k2=[0.5, 1.0], k4=[0.5, 0.25],
                               temperature=TEMPERATURE, x_max=4.0)
    second = builder.pbit("second", 3, beta=beta)
    third = builder.pbit("third", 3, beta=beta)
    # The ring; five edges are an odd cycle, so the p-bits need two phases besides the Langevin one.
    builder.low_rank(linear, first,
                     [[0.5, 0.25], [-0.375, 0.5], [0.25, -0.5]],
                     [[0.5, -0.25], [0.25, 0.5], [-0.5, 0.375], [0.375, 0.5]], [0.75, -0.5])
    builder.band(quartic, first, {0: [0.3125, -0.25, 0.0, 0.0], -1: [0.0, 0.1875, 0.25, 0.0],
                                  -2: [0.0, 0.0, -0.125, 0.375]})
    builder.low_rank(quartic, second, [[0.5], [-0.375]], [[0.5], [-0.25], [0.375]], [1.0])
    builder.band(second, third, {0: [0.25, -0.3125, 0.1875], 1: [0.1875, 0.25, 0.0]})
    builder.band(third, linear, {0: [0.25, 0.1875, -0.3125], -1: [0.0, -0.25, 0.125]})
    # Within a module: only Langevin units may be coupled to units of their own phase.
    builder.band(linear, linear, {1: [0.25, -0.1875, 0.0]})
    return builder.build(steps=4096, burn_in=1024, provenance={
        "made by": "tools/make_ring5.py",
        "what": "five modules of both kinds in a ring, small enough for exact enumeration",
        "samples": f"Boltzmann law at T = {TEMPERATURE}",
    })


def main() -> None:
    """Write the program."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    program = build()
    program.margins().check()
    program.save(path)
    print(f"{path}: {program.digest}")


if __name__ == "__main__":
    main()

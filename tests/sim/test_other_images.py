"""Images that have no name: the fewest lanes, the largest limits, and those that lack a kind."""

import numpy as np
import pytest

from pbitstream.devices.board import Board
from pbitstream.devices.comparison import differences
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.errors import SpecError
from pbitstream.spec.image import Image
from pbitstream_gateware.top import Top
from pbitstream_sim.device import VerilatedTransport
from pbitstream_sim.verilated import Verilated

IMAGES = {
    "2 lanes": Image(lanes=2, max_units=2048, max_rank_words=1 << 14),
    "full limits": Image(lanes=4, max_units=4096, max_rank_words=1 << 14, max_instructions=2048,
                         max_gains=1024),
    "p-bits and bands": Image(lanes=8, max_units=1024, max_rank_words=1024,
                              kinds=("pbit", "band")),
    "Langevin and low rank": Image(lanes=8, max_units=1024, max_rank_words=4096,
                                   kinds=("langevin", "low-rank")),
    "2 pipes": Image(lanes=128, max_units=2048, max_rank_words=512),
}


@pytest.mark.long
@pytest.mark.parametrize("name", IMAGES)
def test_random_programs(name: str) -> None:
    rng, done = np.random.default_rng([7, len(name)]), 0
    with Board(VerilatedTransport(Verilated(Top(IMAGES[name])))) as board, Emulator() as emulator:
        while done < 8:
            program = random_program(rng, board=True)
            try:
                board.load(program, force=True)
            except SpecError:
                continue
            emulator.load(program, force=True)
            for _ in range(2):
                call = random_call(program, rng, max_steps=8)
                found = differences(program, board.relax(**call), emulator.relax(**call))
                assert not found, f"{name}, program {program.digest[:16]}: {found[0]}"
            done += 1

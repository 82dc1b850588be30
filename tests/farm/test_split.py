"""Parts of a call, relaxed one by one and joined, are the call."""

import numpy as np
import pytest

from pbitstream.devices.conformance import same_readout
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.farm.device import GROUP
from pbitstream.farm.split import join, pieces_of, sizes_of, split


@pytest.mark.parametrize("seed", range(12))
def test_parts_make_the_whole(seed):
    rng = np.random.default_rng([77, seed])
    program = random_program(rng, max_dim=12)
    call = random_call(program, rng, max_chains=5, max_rows=3)
    inputs, chains = len(call["h"]), call["chains"]
    with Emulator(threads=1) as emulator:
        emulator.load(program, force=True)
        whole = emulator.relax(**call)
        pieces = pieces_of(inputs, chains)
        for first in range(1, pieces + 1):
            sizes = [first, *sizes_of(pieces - first, 2, 1, 2)]
            parts = list(split(call, inputs, chains, sizes))
            assert len(parts) == len(sizes)
            same_readout(join([emulator.relax(**part) for part in parts], inputs), whole)


def test_chains_of_one_input_are_divided_in_groups():
    rng = np.random.default_rng(5)
    program = random_program(rng, max_dim=6)
    call = {**random_call(program, rng, max_chains=1), "chains": 3 * GROUP + 5, "first_chain": 9}
    call.pop("state", None)
    parts = list(split(call, 1, call["chains"], [2, 2], GROUP))
    assert pieces_of(1, call["chains"], GROUP) == 4
    assert [(part["first_chain"], part["chains"]) for part in parts] == [
        (9, 2 * GROUP), (9 + 2 * GROUP, GROUP + 5)]
    with Emulator(threads=1) as emulator:
        emulator.load(program, force=True)
        same_readout(join([emulator.relax(**part) for part in parts], 1), emulator.relax(**call))


@pytest.mark.parametrize(("pieces", "devices", "least", "most", "sizes"), [
    (0, 2, 1, 9, []), (1, 4, 3, 9, [1]), (8, 4, 2, 9, [2, 2, 2, 2]), (9, 4, 2, 2, [2, 2, 2, 2, 1]),
    (40, 4, 3, 8, [8, 8, 6, 4, 3, 3, 3, 3, 2]), (10, 1, 1, 4, [4, 4, 2]), (3, 8, 1, 9, [1, 1, 1]),
])
def test_long_parts_come_first(pieces, devices, least, most, sizes):
    assert sizes_of(pieces, devices, least, most) == sizes

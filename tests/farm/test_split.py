"""Parts of a call, relaxed one by one and joined, are the call."""

import numpy as np
import pytest

from pbitstream.devices.conformance import same_readout
from pbitstream.devices.random_programs import random_call, random_program
from pbitstream.emulator.device import Emulator
from pbitstream.farm.device import GROUP
from pbitstream.farm.split import join, parts_of, split


@pytest.mark.parametrize("seed", range(12))
def test_parts_make_the_whole(seed):
    rng = np.random.default_rng([77, seed])
    program = random_program(rng, max_dim=12)
    call = random_call(program, rng, max_chains=5, max_rows=3)
    inputs, chains = len(call["h"]), call["chains"]
    with Emulator(threads=1) as emulator:
        emulator.load(program, force=True)
        whole = emulator.relax(**call)
        for count in range(1, parts_of(inputs, chains) + 1):
            parts = list(split(call, inputs, chains, count))
            assert len(parts) == count
            same_readout(join([emulator.relax(**part) for part in parts], inputs), whole)


def test_chains_of_one_input_are_divided_in_groups():
    rng = np.random.default_rng(5)
    program = random_program(rng, max_dim=6)
    call = {**random_call(program, rng, max_chains=1), "chains": 3 * GROUP + 5, "first_chain": 9}
    call.pop("state", None)
    parts = list(split(call, 1, call["chains"], 2, GROUP))
    assert parts_of(1, call["chains"], GROUP) == 4
    assert [(part["first_chain"], part["chains"]) for part in parts] == [
        (9, 2 * GROUP), (9 + 2 * GROUP, GROUP + 5)]
    with Emulator(threads=1) as emulator:
        emulator.load(program, force=True)
        same_readout(join([emulator.relax(**part) for part in parts], 1), emulator.relax(**call))
